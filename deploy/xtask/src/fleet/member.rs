//! A process of a fleet: it writes a log of its name, and does not outlive its owner.
//!
//! It restarts nothing.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::machines::Machines;
use crate::interrupt::{Interrupt, POLL};

/// How long a coordinator may take to say where it listens.
const START_LIMIT: Duration = Duration::from_secs(20);

/// A process that leads a group of its own; it is killed when it is dropped.
pub(crate) struct Member(Child);

impl Member {
    /// Starts a process, on the machine of its name where there are machines; a log that is there already is continued.
    pub(crate) fn start(
        name: &str,
        folder: &Path,
        command: Command,
        machines: Option<&Machines>,
    ) -> Result<Self> {
        let path = folder.join(format!("{name}.log"));
        let log = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        let same_log = log
            .try_clone()
            .with_context(|| format!("cannot write {}", path.display()))?;
        let child = placed(name, command, machines)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(same_log)
            .env("NO_COLOR", "1")
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self(child))
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.0.try_wait().context("cannot wait for a process")
    }

    /// Sends the process a signal, and none of its children.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.0), signal).context("cannot signal a process")
    }

    /// Its children, by their numbers.
    pub(crate) fn children(&self) -> Vec<Pid> {
        children_of(self.0.id())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // A daemon's trainers are of its group. Whoever has ended is no harm.
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The same command on the machine of that name, where there are machines.
pub(crate) fn placed(name: &str, command: Command, machines: Option<&Machines>) -> Command {
    match machines {
        Some(machines) => machines.wrap(name, &command),
        None => command,
    }
}

/// Waits until a coordinator's log says where it listens.
pub(crate) fn listening_address(interrupt: &Interrupt, log: &Path) -> Result<String> {
    let deadline = Instant::now() + START_LIMIT;
    loop {
        let text = fs::read_to_string(log).with_context(|| format!("cannot read {}", log.display()))?;
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let address = whole
            .filter_map(|line| line.split_once("listening on "))
            .find_map(|(_, rest)| rest.split_whitespace().next());
        if let Some(address) = address {
            return Ok(address.trim_end_matches(['.', ',', ';']).to_owned());
        }
        ensure!(
            Instant::now() < deadline,
            "the coordinator did not say where it listens; its log is {}",
            log.display()
        );
        interrupt.check()?;
        std::thread::sleep(POLL);
    }
}

fn children_of(parent: u32) -> Vec<Pid> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let numbers = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let mut children: Vec<i32> = numbers
        .filter(|number| parent_of(*number) == Some(parent))
        .collect();
    children.sort_unstable();
    children.into_iter().filter_map(Pid::from_raw).collect()
}

fn parent_of(process: i32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // State and parent follow the name, which stands in brackets and may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_found_by_its_parent() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let number = i32::try_from(child.id()).unwrap();
        assert_eq!(parent_of(number), Some(std::process::id()));
        let found = children_of(std::process::id());
        assert!(found.contains(&Pid::from_child(&child)), "{found:?}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
