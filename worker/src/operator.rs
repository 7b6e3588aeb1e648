//! What `m2t` does for an operator: shows the status, and runs the other programs beside it.
//!
//! It does no tensor work: that is `m2t-trainer SUBCOMMAND`, whose output and exit code are passed through.

pub mod data;
pub mod status;
pub mod table;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::Context;

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
