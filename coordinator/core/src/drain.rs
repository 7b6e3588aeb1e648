//! The ways a run ends, and drains: all devices stop after the same step, with a checkpoint or with their state in memory.

use m2t_common::machine_link::{Boundary, Outcome, StartFrom, ToMachine};
use m2t_common::{DeviceId, Step};

use crate::assignments::say_last;
use crate::group::{LiveGroup, Stage};
use crate::machine::{Machine, Standing};
use crate::phase::Phase;
use crate::{Core, DrainReason, Effect, EndCause, Failure, Notice, Record};

impl Core {
    /// The coordinator was asked to stop. What trains drains first, and what is kept in memory is saved; a generation that
    /// forms from the disk has nothing to lose.
    pub(crate) fn stop(&mut self, effects: &mut Vec<Effect>) {
        match &mut self.phase {
            Phase::Training { .. } => self.begin_drain(DrainReason::Stop, effects),
            Phase::Forming { group, .. } if keeps_memory(group) => {
                self.begin_drain(DrainReason::Stop, effects);
            }
            Phase::Draining { why, boundary, .. }
                if !matches!(why, DrainReason::LastStep | DrainReason::Stop) =>
            {
                (*why, *boundary) = (DrainReason::Stop, Boundary::Stop);
                self.assign_all(effects);
            }
            Phase::Draining { .. } => {}
            Phase::Recovering { .. } | Phase::Regrouping { .. } => self.stopping = true,
            Phase::Gathering { .. } | Phase::Forming { .. } | Phase::Paused => self.stopped(effects),
            Phase::Finished { .. } | Phase::Stopped { .. } | Phase::Failed(_) => {}
        }
    }

    /// The group stops at the next step boundary. Bounded, so that nothing waits for ever.
    pub(crate) fn begin_drain(&mut self, why: DrainReason, effects: &mut Vec<Effect>) {
        let until = self.now.after(self.settings.patience());
        let boundary = self.boundary_for(why);
        match std::mem::replace(&mut self.phase, Phase::gathering()) {
            Phase::Forming { group, .. } | Phase::Training { group, .. } => {
                self.phase = Phase::Draining {
                    group,
                    why,
                    boundary,
                    until,
                };
                self.note(Notice::Draining { why }, effects);
                self.assign_all(effects);
            }
            other => self.phase = other,
        }
    }

    /// A checkpoint is needed where the state would not stay in memory: the run stops, or nobody is left who could go on with it.
    fn boundary_for(&self, why: DrainReason) -> Boundary {
        match why {
            DrainReason::LastStep => Boundary::GoOn,
            DrainReason::Stop | DrainReason::Pause | DrainReason::TooDamaged => Boundary::Stop,
            DrainReason::Leaving | DrainReason::SetAside | DrainReason::Grow => {
                let n_staying = self.staying().count();
                let goes_on = self.keeps_state_in_memory() && n_staying >= self.n_needed();
                if goes_on { Boundary::Hold } else { Boundary::Stop }
            }
        }
    }

    /// Members whose machines stay.
    fn staying(&self) -> impl Iterator<Item = &DeviceId> {
        let members = self
            .phase
            .group()
            .into_iter()
            .flat_map(|group| group.members.keys());
        members.filter(|device| {
            let machine = self.machines.get(&device.machine);
            machine.is_some_and(|machine| self.may_train(machine))
        })
    }

    /// What follows from a state that trains on, whatever brought it about: an end that is wished for, or a machine that leaves.
    pub(crate) fn settle_training(&mut self, effects: &mut Vec<Effect>) {
        let Some(group) = self.phase.group() else {
            return;
        };
        let goes = |machine: &Machine| match machine.standing {
            Standing::Leaving => Some(DrainReason::Leaving),
            _ if self.history.set_aside.contains_key(machine.name()) => Some(DrainReason::SetAside),
            _ => None,
        };
        let mut members = self
            .machines
            .values()
            .filter(|machine| group.needs_machine(machine.name()));
        let why = if self.stopping {
            Some(DrainReason::Stop)
        } else if self.too_damaged().is_some() {
            Some(DrainReason::TooDamaged)
        } else if self.history.paused {
            Some(DrainReason::Pause)
        } else {
            members.find_map(goes)
        };
        match why {
            Some(why) => self.begin_drain(why, effects),
            None => self.settle_growth(effects),
        }
    }

    /// Ends a drain when every device has stopped and its checkpoint is verified.
    pub(crate) fn settle_drain(&mut self, effects: &mut Vec<Effect>) {
        let Phase::Draining { group, why, .. } = &self.phase else {
            return;
        };
        if !group.before(Stage::Held).is_empty() {
            return;
        }
        let all_stopped = group.before(Stage::Stopped).is_empty();
        if all_stopped && !self.verifying.is_empty() {
            return;
        }
        let finished = group.before(Stage::Finished).is_empty();
        let (why, step, digest) = (*why, self.committed, group.final_digest.clone());
        match (finished, digest, why) {
            (true, Some(digest), _) => self.finish(step, digest, effects),
            (_, _, DrainReason::Stop) if all_stopped => self.stopped(effects),
            _ => self.end_generation(EndCause::Drained { step }, effects),
        }
    }

    /// Some devices did not stop in time: the generation ends without them.
    pub(crate) fn draining_timed_out(&mut self, effects: &mut Vec<Effect>) {
        let devices = self
            .phase
            .group()
            .map(|group| group.before(Stage::Held))
            .unwrap_or_default();
        let after = self.settings.patience();
        self.end_generation(EndCause::NotDrained { devices, after }, effects);
    }

    /// All steps are done.
    pub(crate) fn finish(&mut self, step: Step, state_digest: String, effects: &mut Vec<Effect>) {
        // A device that says so has its last step in a checkpoint, also where the word of that was lost.
        self.count_upto(step, effects);
        self.persist(
            Record::Finished {
                step,
                state_digest: state_digest.clone(),
            },
            effects,
        );
        self.end(
            Phase::Finished { step },
            Notice::Finished { step, state_digest },
            effects,
        );
    }

    /// Stopped by hand.
    pub(crate) fn stopped(&mut self, effects: &mut Vec<Effect>) {
        let resume_from = self.history.start_step();
        self.end(
            Phase::Stopped { resume_from },
            Notice::Stopped { resume_from },
            effects,
        );
    }

    /// Cannot go on.
    pub(crate) fn fail(&mut self, failure: Failure, effects: &mut Vec<Effect>) {
        self.end(Phase::Failed(failure.clone()), Notice::Failed(failure), effects);
    }

    /// The run is over for this coordinator: every machine is told.
    fn end(&mut self, phase: Phase, notice: Notice, effects: &mut Vec<Effect>) {
        self.close_samples(self.committed, effects);
        self.phase = phase;
        let outcome = self.phase.outcome().unwrap_or(Outcome::Stopped);
        self.note(notice, effects);
        for machine in std::mem::take(&mut self.machines).values() {
            if let Some(stream) = machine.stream() {
                say_last(stream, ToMachine::Dismiss(outcome), effects);
            }
        }
        self.streams.clear();
        effects.push(Effect::Exit(outcome));
    }
}

/// Whether a generation that forms starts from what a device keeps in memory.
pub(crate) fn keeps_memory(group: &LiveGroup) -> bool {
    matches!(group.start_from, StartFrom::Donor { .. })
}
