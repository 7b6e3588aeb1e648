//! One life of the fake trainer, from its first line to its last.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use m2t_common::Step;
use m2t_common::recipe::Plan;
use m2t_common::report::{News, StepReport};
use m2t_common::trainer_link::{Start, ToTrainer};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use super::lane::{Lane, Meeting, Wish};
use super::{Control, State, checkpoint, losses};

/// How often a held trainer looks whether it may go on.
const HELD_POLL: Duration = Duration::from_millis(5);

/// Trains as the daemon at the other end of `socket` says. What goes wrong is said there, too.
pub fn run(socket: &Path) -> anyhow::Result<()> {
    let daemon = getppid();
    set_parent_process_death_signal(Some(Signal::KILL))?;
    ensure!(getppid() == daemon, "the daemon died before this trainer began");
    let link = UnixStream::connect(socket).context("cannot reach the daemon")?;
    let lines = listen(link.try_clone()?);
    let ToTrainer::Start(start) = lines.recv()? else {
        bail!("the first line was no start");
    };
    let mut trainer = Trainer {
        link,
        lines,
        control: Control::from_environment()?,
        start: *start,
        drained: false,
    };
    if let Err(error) = trainer.train() {
        trainer.say(&News::Failed {
            reason: format!("{error:#}"),
        })?;
        return Err(error);
    }
    Ok(())
}

/// Reads the daemon's lines. When the link closes the process ends, whatever it is at.
fn listen(link: UnixStream) -> Receiver<ToTrainer> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(link).lines() {
            let Ok(line) = line else { break };
            let line = serde_json::from_str(&line).expect("the daemon speaks the protocol");
            if sender.send(line).is_err() {
                return; // Training is over.
            }
        }
        std::process::exit(1);
    });
    receiver
}

struct Trainer {
    link: UnixStream,
    lines: Receiver<ToTrainer>,
    control: Control,
    start: Start,
    drained: bool,
}

impl Trainer {
    fn train(&mut self) -> anyhow::Result<()> {
        self.control.register(&self.start.device);
        let plan = self.start.recipe.plan(self.start.n_samples)?;
        let (mut step, mut state) = checkpoint::start_state(&self.start)?;
        let mut lane = self.meet()?;
        self.say(&News::Ready { step })?;
        let mut since = Instant::now();
        while step.0 < plan.schedule.total_steps {
            self.wait_while_held(step)?;
            self.control.suffer(&self.start.device, step)?;
            let wish = if self.drained { Wish::Stop } else { Wish::Go };
            if self.agree(&mut lane, wish)? == Wish::Stop {
                self.checkpoint(&mut lane, step, &state)?;
                return self.say(&News::Stopped { step });
            }
            std::thread::sleep(self.control.step_duration());
            state = state.after(step);
            self.report(step, since.elapsed())?;
            since = Instant::now();
            step = step.next();
            if self.is_checkpoint_due(&plan, step) {
                self.checkpoint(&mut lane, step, &state)?;
            }
        }
        self.say(&News::Finished {
            step,
            state_digest: state.digest(),
        })
    }

    /// Meets the group at the point that the first device made and the coordinator handed round.
    fn meet(&mut self) -> anyhow::Result<Option<Lane>> {
        let index = self
            .start
            .placement
            .index_of(&self.start.device)
            .context("this device has no place")?;
        if self.start.placement.devices.len() == 1 {
            return Ok(None);
        }
        if index > 0 {
            let rendezvous = self.wait_for_join()?;
            return Ok(Some(Lane::join(&self.start, &rendezvous)?));
        }
        let meeting = Meeting::new(&self.start)?;
        self.say(&News::Rendezvous {
            rendezvous: meeting.rendezvous.clone(),
        })?;
        let handed_round = self.wait_for_join()?;
        ensure!(
            handed_round == meeting.rendezvous,
            "the meeting point was changed on its way"
        );
        Ok(Some(meeting.gather(&self.start)?))
    }

    fn wait_for_join(&mut self) -> anyhow::Result<m2t_common::report::Rendezvous> {
        loop {
            match self.lines.recv()? {
                ToTrainer::Join { rendezvous } => return Ok(rendezvous),
                ToTrainer::Drain => self.drained = true,
                ToTrainer::Start(_) => bail!("started twice"),
            }
        }
    }

    fn wait_while_held(&mut self, step: Step) -> anyhow::Result<()> {
        loop {
            match self.lines.try_recv() {
                Ok(ToTrainer::Drain) => self.drained = true,
                Ok(ToTrainer::Join { .. }) => {}
                Ok(ToTrainer::Start(_)) => bail!("started twice"),
                Err(TryRecvError::Empty) if self.drained || !self.control.holds(step) => return Ok(()),
                Err(TryRecvError::Empty) => std::thread::sleep(HELD_POLL),
                Err(TryRecvError::Disconnected) => bail!("the daemon is gone"),
            }
        }
    }

    fn agree(&self, lane: &mut Option<Lane>, wish: Wish) -> anyhow::Result<Wish> {
        lane.as_mut().map_or(Ok(wish), |lane| lane.agree(wish))
    }

    /// The first device writes; then all know that it is written.
    fn checkpoint(&mut self, lane: &mut Option<Lane>, step: Step, state: &State) -> anyhow::Result<()> {
        if self.start.placement.first() == Some(&self.start.device) {
            let report = checkpoint::write(&self.start, step, state)?;
            self.say(&News::Checkpointed(report))?;
        }
        self.agree(lane, Wish::Go)?;
        Ok(())
    }

    fn is_checkpoint_due(&self, plan: &Plan, step: Step) -> bool {
        let every = self.start.recipe.run.checkpoint_every;
        step.0 == plan.schedule.total_steps
            || plan.shards.step_in_epoch(step) == 0
            || (every > 0 && step.0.is_multiple_of(every))
    }

    fn report(&mut self, step: Step, duration: Duration) -> anyhow::Result<()> {
        let (loss_by_rank, loss) = losses(step, self.start.recipe.training.world);
        self.say(&News::Stepped(StepReport {
            step: step.next(),
            loss,
            loss_by_rank,
            gradient_norm: 1.0,
            duration,
            data_wait: duration / 10,
            replaced: vec![],
        }))
    }

    fn say(&mut self, news: &News) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(news)?;
        line.push(b'\n');
        self.link.write_all(&line).context("the daemon is gone")
    }
}
