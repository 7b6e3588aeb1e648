//! What a program's command line says of itself: completions for shells, man pages, a page of reference.
//!
//! Each program of m2t answers `PROGRAM __describe TOPIC` before it reads its options: that is how `m2t completions`, `m2t man` and
//! `cargo xtask reference` ask all of them, without any of them knowing the options of another. The word is no part of what users
//! type, and in no help.

mod page;

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::Command;
use clap_complete::Shell;

/// The first argument of a program that is asked.
pub const ASK: &str = "__describe";

/// What a program can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Topic {
    /// A script for a shell.
    Completions(Shell),
    /// Man pages into a folder.
    Man(OsString),
    /// A page of reference, as Markdown.
    Page,
}

/// Answers where this process is asked to describe itself; else nothing, and the program goes on.
pub fn answer(command: impl FnOnce() -> Command) -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != ASK {
        return None;
    }
    let Some(topic) = Topic::read(arguments) else {
        let _ = writeln!(
            std::io::stderr(),
            "{ASK} takes: completions bash|zsh|fish, man DIR, or page"
        );
        return Some(ExitCode::from(2));
    };
    match topic.describe(command(), &mut std::io::stdout()) {
        Ok(()) => Some(ExitCode::SUCCESS),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "cannot write what was asked for: {error}");
            Some(ExitCode::FAILURE)
        }
    }
}

impl Topic {
    fn read(mut arguments: impl Iterator<Item = OsString>) -> Option<Self> {
        let topic = arguments.next()?;
        match topic.to_str()? {
            "completions" => Some(Self::Completions(arguments.next()?.to_str()?.parse().ok()?)),
            "man" => Some(Self::Man(arguments.next()?)),
            "page" => Some(Self::Page),
            _ => None,
        }
    }

    fn describe(&self, mut command: Command, out: &mut impl Write) -> std::io::Result<()> {
        let name = command.get_name().to_owned();
        match self {
            Self::Completions(shell) => {
                let mut script = Vec::new();
                clap_complete::generate(*shell, &mut command, name, &mut script);
                out.write_all(&script)
            }
            Self::Man(folder) => clap_mangen::generate_to(command, Path::new(folder)),
            Self::Page => out.write_all(page::page(command).as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests;
