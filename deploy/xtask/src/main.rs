//! `cargo xtask`: everything a person or a CI machine types in this workspace.
//!
//! Each command first does the set-up it needs, so that a fresh clone needs no other preparation. Nothing of the
//! product is here: the demo runs the real programs, the gate runs cargo and its tools.
//!
//! Exit codes: 0 done, 1 something failed, 2 the command line was wrong, 4 stopped by hand.
#![expect(
    clippy::print_stdout,
    reason = "a command-line tool's words go to its standard output"
)]

mod workspace;

mod set_up;

mod gate;

mod demo;

mod bench;

mod chaos;

mod fleet;

mod interrupt;
mod reference;
mod show;

#[cfg(test)]
mod shipped_config;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::interrupt::{Interrupt, StoppedByHand};
use crate::workspace::Workspace;

/// Set-up, test, demo, benches and chaos of m2t.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what a build needs (libtorch into .libtorch/). The other commands do it by themselves.
    SetUp(SetUpArguments),
    /// The gate: formatting, clippy, tests, documentation, dependencies.
    Test(TestArguments),
    /// Pretrain an encoder with a coordinator, two daemons and four trainers on this machine, and show what it learnt.
    Demo(DemoArguments),
    /// Measure the real programs: a line of JSON a result.
    Bench(bench::BenchArguments),
    /// Make the pages of reference anew, from the code (deploy/reference/).
    Reference,
    /// A run among faults drawn from a seed, whose result must be the calm run's.
    Chaos(chaos::ChaosArguments),
}

/// What the set-up is told.
#[derive(Args)]
struct SetUpArguments {
    /// Install what libtorch requires for GPUs as well: 3.9 GB in all instead of 1.2.
    #[arg(long)]
    cuda: bool,
}

/// What the gate is told.
#[derive(Args)]
struct TestArguments {
    /// Check dependencies against the database of known vulnerabilities too; it is fetched from the network.
    #[arg(long)]
    advisories: bool,
}

/// What the demo is told.
#[derive(Args)]
struct DemoArguments {
    /// An `ImageFolder` of your own (DIR/class/picture.jpg, or that below DIR/train and DIR/val); else photographs are made.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Seed of the made photographs, of initialisation, order and augmentation.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Port of the coordinator on this machine; 0 takes a free one.
    #[arg(long, value_name = "P", default_value_t = 0)]
    port: u16,
    /// Work in DIR (new or empty) and leave everything there; else in the target folder, until the next demo.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments.command) {
        Ok(code) => code,
        Err(error) if error.is::<StoppedByHand>() => {
            eprintln!("{error}");
            ExitCode::from(4)
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::find()?;
    match command {
        Command::SetUp(arguments) => {
            if arguments.cuda {
                set_up::with_cuda(&workspace)?;
            } else {
                set_up::run(&workspace)?;
            }
            println!("set-up: done");
            Ok(ExitCode::SUCCESS)
        }
        Command::Test(arguments) => gate::run(&workspace, arguments),
        Command::Demo(arguments) => {
            let interrupt = Interrupt::listen()?;
            demo::run(&workspace, arguments, &interrupt)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Bench(arguments) => {
            let interrupt = Interrupt::listen()?;
            bench::run(&workspace, arguments, &interrupt)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Reference => {
            set_up::run(&workspace)?;
            reference::run(&workspace)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Chaos(arguments) => {
            let interrupt = Interrupt::listen()?;
            chaos::build_and_run(&workspace, arguments, &interrupt)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
