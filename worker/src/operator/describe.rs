//! `m2t completions` and `m2t man`: what the programs say of their own command lines, for shells and for `man`.
//!
//! Each program is run and says it itself; one that is not installed here is left out, and that is said.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use m2t_describe::ASK;

use super::beside;

/// The programs, as they are called.
const PROGRAMS: [&str; 4] = ["m2t", "m2t-coordinator", "m2t-worker", "m2t-trainer"];

/// A shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU Bash.
    Bash,
    /// Zsh.
    Zsh,
    /// Fish.
    Fish,
}

/// What `m2t completions` is told.
#[derive(Args)]
#[command(after_long_help = COMPLETIONS)]
pub struct CompletionsOptions {
    /// For which shell.
    shell: Shell,
    /// Write a file for each program into DIR, under the name that the shell looks for [default: all to standard output].
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

/// What `m2t man` is told.
#[derive(Args)]
#[command(after_long_help = MAN)]
pub struct ManOptions {
    /// The folder to write to, such as ~/.local/share/man/man1.
    dir: PathBuf,
}

const COMPLETIONS: &str = "\
Of m2t, m2t-coordinator, m2t-worker and m2t-trainer.

Examples:
  source <(m2t completions bash)                        for this shell, or in ~/.bashrc
  source <(m2t completions zsh)                         in ~/.zshrc, after compinit
  m2t completions fish --to ~/.config/fish/completions  for good

Exit codes: 0 written; 1 it failed.";

const MAN: &str = "\
A page for each program and each command: m2t.1, m2t-status.1, m2t-coordinator.1.

Example:
  m2t man ~/.local/share/man/man1 && man m2t-status

Exit codes: 0 written; 1 it failed.";

impl Shell {
    fn name(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Zsh => "zsh",
            Self::Fish => "fish",
        }
    }

    /// The file in which it looks for the completions of `program`.
    fn file_of(self, program: &str) -> String {
        match self {
            Self::Bash => program.to_owned(),
            Self::Zsh => format!("_{program}"),
            Self::Fish => format!("{program}.fish"),
        }
    }
}

/// Writes completions.
///
/// # Errors
/// Where a program fails, or a file cannot be written.
pub fn completions(options: &CompletionsOptions, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    if let Some(folder) = &options.to {
        make(folder)?;
    }
    for program in installed()? {
        let script = ask(&program, &["completions".as_ref(), options.shell.name().as_ref()])?;
        match &options.to {
            Some(folder) => {
                let path = folder.join(options.shell.file_of(&name_of(&program)));
                std::fs::write(&path, script).with_context(|| format!("cannot write {}", path.display()))?;
            }
            None => out.write_all(&script)?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes man pages.
///
/// # Errors
/// Where a program fails, or a file cannot be written.
pub fn man(options: &ManOptions) -> anyhow::Result<ExitCode> {
    make(&options.dir)?;
    for program in installed()? {
        ask(&program, &["man".as_ref(), options.dir.as_os_str()])?;
    }
    Ok(ExitCode::SUCCESS)
}

fn make(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))
}

/// The programs that lie beside this one.
fn installed() -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for program in PROGRAMS {
        let path = beside(program)?;
        if path.is_file() {
            found.push(path);
        } else {
            eprintln!("m2t: {} is not installed and is left out", path.display());
        }
    }
    Ok(found)
}

fn name_of(program: &Path) -> String {
    program
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn ask(program: &Path, question: &[&std::ffi::OsStr]) -> anyhow::Result<Vec<u8>> {
    let answer = Command::new(program)
        .arg(ASK)
        .args(question)
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    if !answer.status.success() {
        bail!(
            "{} does not describe itself; is it of this version? {}",
            program.display(),
            String::from_utf8_lossy(&answer.stderr).trim()
        );
    }
    Ok(answer.stdout)
}
