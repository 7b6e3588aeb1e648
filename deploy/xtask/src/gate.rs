//! `cargo xtask test`: everything that must hold before a change lands. It reads only; it mends nothing.
//!
//! Every part runs, whatever happened to those before, so that one run shows all there is to mend. The last line counts
//! the tests in the form that CI readers know.

mod dependencies;
mod suite;

use std::process::{Command, ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::interrupt::Interrupt;
use crate::workspace::Workspace;
use crate::{TestArguments, chaos, set_up, show};
use suite::Counts;

/// How a part of the gate ended.
enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

impl Outcome {
    fn of(status: ExitStatus, typed: &str) -> Self {
        if status.success() {
            return Self::Passed;
        }
        Self::Failed(format!("`{typed}` failed ({status})"))
    }
}

/// A part that has run.
struct Done {
    name: &'static str,
    took: Duration,
    outcome: Outcome,
}

/// The gate while it runs.
struct Gate<'a> {
    workspace: &'a Workspace,
    done: Vec<Done>,
    counts: Counts,
}

/// Runs the gate; the exit code says whether it passed.
pub(crate) fn run(workspace: &Workspace, arguments: &TestArguments) -> Result<ExitCode> {
    let start = Instant::now();
    let mut gate = Gate {
        workspace,
        done: Vec::new(),
        counts: Counts::default(),
    };
    gate.part("set-up", |gate| {
        set_up::run(gate.workspace)?;
        Ok(Outcome::Passed)
    });
    // Without libtorch and a compiler nothing below could say anything of the code.
    if gate.has_passed() {
        gate.part("python clients", |gate| Ok(python_clients(gate.workspace)));
        gate.check_code();
        gate.part("chaos", |gate| chaos(gate.workspace));
        gate.part("dependencies", |gate| {
            dependencies::check(gate.workspace, arguments.advisories)
        });
    }
    gate.summarise(start.elapsed());
    Ok(if gate.has_passed() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Gate<'_> {
    fn check_code(&mut self) {
        self.cargo("fmt", &["fmt", "--all", "--check"]);
        self.cargo(
            "clippy",
            &[
                "clippy",
                "--release",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ],
        );
        // Tests of real processes run the programs of this very state of the code.
        self.cargo("build", &["build", "--release", "--workspace", "--bins"]);
        self.part("tests", |gate| suite::run(gate.workspace, &mut gate.counts));
        self.part("doc tests", |gate| {
            suite::run_doc_tests(gate.workspace, &mut gate.counts)
        });
        self.part("docs", |gate| {
            let mut command = gate
                .workspace
                .cargo(&["doc", "--release", "--workspace", "--no-deps"]);
            command.env("RUSTDOCFLAGS", "-D warnings");
            execute(gate.workspace, command)
        });
    }

    fn cargo(&mut self, name: &'static str, arguments: &[&str]) {
        self.part(name, |gate| {
            execute(gate.workspace, gate.workspace.cargo(arguments))
        });
    }

    fn part(&mut self, name: &'static str, work: impl FnOnce(&mut Self) -> Result<Outcome>) {
        show::heading(name);
        let start = Instant::now();
        let outcome = work(self).unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")));
        if let Outcome::Failed(reason) = &outcome {
            println!("{name}: {reason}");
        }
        self.done.push(Done {
            name,
            took: start.elapsed(),
            outcome,
        });
    }

    fn has_passed(&self) -> bool {
        !self
            .done
            .iter()
            .any(|done| matches!(done.outcome, Outcome::Failed(_)))
    }

    fn summarise(&self, took: Duration) {
        show::heading("summary");
        for Done { name, took, outcome } in &self.done {
            let outcome = match outcome {
                Outcome::Passed => "passed".to_owned(),
                Outcome::Failed(reason) => format!("FAILED: {reason}"),
                Outcome::Skipped(reason) => format!("skipped: {reason}"),
            };
            println!("{name:<14}{:>13}  {outcome}", show::duration(*took));
        }
        match self.counts.skipped_lines.as_slice() {
            [] => println!("\nno test skipped anything"),
            lines => {
                println!("\nwhat tests skipped, in their words:");
                for line in lines {
                    println!("  {line}");
                }
            }
        }
        let verdict = if self.has_passed() { "passed" } else { "FAILED" };
        println!("\ngate: {verdict} in {}", show::duration(took));
        println!("{}", self.counts.closing_line());
    }
}

/// Without them the tests that need them are skipped, each with a line that says so; in CI they must run.
fn python_clients(workspace: &Workspace) -> Outcome {
    match set_up::python_clients(workspace) {
        Ok(()) => Outcome::Passed,
        Err(error) if std::env::var("CI").as_deref() == Ok("true") => Outcome::Failed(format!("{error:#}")),
        Err(error) => Outcome::Skipped(format!("{error:#}")),
    }
}

/// A minute of faults with real trainers, and most of one with many machines.
fn chaos(workspace: &Workspace) -> Result<Outcome> {
    let interrupt = Interrupt::listen()?;
    for arguments in chaos::gate_runs() {
        chaos::run(workspace, &arguments, &interrupt)?;
    }
    Ok(Outcome::Passed)
}

/// Runs a command that speaks for itself.
fn execute(workspace: &Workspace, mut command: Command) -> Result<Outcome> {
    let typed = workspace.typed(&command);
    println!("$ {typed}");
    let status = command
        .status()
        .with_context(|| format!("cannot run `{typed}`"))?;
    Ok(Outcome::of(status, &typed))
}
