//! One life of the fake trainer, over generations: it waits, trains in a group, leaves it with its state, waits again.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, ensure};
use m2t_common::report::News;
use m2t_common::trainer_link::{Said, ToTrainer};
use m2t_common::{Generation, Step};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use super::inbox::Inbox;
use super::leave::Leave;
use super::train::{Done, train};
use super::{Control, State};

/// A process, and what it keeps from one generation to the next.
pub(super) struct Life {
    link: UnixStream,
    pub(super) inbox: Inbox,
    pub(super) control: Control,
    /// The generation it is in, or was last in; 0 before the first.
    generation: Generation,
    /// The state of its last commit, while it has a whole one.
    pub(super) kept: Option<(Step, State)>,
}

/// Trains as the daemon at the other end of `socket` says. What goes wrong is said there, too.
pub fn run(socket: &Path) -> anyhow::Result<()> {
    let daemon = getppid();
    set_parent_process_death_signal(Some(Signal::KILL))?;
    ensure!(getppid() == daemon, "the daemon died before this trainer began");
    let link = UnixStream::connect(socket).context("cannot reach the daemon")?;
    let mut life = Life {
        inbox: Inbox::listen(link.try_clone()?),
        link,
        control: Control::from_environment()?,
        generation: Generation(0),
        kept: None,
    };
    if let Err(error) = life.live() {
        life.say(News::Failed {
            reason: format!("{error:#}"),
        })?;
        return Err(error);
    }
    Ok(())
}

impl Life {
    fn live(&mut self) -> anyhow::Result<()> {
        loop {
            match self.inbox.next()? {
                ToTrainer::Prepare(_) => {
                    ensure!(
                        self.control.folder().is_dir(),
                        "the steering folder {} is gone",
                        self.control.folder().display()
                    );
                    self.say(News::Warm)?;
                }
                ToTrainer::Start(start) => {
                    ensure!(
                        start.generation > self.generation,
                        "started in generation {} after {}",
                        start.generation,
                        self.generation
                    );
                    self.generation = start.generation;
                    match train(self, &start) {
                        Ok(Done::Over(last_word)) => return self.say(last_word),
                        Ok(Done::Boundary) | Err(Leave::Told) => self.say_where_it_stands(None)?,
                        Err(Leave::Broken(reason)) => self.say_where_it_stands(Some(reason))?,
                        Err(Leave::Own(error)) => return Err(error),
                    }
                }
                ToTrainer::Hold { generation } if generation == self.generation => {
                    self.say_where_it_stands(None)?;
                }
                ToTrainer::Hold { .. } | ToTrainer::Join { .. } | ToTrainer::Boundary { .. } => {}
            }
        }
    }

    fn say_where_it_stands(&mut self, broken: Option<String>) -> anyhow::Result<()> {
        self.say(match self.kept {
            Some((step, _)) => News::Held { step, broken },
            None => News::Warm,
        })
    }

    /// Says `news` of its generation.
    pub(super) fn say(&mut self, news: News) -> anyhow::Result<()> {
        let generation = self.generation;
        let mut line = serde_json::to_vec(&Said { generation, news })?;
        line.push(b'\n');
        self.link.write_all(&line).context("the daemon is gone")
    }
}
