//! The thread that writes checkpoints while training goes on.
//!
//! Why a checkpoint that cannot be written ends nothing: a full disk is a matter of an operator's minute, and what trains
//! on meanwhile is not lost; the next checkpoint holds it. Only the last one of a group has no next one, so it is tried
//! until it is written or the process is told to end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use m2t_common::report::News;

use super::{Belonging, write};
use crate::link::Link;
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

/// Writes snapshots in the order they come, one at a time; each is told of once it is on the disk, or cannot be.
pub struct Writer {
    snapshots: SyncSender<(Snapshot, Need)>,
    thread: JoinHandle<()>,
}

impl Writer {
    /// Writes below `folder`.
    pub fn start(folder: PathBuf, belonging: Belonging, link: Arc<dyn Link>) -> Self {
        // One waits while one is written: a disk slower than `checkpoint_every` slows training instead of filling memory.
        let (snapshots, receiver) = sync_channel(1);
        let thread = std::thread::spawn(move || work(&receiver, &folder, &belonging, &*link));
        Self { snapshots, thread }
    }

    /// Hands a snapshot over.
    pub fn write(&self, snapshot: Snapshot, need: Need) {
        self.snapshots
            .send((snapshot, need))
            .expect("the writer works until it is dropped");
    }

    /// Waits until all is written.
    pub fn finish(self) {
        drop(self.snapshots);
        self.thread
            .join()
            .expect("the writer does not panic: it only copies bytes");
    }
}

fn work(snapshots: &Receiver<(Snapshot, Need)>, folder: &Path, belonging: &Belonging, link: &dyn Link) {
    for (snapshot, need) in snapshots {
        loop {
            match write(folder, &snapshot, belonging) {
                Ok(report) => link.tell(&News::Checkpointed(report)),
                Err(error) => {
                    let (step, reason) = (snapshot.step, error.to_string());
                    link.tell(&News::CheckpointFailed { step, reason });
                    if need == Need::Must {
                        std::thread::sleep(PAUSE);
                        continue;
                    }
                }
            }
            break;
        }
    }
}
