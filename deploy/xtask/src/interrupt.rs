//! Ctrl-C and SIGTERM as a flag that is looked at, so that what we started is always stopped by us.
//!
//! It stops nothing by itself: whoever waits polls [`Interrupt::check`] and cleans up on the way out.

use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// How often waiting code looks around.
pub(crate) const POLL: Duration = Duration::from_millis(50);

/// Somebody wants us to end.
#[derive(Debug)]
pub(crate) struct StoppedByHand;

impl std::fmt::Display for StoppedByHand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("stopped by hand")
    }
}

impl std::error::Error for StoppedByHand {}

/// Whether somebody wants us to end.
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From now on the signals only set the flag.
    pub(crate) fn listen() -> Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&flag))
                .with_context(|| format!("cannot listen for signal {signal}"))?;
        }
        Ok(Self(flag))
    }

    /// An error once a signal has come.
    pub(crate) fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) {
            return Err(StoppedByHand.into());
        }
        Ok(())
    }

    /// Takes the signal back, so that the next one can be told from it: the second Ctrl-C.
    pub(crate) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }

    /// Waits for a command that runs in the foreground; a signal ends it.
    pub(crate) fn wait(&self, child: &mut Child) -> Result<ExitStatus> {
        loop {
            if let Some(status) = child.try_wait().context("cannot wait for a process")? {
                // A Ctrl-C in a terminal reaches the child too; what ended it is then the signal, not a failure.
                self.check()?;
                return Ok(status);
            }
            if let Err(stopped) = self.check() {
                // It may have ended in between; then there is nothing to kill.
                let _ = child.kill();
                child.wait().context("cannot wait for a process")?;
                return Err(stopped);
            }
            std::thread::sleep(POLL);
        }
    }
}
