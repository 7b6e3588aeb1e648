//! Processes that this one started: told by signals, waited for, and what their end means.

use std::process::ExitStatus;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;

/// What an end by a signal counts as: a lost run.
pub(crate) const LOST: u8 = 3;

/// Sends a signal to a child that has not been waited for, so its number is still its own.
pub(crate) fn tell(child: &Child, signal: Signal) {
    let pid = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // Fails only if it is gone, which whoever waits for it learns.
        let _ = kill_process(pid, signal);
    }
}

/// A child's exit code; a signal counts as a lost run.
pub(crate) fn code_of(ended: ExitStatus) -> u8 {
    let code = ended.code().and_then(|code| u8::try_from(code).ok());
    code.unwrap_or(LOST)
}
