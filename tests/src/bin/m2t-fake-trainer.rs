//! The fake trainer as a program: takes the command line of `m2t-trainer run`, trains nothing.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    },
}

fn main() -> ExitCode {
    let Command::Run { link } = Options::parse().command;
    match m2t_tests::fake::run(&link) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
