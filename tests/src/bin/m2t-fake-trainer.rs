//! The fake trainer as a program: takes the command line of `m2t-trainer run`, trains nothing.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use m2t_common::GpuName;

#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run {
        #[arg(long)]
        link: PathBuf,
        /// Its GPU; what trains nothing needs none.
        #[arg(long)]
        gpu: Option<GpuName>,
    },
    /// As `m2t-trainer gpus`, of a machine with as many GPUs as M2T_FAKE_GPUS says.
    Gpus { names: Vec<GpuName> },
}

#[expect(clippy::print_stdout, reason = "what it is asked it says there")]
fn main() -> ExitCode {
    let done = match Options::parse().command {
        Command::Run { link, gpu } => {
            if let Some(gpu) = gpu {
                eprintln!("this would be GPU {gpu}");
            }
            m2t_tests::fake::run(&link)
        }
        Command::Gpus { names } => m2t_tests::fake::gpus(&names).map(|line| println!("{line}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
