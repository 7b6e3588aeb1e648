//! The fake trainer in one generation: it meets the group, takes the state it starts from, and steps.

use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use m2t_common::Step;
use m2t_common::machine_link::{Boundary, StartFrom};
use m2t_common::recipe::{LedgerDetail, Plan};
use m2t_common::report::{News, RankSamples, StepReport};
use m2t_common::trainer_link::Start;

use super::inbox::Told;
use super::lane::{Lane, Meeting};
use super::leave::Leave;
use super::life::Life;
use super::{State, checkpoint, losses};

/// How often a held trainer looks whether it may go on.
const HELD_POLL: Duration = Duration::from_millis(5);

/// How a generation ends for a device that nothing went wrong with.
pub(super) enum Done {
    /// All stopped at a boundary and keep their state.
    Boundary,
    /// The process is done; its last word.
    Over(News),
}

/// Trains in the generation of `start` until it ends.
pub(super) fn train(life: &mut Life, start: &Start) -> Result<Done, Leave> {
    let index = start.placement.index_of(&start.device);
    let mut group = Group {
        told: Told::new(start.generation),
        index: index.context("this device has no place")?,
        lane: None,
        life,
        start,
    };
    group.life.control.register(&start.device);
    if let Some(state) = checkpoint::start_state(start)? {
        group.life.kept = Some(state);
    }
    group.meet()?;
    group.take_over()?;
    group.step_on()
}

/// A device's part in a generation.
struct Group<'a> {
    life: &'a mut Life,
    start: &'a Start,
    /// The device's index in the group.
    index: usize,
    told: Told,
    /// None in a group of one.
    lane: Option<Lane>,
}

