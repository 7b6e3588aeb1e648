//! `m2t`, the operator tool: reads its options and calls what does the work.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use m2t_worker::daemon::CoordinatorAddress;
use m2t_worker::operator::{run_trainer, status};

/// Watches a run and works with its data and checkpoints.
#[derive(Parser)]
#[command(
    name = "m2t",
    version,
    after_help = "Exit codes: 0 done; 1 it failed; 2 refused input; else the trainer's."
)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show where a run stands.
    Status(StatusOptions),
    /// Look into a checkpoint.
    #[command(subcommand)]
    Checkpoint(CheckpointCommand),
    /// Classify held-out images by their nearest neighbours in feature space (m2t-trainer knn).
    #[command(disable_help_flag = true)]
    Knn {
        /// Passed on to `m2t-trainer knn`; `--help` shows them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

#[derive(Args)]
struct StatusOptions {
    /// Where the coordinator listens.
    #[arg(long, default_value = "127.0.0.1:7117", value_name = "HOST:PORT")]
    coordinator: CoordinatorAddress,
    /// One line of JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Show it again whenever it changes, until the run ends.
    #[arg(long)]
    watch: bool,
}

#[derive(Subcommand)]
enum CheckpointCommand {
    /// Print the digest of the state in a checkpoint's folder.
    Digest {
        /// The checkpoint's folder.
        path: OsString,
    },
}

fn main() -> ExitCode {
    run(Options::parse().command).unwrap_or_else(|error| {
        // A reader that had enough (`m2t status | head`) is no failure.
        let is_closed_pipe = error
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe);
        if is_closed_pipe {
            return ExitCode::SUCCESS;
        }
        eprintln!("m2t: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Status(options) => show_status(&options),
        Command::Checkpoint(CheckpointCommand::Digest { path }) => run_trainer(&["digest".into(), path]),
        Command::Knn { arguments } => {
            let all: Vec<OsString> = std::iter::once("knn".into()).chain(arguments).collect();
            run_trainer(&all)
        }
    }
}

fn show_status(options: &StatusOptions) -> anyhow::Result<ExitCode> {
    let format = if options.json {
        status::Format::Json
    } else {
        status::Format::Table
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    let mut out = std::io::stdout();
    runtime.block_on(async {
        if options.watch {
            status::watch(&options.coordinator, format, &mut out).await
        } else {
            status::show(&options.coordinator, format, &mut out).await
        }
    })?;
    Ok(ExitCode::SUCCESS)
}
