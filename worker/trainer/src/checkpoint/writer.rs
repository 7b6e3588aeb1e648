//! The thread that writes checkpoints while training goes on.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use m2t_common::report::News;

use super::{Belonging, CheckpointError, write};
use crate::link::Link;
use crate::state::Snapshot;

/// Writes snapshots in the order they come, one at a time; each is told of once it is on the disk.
pub struct Writer {
    snapshots: SyncSender<Snapshot>,
    thread: JoinHandle<Result<(), CheckpointError>>,
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
    ///
    /// # Errors
    /// The one that ended the writer.
    pub fn write(self, snapshot: Snapshot) -> Result<Self, CheckpointError> {
        match self.snapshots.send(snapshot) {
            Ok(()) => Ok(self),
            Err(_) => Err(self.finish().expect_err("a writer ends early only by an error")),
        }
    }

    /// Waits until all is written.
    ///
    /// # Errors
    /// The first that could not be written.
    pub fn finish(self) -> Result<(), CheckpointError> {
        drop(self.snapshots);
        self.thread.join().expect("the writer does not panic: it only copies bytes")
    }
}

fn work(
    snapshots: &Receiver<Snapshot>,
    folder: &std::path::Path,
    belonging: &Belonging,
    link: &dyn Link,
) -> Result<(), CheckpointError> {
    for snapshot in snapshots {
        let report = write(folder, &snapshot, belonging)?;
        link.tell(&News::Checkpointed(report));
    }
    Ok(())
}