impl Group<'_> {
    /// Meets the group at the point that the first device made and the coordinator handed round.
    fn meet(&mut self) -> Result<(), Leave> {
        if self.start.placement.devices.len() == 1 {
            return Ok(());
        }
        let meeting = if self.index == 0 {
            let meeting = Meeting::new(self.start)?;
            let rendezvous = meeting.rendezvous.clone();
            self.life.say(News::Rendezvous { rendezvous })?;
            Some(meeting)
        } else {
            None
        };
        let handed_round = self.told.wait_for_rendezvous(&self.life.inbox)?;
        let Self { told, life, .. } = self;
        self.lane = Some(match meeting {
            Some(meeting) if meeting.rendezvous != handed_round => {
                return Err(Leave::Own(anyhow!("the meeting point was changed on its way")));
            }
            Some(meeting) => meeting.gather(self.start, &mut || told.look_up(&life.inbox))?,
            None => Lane::join(self.start, self.index, &handed_round)?,
        });
        Ok(())
    }

    /// Where a donor has the state to start from, takes it; who has it already compares.
    fn take_over(&mut self) -> Result<(), Leave> {
        let StartFrom::Donor {
            device,
            step,
            distrusted,
        } = &self.start.start_from
        else {
            return Ok(());
        };
        if distrusted.contains(&self.start.device) {
            self.life.kept = None;
        }
        let mine = self.life.kept.filter(|(at, _)| at == step);
        let donor = self.start.placement.index_of(device);
        let donor = donor.context("the donor has no place")?;
        let given = (donor == self.index)
            .then(|| {
                mine.with_context(|| format!("this device is to give its state at step {step} and has none"))
            })
            .transpose()?;
        let Self { told, life, .. } = self;
        let taken = match &mut self.lane {
            Some(lane) => lane.give_round(donor, given, &mut || told.look_up(&life.inbox))?,
            None => given.context("a group of one has another donor")?,
        };
        let is_as_said = taken.0 == *step && mine.is_none_or(|mine| mine == taken);
        if !is_as_said {
            return Err(Leave::Own(anyhow!(
                "the donor's state at step {} is not the one that this device computed",
                taken.0
            )));
        }
        self.life.kept = Some(taken);
        Ok(())
    }

    fn step_on(&mut self) -> Result<Done, Leave> {
        let plan = self.start.recipe.plan(self.start.n_samples);
        let plan = plan.map_err(anyhow::Error::from)?;
        let (mut step, mut state) = self.life.kept.context("a group starts from a state")?;
        self.life.say(News::Ready { step })?;
        let mut since = Instant::now();
        while step.0 < plan.schedule.total_steps {
            self.wait_while_held(step)?;
            self.life.control.suffer(&self.start.device, step)?;
            match self.agree(self.told.boundary)? {
                Boundary::GoOn => {}
                Boundary::Hold => return Ok(Done::Boundary),
                Boundary::Stop => {
                    self.checkpoint(step, &state)?;
                    return Ok(Done::Over(News::Stopped { step }));
                }
            }
            std::thread::sleep(self.life.control.step_duration());
            state = state.after(step);
            if self.life.control.corrupts(&self.start.device, step.next()) {
                state = state.with_a_bit_flipped();
            }
            self.report((step, &state), since.elapsed())?;
            since = Instant::now();
            step = step.next();
            self.life.kept = Some((step, state));
            if is_checkpoint_due(self.start, &plan, step) {
                self.checkpoint(step, &state)?;
            }
        }
        self.checkpoint(step, &state)?;
        let state_digest = state.digest();
        Ok(Done::Over(News::Finished { step, state_digest }))
    }

    fn wait_while_held(&mut self, step: Step) -> Result<(), Leave> {
        loop {
            self.told.look_up(&self.life.inbox)?;
            if self.told.boundary > Boundary::GoOn || !self.life.control.holds(step) {
                return Ok(());
            }
            std::thread::sleep(HELD_POLL);
        }
    }

    fn agree(&mut self, wish: Boundary) -> Result<Boundary, Leave> {
        let Self { told, life, lane, .. } = self;
        match lane {
            Some(lane) => lane.agree(wish, &mut || told.look_up(&life.inbox)),
            None => Ok(wish),
        }
    }

    /// The first device writes; then all know that it is written.
    fn checkpoint(&mut self, step: Step, state: &State) -> Result<(), Leave> {
        if self.index == 0 {
            let report = checkpoint::write(self.start, step, state)?;
            self.life.say(News::Checkpointed(report))?;
        }
        self.agree(Boundary::GoOn)?;
        Ok(())
    }

    /// What this device's ranks consume in `step`, where that is to be told.
    fn samples(&self, step: Step) -> anyhow::Result<Vec<RankSamples>> {
        if self.start.recipe.run.ledger == LedgerDetail::Brief {
            return Ok(vec![]);
        }
        let plan = self.start.recipe.plan(self.start.n_samples)?;
        let ranks = self.start.placement.devices[self.index].ranks.iter();
        let of_rank = |&rank| RankSamples {
            rank,
            samples: plan.shards.samples(step, rank).1,
        };
        Ok(ranks.map(of_rank).collect())
    }

    fn report(&mut self, (step, after): (Step, &State), duration: Duration) -> anyhow::Result<()> {
        let (loss_by_rank, loss) = losses(step, self.start.recipe.training.world);
        self.life.say(News::Stepped(StepReport {
            step: step.next(),
            loss,
            loss_by_rank,
            gradient_norm: 1.0,
            duration,
            data_wait: duration / 10,
            bottleneck: None,
            replaced: vec![],
            state_digest: self
                .start
                .recipe
                .is_replica_check(step.next())
                .then(|| after.digest()),
            samples: self.samples(step)?,
        }))
    }
}

/// Whether a checkpoint is written at `step`. That of the last one is written when all is done.
fn is_checkpoint_due(start: &Start, plan: &Plan, step: Step) -> bool {
    let every = start.recipe.run.checkpoint_every;
    step.0 < plan.schedule.total_steps
        && (plan.shards.step_in_epoch(step) == 0 || (every > 0 && step.0.is_multiple_of(every)))
}
