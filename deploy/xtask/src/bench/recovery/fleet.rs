//! The processes of the bench: a coordinator and two daemons, one of which is the victim. None outlives this value.
//!
//! It restarts nothing by itself.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use m2t_common::status::Status;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::machines::Machines;
use crate::bench::Bench;
use crate::interrupt::POLL;

/// The daemons' names; each drives two devices.
pub(super) const DAEMONS: [&str; 2] = ["alpha", "beta"];
/// Not the first, whose device writes checkpoints and makes the meeting point.
const VICTIM: &str = DAEMONS[1];
/// How long a coordinator may take to say where it listens.
const START_LIMIT: Duration = Duration::from_secs(20);
/// Float32 and the exact sum are the defaults. A checkpoint every ten steps, as the baseline has. It never comes to its end.
const EXPERIMENT: &str = r#"
arch = "resnet18"
channels = 16
stem = "small"
hidden_dim = 256
low_dim = 64
world = 4
batch = 32
pixels = 32
steps = 1000000
warmup_epochs = 0
[run]
checkpoint_every = 10
"#;

/// The running processes.
pub(super) struct Fleet<'a> {
    bench: &'a Bench<'a>,
    folder: PathBuf,
    address: String,
    coordinator: Member,
    daemons: [Member; 2],
    // Dropped last: what runs in them must have ended.
    machines: Option<Machines>,
}

/// A process that leads a group of its own; it is killed when it is dropped.
struct Member(Child);

impl<'a> Fleet<'a> {
    /// Makes the data and starts everything in a folder.
    pub(super) fn start(bench: &'a Bench<'a>, folder: PathBuf, machines: Option<Machines>) -> Result<Self> {
        let cannot = || format!("cannot write {}", folder.display());
        fs::create_dir_all(&folder).with_context(cannot)?;
        let experiment = folder.join("recovery.toml");
        fs::write(&experiment, EXPERIMENT).with_context(cannot)?;
        let data = folder.join("data");
        make_data(bench, &data)?;
        let mut command = bench.program("m2t-coordinator");
        command.args(["--world", "4", "--min-devices", "1", "--experiment"]);
        command
            .arg(&experiment)
            .arg("--data")
            .arg(data.join("train"))
            .arg("--output")
            .arg(folder.join("output"));
        match &machines {
            None => command.args(["--listen", "127.0.0.1:0"]),
            Some(_) => command.args(["--insecure", "--listen", &Machines::listen()]),
        };
        let coordinator = start("coordinator", &folder, command, machines.as_ref())?;
        let address = listening_address(bench, &folder.join("coordinator.log"))?;
        let daemon = |name| {
            let command = daemon(bench, &address, name);
            start(name, &folder, command, machines.as_ref())
        };
        Ok(Self {
            daemons: [daemon(DAEMONS[0])?, daemon(DAEMONS[1])?],
            bench,
            folder,
            address,
            coordinator,
            machines,
        })
    }

    /// The output folder.
    pub(super) fn output(&self) -> PathBuf {
        self.folder.join("output")
    }

    /// The status, if the coordinator answers.
    pub(super) fn status(&self) -> Option<Status> {
        let mut command = self.bench.program("m2t");
        command.args(["status", "--json", "--coordinator", &self.address]);
        let mut command = placed("coordinator", command, self.machines.as_ref());
        serde_json::from_slice(&command.output().ok()?.stdout).ok()
    }

    /// An error if the coordinator ended: the run failed.
    pub(super) fn require_coordinator(&mut self) -> Result<()> {
        let ended = self
            .coordinator
            .0
            .try_wait()
            .context("cannot wait for a process")?;
        if let Some(status) = ended {
            bail!(
                "the coordinator ended ({status}); its log is {}",
                self.folder.join("coordinator.log").display()
            );
        }
        Ok(())
    }

    /// SIGKILL to a trainer of the victim.
    pub(super) fn kill_trainer(&mut self) -> Result<()> {
        let daemon = self.daemons[1].0.id();
        let trainer = first_child(daemon).with_context(|| format!("the daemon {VICTIM} has no trainer"))?;
        kill_process(trainer, Signal::KILL).context("cannot kill a trainer")
    }

    /// SIGKILL to the victim alone; that its trainers go with it is the product's work.
    pub(super) fn kill_daemon(&mut self) -> Result<()> {
        self.daemons[1].0.kill().context("cannot kill a daemon")
    }

    /// Starts the victim again.
    pub(super) fn start_daemon_again(&mut self) -> Result<()> {
        let command = daemon(self.bench, &self.address, VICTIM);
        self.daemons[1] = start(VICTIM, &self.folder, command, self.machines.as_ref())?;
        Ok(())
    }

    /// Cuts the victim's machine off.
    pub(super) fn cut(&self) -> Result<()> {
        self.machines().cut(VICTIM)
    }

    /// Connects it again.
    pub(super) fn heal(&self) -> Result<()> {
        self.machines().heal(VICTIM)
    }

    fn machines(&self) -> &Machines {
        self.machines
            .as_ref()
            .expect("the case cut is measured with machines")
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

fn daemon(bench: &Bench<'_>, address: &str, name: &str) -> Command {
    let mut command = bench.program("m2t-worker");
    command.args(["--coordinator", address, "--name", name, "--devices", "cpu:2"]);
    command
}

/// Starts a process; a log that is there already is continued.
fn start(name: &str, folder: &Path, command: Command, machines: Option<&Machines>) -> Result<Member> {
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
    Ok(Member(child))
}

fn placed(name: &str, command: Command, machines: Option<&Machines>) -> Command {
    match machines {
        Some(machines) => machines.wrap(name, &command),
        None => command,
    }
}

fn make_data(bench: &Bench<'_>, folder: &Path) -> Result<()> {
    let made = bench
        .program("m2t")
        .args(["data", "synth", "--classes", "4", "--train-per-class", "160"])
        .args(["--val-per-class", "1", "--pixels", "48"])
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .context("cannot run m2t")?;
    ensure!(made.success(), "`m2t data synth` failed ({made})");
    Ok(())
}

fn listening_address(bench: &Bench<'_>, log: &Path) -> Result<String> {
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
        bench.interrupt.check()?;
        std::thread::sleep(POLL);
    }
}

/// The child of a process with the lowest number.
fn first_child(parent: u32) -> Option<Pid> {
    let processes = fs::read_dir("/proc").ok()?;
    let numbers = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let children = numbers.filter(|number| parent_of(*number) == Some(parent));
    Pid::from_raw(children.min()?)
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
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
