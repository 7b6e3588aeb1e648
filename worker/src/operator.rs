//! What `m2t` does for an operator: shows the status and recipes, and runs the other programs beside it.
//!
//! It does no tensor work: that is `m2t-trainer SUBCOMMAND`, whose output and exit code are passed through.

pub mod audit;
pub mod data;
pub mod describe;
pub mod doctor;
pub mod help;
pub mod launch;
pub mod metrics;
pub mod orders;
pub mod progress;
pub mod recipe;
pub mod record;
pub mod report;
pub mod status;
pub mod table;
pub mod train;
pub mod watch;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::Context;
use clap::Args;
use tokio::time::Instant;

use crate::contact::{AccessArgs, Contact, CoordinatorAddress};

/// The variable by which a program that `m2t train` starts learns whom to end with.
pub const FOLLOW_PARENT: &str = "M2T_FOLLOW_PARENT";

/// Ends with `m2t train` where it started this process: the kernel sends SIGTERM when it is gone, so that a run stops at a
/// step that is checkpointed. Must be called from the main thread.
///
/// # Errors
/// When it is gone already.
pub fn follow_parent() -> anyhow::Result<()> {
    let Some(parent) = std::env::var_os(FOLLOW_PARENT) else {
        return Ok(());
    };
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))
        .context("cannot ask to end with m2t train")?;
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().to_string());
    anyhow::ensure!(
        now.as_deref().map(OsStr::new) == Some(parent.as_os_str()),
        "m2t train, which started this program, is gone"
    );
    Ok(())
}

/// Which coordinator is asked, and what is shown to it.
#[derive(Args, Clone, Debug)]
pub struct Whom {
    /// Where the coordinator listens.
    #[arg(long, default_value = "127.0.0.1:7117", value_name = "HOST:PORT")]
    coordinator: CoordinatorAddress,
    #[command(flatten)]
    access: AccessArgs,
}

impl Whom {
    /// The coordinator.
    ///
    /// # Errors
    /// [`Refused`] where what is to be shown cannot be used.
    pub fn contact(&self) -> Result<Contact, Refused> {
        Contact::new(self.coordinator.clone(), &self.access)
            .map_err(|error| Refused::new(crate::ending::sentence(&error)))
    }
}

/// Something that was typed was refused; nothing was begun. In one sentence.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

impl Refused {
    /// What was wrong, where, and what to do.
    pub fn new(problem: impl Into<String>) -> Self {
        Self(problem.into())
    }
}

/// Waits until then; for ever without a time.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// The path of `program` in the folder of the program that runs now.
pub fn beside(program: &str) -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe().context("cannot tell where this program lies")?;
    Ok(this.with_file_name(program))
}

/// Runs `m2t-trainer` with `arguments`; its exit code is this program's.
pub fn run_trainer(arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    let trainer = beside("m2t-trainer")?;
    let status = Command::new(&trainer).args(arguments).status().with_context(|| {
        format!(
            "cannot run {}; build it with cargo build --release -p m2t-trainer",
            trainer.display()
        )
    })?;
    // A code beyond a byte cannot be; none means a signal, for which a shell says 128 and more. Either is a failure.
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
