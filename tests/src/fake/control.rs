//! How a test steers the fake trainers: files in the folder that `M2T_FAKE_CONTROL` names.
//!
//! - `hold`: a step; trainers wait before it, and before every later one, until the file is gone or they are to stop at the
//!   boundary or to leave their group.
//! - `pace`: milliseconds that each step takes.
//! - `fault-MACHINE:DEVICE`: "STEP die", "STEP exit CODE", "STEP hang" or "STEP wedge"; done once before that step.
//! - `corrupt-MACHINE:DEVICE`: a step; once at it, or the first later one, a bit of the device's state is flipped.
//! - `gpus`: how many GPUs the machine has; without the file it has no driver.
//! - `pid-MACHINE:DEVICE`: written by the trainer when it is first started in a generation.

use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use anyhow::{Context, anyhow};
use m2t_common::{DeviceId, Step};
use rustix::process::{Signal, getpid, kill_process};

/// The environment variable with the folder.
pub const VARIABLE: &str = "M2T_FAKE_CONTROL";

/// What goes wrong with a trainer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL.
    Die,
    /// It says why on its standard error and exits with this code.
    Exit(i32),
    /// SIGSTOP: alive and silent, deaf to everything but SIGKILL.
    Hang,
    /// It goes round in circles: alive, and it looks at nothing the daemon says.
    Wedge,
}

/// The steering folder.
#[derive(Clone, Debug)]
pub struct Control(PathBuf);

impl Control {
    /// The folder a test made.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// The folder named by the environment.
    pub fn from_environment() -> anyhow::Result<Self> {
        let folder =
            std::env::var_os(VARIABLE).ok_or_else(|| anyhow!("set {VARIABLE} to the steering folder"))?;
        Ok(Self::new(folder))
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// Gives the machine that many GPUs.
    pub fn give_gpus(&self, n_gpus: u32) {
        self.write("gpus", &n_gpus.to_string());
    }

    /// How many it has, where it has a driver.
    pub(super) fn n_gpus(&self) -> Option<u32> {
        let text = std::fs::read_to_string(self.0.join("gpus")).ok()?;
        text.trim().parse().ok()
    }

    /// Makes all trainers wait before `step`.
    pub fn hold(&self, step: u64) {
        self.write("hold", &step.to_string());
    }

    /// Lets them go on.
    pub fn release(&self) {
        // Gone is what is wanted.
        let _ = std::fs::remove_file(self.0.join("hold"));
    }

    /// Makes each step take so long.
    pub fn pace(&self, step: Duration) {
        self.write("pace", &step.as_millis().to_string());
    }

    /// Makes the trainer of `device` ("a:0") fail before `step`, once.
    pub fn fault(&self, device: &str, step: u64, fault: Fault) {
        let fault = match fault {
            Fault::Die => "die".to_owned(),
            Fault::Exit(code) => format!("exit {code}"),
            Fault::Hang => "hang".to_owned(),
            Fault::Wedge => "wedge".to_owned(),
        };
        self.write(&format!("fault-{device}"), &format!("{step} {fault}"));
    }

    /// Flips a bit in the state of `device` ("a:0") at `step`, once.
    pub fn corrupt(&self, device: &str, step: u64) {
        self.write(&format!("corrupt-{device}"), &step.to_string());
    }

    /// The process id of the newest trainer of `device`.
    pub fn pid(&self, device: &str) -> Option<i32> {
        self.number(&format!("pid-{device}"))
    }

    /// Writes a file whole or not at all, for it is read while it is written.
    fn write(&self, name: &str, content: &str) {
        let draft = self.0.join(format!(".{name}.{}", process::id()));
        std::fs::write(&draft, content).expect("the steering folder can be written");
        std::fs::rename(&draft, self.0.join(name)).expect("the steering folder can be written");
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        std::fs::read_to_string(self.0.join(name))
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    /// Says which process drives `device`.
    pub(super) fn register(&self, device: &DeviceId) {
        self.write(&format!("pid-{device}"), &process::id().to_string());
    }

    /// Whether trainers wait before `step`.
    pub(super) fn holds(&self, step: Step) -> bool {
        self.number::<u64>("hold").is_some_and(|held| step.0 >= held)
    }

    /// How long a step takes.
    pub(super) fn step_duration(&self) -> Duration {
        Duration::from_millis(self.number("pace").unwrap_or(0))
    }

    /// Whether the state of `device` is spoilt at `step`; it is asked for once a step.
    pub(super) fn corrupts(&self, device: &DeviceId, step: Step) -> bool {
        let name = format!("corrupt-{device}");
        let is_due = self.number::<u64>(&name).is_some_and(|due| step.0 >= due);
        is_due && std::fs::remove_file(self.0.join(name)).is_ok()
    }

    /// Suffers the fault that is due before `step`, if one is.
    pub(super) fn suffer(&self, device: &DeviceId, step: Step) -> anyhow::Result<()> {
        let path = self.0.join(format!("fault-{device}"));
        let Ok(text) = std::fs::read_to_string(&path) else {
            return Ok(());
        };
        let mut words = text.split_whitespace();
        let due: u64 = words.next().context("a fault has a step")?.parse()?;
        if step.0 < due {
            return Ok(());
        }
        std::fs::remove_file(&path)?;
        match words.next() {
            Some("die") => kill_process(getpid(), Signal::KILL)?,
            Some("hang") => kill_process(getpid(), Signal::STOP)?,
            Some("wedge") => loop {
                std::thread::park();
            },
            Some("exit") => {
                eprintln!("told to fail before step {step}");
                process::exit(words.next().context("an exit has a code")?.parse()?);
            }
            other => anyhow::bail!("{other:?} is no fault"),
        }
        Ok(())
    }
}
