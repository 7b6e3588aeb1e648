//! The processes of the demo, each with its log; none outlives this value.
//!
//! Each leads a process group of its own, so that a Ctrl-C in the terminal reaches only us and the run can be stopped in
//! order. It restarts nothing: that is the product's work.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::interrupt::{Interrupt, POLL};

/// How long a run that is asked to stop may take for its last checkpoint.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// How much of a log is shown when its process failed.
const LINES_SHOWN: usize = 15;

struct Member {
    name: &'static str,
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

/// The coordinator, first, and the daemons.
pub(super) struct Fleet {
    logs: PathBuf,
    members: Vec<Member>,
}

impl Fleet {
    /// No process yet; logs go to this folder.
    pub(super) fn new(logs: PathBuf) -> Self {
        Self {
            logs,
            members: Vec::new(),
        }
    }

    /// Starts one more.
    pub(super) fn start(&mut self, name: &'static str, mut command: Command) -> Result<()> {
        let log = self.logs.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let same_file = file
            .try_clone()
            .with_context(|| format!("cannot write {}", log.display()))?;
        let child = command
            .stdout(file)
            .stderr(same_file)
            // The logs are files to be read, and quoted from.
            .env("NO_COLOR", "1")
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot run {}", command.get_program().display()))?;
        self.members.push(Member {
            name,
            child,
            log,
            ended: None,
        });
        Ok(())
    }

    /// The rest of the first line in a log after these words.
    pub(super) fn words_after(&self, name: &str, words: &str) -> Result<Option<String>> {
        let member = self.members.iter().find(|member| member.name == name);
        let log = &member
            .with_context(|| format!("no process is called {name}"))?
            .log;
        let text = fs::read(log).with_context(|| format!("cannot read {}", log.display()))?;
        let text = String::from_utf8_lossy(&text);
        // A line without its end may still be half written.
        let complete = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        Ok(complete
            .filter_map(|line| line.split_once(words))
            .find_map(|(_, rest)| rest.split_whitespace().next().map(str::to_owned)))
    }

    /// Whether all have ended well; one that failed is an error with its last words.
    pub(super) fn are_all_gone(&mut self) -> Result<bool> {
        for member in &mut self.members {
            if member.ended.is_some() {
                continue;
            }
            member.ended = member.child.try_wait().context("cannot wait for a process")?;
            if let Some(status) = member.ended
                && !status.success()
            {
                let tail = tail(&member.log);
                bail!(
                    "{} failed ({status}); the last lines of {}:\n{tail}",
                    member.name,
                    member.log.display()
                );
            }
        }
        Ok(self.names_left().is_empty())
    }

    /// Whether some process has ended.
    pub(super) fn is_any_gone(&self) -> bool {
        self.members.iter().any(|member| member.ended.is_some())
    }

    /// Who has not ended, as of the last look.
    pub(super) fn names_left(&self) -> Vec<&'static str> {
        let left = self.members.iter().filter(|member| member.ended.is_none());
        left.map(|member| member.name).collect()
    }

    /// Asks the run to stop, gives it time for its last checkpoint, then ends what is left. A signal cuts the time short.
    pub(super) fn stop(&mut self, interrupt: &Interrupt) {
        let by_hand = interrupt.take();
        if by_hand && let Some(coordinator) = self.members.first() {
            println!("\nstopping; the run writes a last checkpoint (Ctrl-C again: at once)");
            signal(coordinator, kill_process, Signal::TERM);
            let deadline = Instant::now() + STOP_LIMIT;
            while self.is_any_left() && Instant::now() < deadline && !interrupt.take() {
                std::thread::sleep(POLL);
            }
        }
        self.kill();
    }

    /// However they end: a run stopped by hand does not end with success.
    fn is_any_left(&mut self) -> bool {
        for member in self.members.iter_mut().filter(|member| member.ended.is_none()) {
            member.ended = member.child.try_wait().ok().flatten();
        }
        !self.names_left().is_empty()
    }

    fn kill(&mut self) {
        for member in self.members.iter_mut().filter(|member| member.ended.is_none()) {
            signal(member, kill_process_group, Signal::KILL);
            member.ended = member.child.wait().ok();
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A process that is not yet waited for keeps its number, so the signal cannot meet a stranger. It may have ended: no harm.
fn signal(member: &Member, send: fn(Pid, Signal) -> rustix::io::Result<()>, signal: Signal) {
    let _ = send(Pid::from_child(&member.child), signal);
}

fn tail(log: &PathBuf) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let shown = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
    shown
        .iter()
        .map(|line| format!("  {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests;
