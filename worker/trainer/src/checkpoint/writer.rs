//! The thread that writes checkpoints while training goes on. It lives as long as the process: what was asked for in a
//! generation that broke is written all the same, and told in that generation's name.
//!
//! Why a checkpoint that cannot be written ends nothing: a full disk is a matter of an operator's minute, and what trains
//! on meanwhile is not lost; the next checkpoint holds it. Only the last one of a group has no next one, so it is tried
//! until it is written, a later one is asked for, or the process is told to end.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use m2t_common::report::News;
use m2t_common::{Generation, Step};

use super::{Belonging, write};
use crate::link::Link;
use crate::membership::{Held, Membership};
use crate::state::Snapshot;

/// Between two tries.
const PAUSE: Duration = Duration::from_secs(2);

/// How much hangs on a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Another follows: one that cannot be written is told and left out.
    Should,
    /// The last one: it is tried until it is written.
    Must,
}

/// A checkpoint to write.
pub struct Job {
    /// In whose name it is told.
    pub generation: Generation,
    /// The run's `checkpoints/`.
    pub folder: PathBuf,
    /// What is written.
    pub snapshot: Snapshot,
    /// Of which run.
    pub belonging: Belonging,
    /// How much hangs on it.
    pub need: Need,
}

enum Request {
    Write(Box<Job>),
    /// Say when all that was asked for before is written.
    Flush(SyncSender<()>),
}

/// Writes snapshots in the order they come, one at a time; each is told of once it is on the disk, or cannot be.
pub struct Writer {
    requests: SyncSender<Request>,
    asked: Option<(Step, Need)>,
}

impl Writer {
    /// Nothing is written yet.
    pub fn start(link: Arc<dyn Link>) -> Self {
        // One waits while one is written: a disk slower than `checkpoint_every` slows training instead of filling memory.
        let (requests, receiver) = sync_channel(1);
        std::thread::spawn(move || work(&receiver, &*link));
        Self {
            requests,
            asked: None,
        }
    }

    /// Hands a snapshot over. When the disk is slower than the run this waits; a hold ends the wait, and the snapshot is
    /// written all the same.
    pub fn write(&mut self, job: Job, membership: &Arc<Membership>) -> Result<(), Held> {
        self.asked = Some((job.snapshot.step, job.need));
        match self.requests.try_send(Request::Write(Box::new(job))) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(request)) => {
                let requests = self.requests.clone();
                membership.apart(move || requests.send(request).expect(WORKS))
            }
            Err(TrySendError::Disconnected(_)) => panic!("{WORKS}"),
        }
    }

    /// Whether the checkpoint of this step was asked for and is tried until it is written.
    pub fn will_write(&self, step: Step) -> bool {
        self.asked == Some((step, Need::Must))
    }

    /// Waits until all is written, or for a hold.
    pub fn flush(&self, membership: &Arc<Membership>) -> Result<(), Held> {
        let requests = self.requests.clone();
        let (done, written) = sync_channel(1);
        membership.apart(move || {
            requests.send(Request::Flush(done)).expect(WORKS);
            written.recv().expect(WORKS);
        })
    }
}

const WORKS: &str = "the writer works as long as the process: it only copies bytes";

fn work(requests: &Receiver<Request>, link: &dyn Link) {
    let mut unwritten: Option<Box<Job>> = None;
    let mut waiting = Vec::new();
    loop {
        let request = match unwritten {
            None => requests.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(_) => requests.recv_timeout(PAUSE),
        };
        match request {
            Ok(Request::Write(job)) => unwritten = Some(job),
            Ok(Request::Flush(done)) => waiting.push(done),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        unwritten = unwritten.filter(|job| !attempt(job, link));
        if unwritten.is_none() {
            for done in waiting.drain(..) {
                // Whoever asked may have been held meanwhile.
                let _ = done.send(());
            }
        }
    }
}

/// Tries to write; whether nothing is left to do for it.
fn attempt(job: &Job, link: &dyn Link) -> bool {
    let written = write(&job.folder, &job.snapshot, &job.belonging);
    let is_written = written.is_ok();
    let news = match written {
        Ok(report) => News::Checkpointed(report),
        Err(error) => News::CheckpointFailed {
            step: job.snapshot.step,
            reason: error.to_string(),
        },
    };
    link.tell(job.generation, news);
    is_written || job.need == Need::Should
}
