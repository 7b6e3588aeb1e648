//! The processes of the bench: a coordinator and two daemons, one of which is the victim. None outlives this value.
//!
//! It restarts nothing by itself.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use m2t_common::status::Status;
use rustix::process::{Signal, kill_process};

use crate::bench::Bench;
use crate::fleet::machines::Machines;
use crate::fleet::member::{Member, listening_address, placed};
use crate::fleet::{make_data, require_running};

/// The daemons' names; each drives two devices.
pub(super) const DAEMONS: [&str; 2] = ["alpha", "beta"];
/// Not the first, whose device writes checkpoints and makes the meeting point.
const VICTIM: &str = DAEMONS[1];
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

impl<'a> Fleet<'a> {
    /// Makes the data and starts everything in a folder.
    pub(super) fn start(bench: &'a Bench<'a>, folder: PathBuf, machines: Option<Machines>) -> Result<Self> {
        let cannot = || format!("cannot write {}", folder.display());
        fs::create_dir_all(&folder).with_context(cannot)?;
        let experiment = folder.join("recovery.toml");
        fs::write(&experiment, EXPERIMENT).with_context(cannot)?;
        let data = folder.join("data");
        make_data(bench.workspace, &data)?;
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
            Some(_) => command.args(["--listen", &Machines::listen()]),
        };
        let coordinator = Member::start("coordinator", &folder, command, machines.as_ref())?;
        let address = listening_address(bench.interrupt, &folder.join("coordinator.log"))?;
        let daemon = |name| {
            let command = daemon(bench, &address, name);
            Member::start(name, &folder, command, machines.as_ref())
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
        let log = self.folder.join("coordinator.log");
        require_running(&mut self.coordinator, &log)
    }

    /// SIGKILL to a trainer of the victim.
    pub(super) fn kill_trainer(&mut self) -> Result<()> {
        let trainers = self.daemons[1].children();
        let trainer = trainers
            .first()
            .with_context(|| format!("the daemon {VICTIM} has no trainer"))?;
        kill_process(*trainer, Signal::KILL).context("cannot kill a trainer")
    }

    /// SIGKILL to the victim alone; that its trainers go with it is the product's work.
    pub(super) fn kill_daemon(&mut self) -> Result<()> {
        self.daemons[1]
            .signal(Signal::KILL)
            .context("cannot kill a daemon")
    }

    /// Starts the victim again.
    pub(super) fn start_daemon_again(&mut self) -> Result<()> {
        let command = daemon(self.bench, &self.address, VICTIM);
        self.daemons[1] = Member::start(VICTIM, &self.folder, command, self.machines.as_ref())?;
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

fn daemon(bench: &Bench<'_>, address: &str, name: &str) -> Command {
    let mut command = bench.program("m2t-worker");
    command.args(["--coordinator", address, "--name", name, "--devices", "cpu:2"]);
    command
}
