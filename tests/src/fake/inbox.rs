//! What the daemon says to the fake trainer, and the order it obeys in: lines of another generation are dropped.

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use anyhow::{Context, anyhow};
use m2t_common::Generation;
use m2t_common::machine_link::Boundary;
use m2t_common::report::Rendezvous;
use m2t_common::trainer_link::ToTrainer;

use super::leave::Leave;

/// The daemon's lines.
pub(super) struct Inbox(Receiver<ToTrainer>);

/// What was heard in a generation, beyond its start.
pub(super) struct Told {
    generation: Generation,
    /// What to do at the next step boundary.
    pub(super) boundary: Boundary,
    /// Where to meet.
    pub(super) rendezvous: Option<Rendezvous>,
}

impl Inbox {
    /// Reads the daemon's lines. When the link closes the process ends, whatever it is at.
    pub(super) fn listen(link: UnixStream) -> Self {
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
        Self(receiver)
    }

    /// Waits for the next line.
    pub(super) fn next(&self) -> anyhow::Result<ToTrainer> {
        self.0.recv().context("the daemon is gone")
    }
}

impl Told {
    /// Nothing yet.
    pub(super) fn new(generation: Generation) -> Self {
        Self {
            generation,
            boundary: Boundary::GoOn,
            rendezvous: None,
        }
    }

    /// Takes in all that was said by now.
    pub(super) fn look_up(&mut self, inbox: &Inbox) -> Result<(), Leave> {
        loop {
            match inbox.0.try_recv() {
                Ok(line) => self.take(line)?,
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => return Err(Leave::Own(anyhow!("the daemon is gone"))),
            }
        }
    }

    /// Waits until the meeting point is known.
    pub(super) fn wait_for_rendezvous(&mut self, inbox: &Inbox) -> Result<Rendezvous, Leave> {
        loop {
            match &self.rendezvous {
                Some(rendezvous) => return Ok(rendezvous.clone()),
                None => self.take(inbox.next()?)?,
            }
        }
    }

    fn take(&mut self, line: ToTrainer) -> Result<(), Leave> {
        match line {
            ToTrainer::Join {
                generation,
                rendezvous,
            } if generation == self.generation => {
                self.rendezvous = Some(rendezvous);
            }
            ToTrainer::Boundary { generation, boundary } if generation == self.generation => {
                self.boundary = self.boundary.max(boundary);
            }
            ToTrainer::Hold { generation } if generation == self.generation => return Err(Leave::Told),
            ToTrainer::Join { .. } | ToTrainer::Boundary { .. } | ToTrainer::Hold { .. } => {}
            ToTrainer::Start(_) | ToTrainer::Prepare(_) => {
                return Err(Leave::Own(anyhow!(
                    "started in a group before it was told to leave it"
                )));
            }
        }
        Ok(())
    }
}
