//! One message between two devices, as a work of c10d: to wait for, and to end. It keeps the connections open while it lives.

use std::time::Duration;

use super::milliseconds;
use crate::TorchError;
use crate::shim::{RawWork, checked, m2t_work_abort, m2t_work_free, m2t_work_wait};

/// A message under way. Dropped before its end, it is forgotten: Gloo looks for its buffer before each use of it.
pub(super) struct Message {
    work: *mut RawWork,
    pub(super) peer: usize,
}

// SAFETY: c10d's Work may be waited for on any thread, and aborted on another at the same time.
unsafe impl Send for Message {}
// SAFETY: as above.
unsafe impl Sync for Message {}

impl Message {
    /// Takes over a work that the shim has just made.
    pub(super) fn new(work: *mut RawWork, peer: usize) -> Self {
        Self { work, peer }
    }

    /// Whether it is done; not when the wait was aborted.
    pub(super) fn wait(&self, timeout: Duration) -> Result<bool, TorchError> {
        let mut done = 0;
        // SAFETY: the work lives as long as `self`; the out-pointer is valid for writes.
        checked(unsafe { m2t_work_wait(self.work, milliseconds(timeout), &raw mut done) })?;
        Ok(done != 0)
    }

    /// Ends a wait for it, the one under way or the next.
    pub(super) fn abort(&self) {
        // SAFETY: the work lives as long as `self`, and its buffer takes an abort at any time: it locks itself.
        // An exception of that lock would leave the wait to its timeout; nothing better is left to do.
        let _ = checked(unsafe { m2t_work_abort(self.work) });
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: the pointer came from the shim; the last use.
        unsafe { m2t_work_free(self.work) }
    }
}
