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
use crate::state::frozen::{Buffers, Frozen, Ordered};

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
    pub frozen: Frozen,
    /// How long training stood for it.
    pub stall: Duration,
    /// Of which run.
    pub belonging: Belonging,
    /// How much hangs on it.
    pub need: Need,
}

/// A job whose tensors are in a file's order; tried again, they need not be brought there again.
struct Attempt {
    step: Step,
    generation: Generation,
    folder: PathBuf,
    state: Ordered,
    stall: Duration,
    belonging: Belonging,
    need: Need,
}

enum Request {
    Write(Box<Job>),
    /// Say when all that was asked for before is written.
    Flush(SyncSender<()>),
}

/// Writes frozen states in the order they come, one at a time; each is told of once it is on the disk, or cannot be.
pub struct Writer {
    requests: SyncSender<Request>,
    asked: Option<(Step, Need)>,
    buffers: Buffers,
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
            buffers: Buffers::default(),
        }
    }

    /// Where states to be written are copied to.
    pub fn buffers(&self) -> &Buffers {
        &self.buffers
    }

    /// Fetches memory for the first copy, while training begins.
    pub fn make_ready(&self, n_bytes: usize) {
        let buffers = self.buffers.clone();
        std::thread::spawn(move || buffers.make_ready(n_bytes));
    }

    /// Hands a frozen state over. When the disk is slower than the run this waits; a hold ends the wait, and the state is
    /// written all the same.
    pub fn write(&mut self, job: Job, membership: &Arc<Membership>) -> Result<(), Held> {
        self.asked = Some((job.frozen.step, job.need));
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
    let mut unwritten: Option<Attempt> = None;
    let mut waiting = Vec::new();
    loop {
        let request = match unwritten {
            None => requests.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(_) => requests.recv_timeout(PAUSE),
        };
        match request {
            Ok(Request::Write(job)) => {
                // What it takes the place of gives its memory back first.
                drop(unwritten.take());
                unwritten = Some(Attempt::of(*job));
            }
            Ok(Request::Flush(done)) => waiting.push(done),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        unwritten = unwritten.filter(|attempt| !attempt.is_last(link));
        if unwritten.is_none() {
            for done in waiting.drain(..) {
                // Whoever asked may have been held meanwhile.
                let _ = done.send(());
            }
        }
    }
}

impl Attempt {
    fn of(job: Job) -> Self {
        Self {
            step: job.frozen.step,
            generation: job.generation,
            folder: job.folder,
            state: job.frozen.in_order(),
            stall: job.stall,
            belonging: job.belonging,
            need: job.need,
        }
    }

    /// Tries to write; whether nothing is left to do for it.
    fn is_last(&self, link: &dyn Link) -> bool {
        let written = write(&self.folder, &self.state.pieces(), &self.belonging);
        let is_written = written.is_ok();
        let news = match written {
            Ok(mut report) => {
                report.cost.stall = self.stall;
                News::Checkpointed(report)
            }
            Err(error) => News::CheckpointFailed {
                step: self.step,
                reason: error.to_string(),
            },
        };
        link.tell(self.generation, news);
        is_written || self.need == Need::Should
    }
}
