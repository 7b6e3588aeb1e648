//! What runs: the recipe, its data, and the machines with their devices.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::ChaosArguments;
use super::plan::Shape;
use crate::workspace::Workspace;

/// Share of the time that training gets, at the speed of a calm run; the rest goes to faults and recoveries.
const REAL_SHARE: f64 = 0.6;
/// The same with trainers that take no processor time.
const FAKE_SHARE: f64 = 0.8;
/// A step of a fake trainer.
const FAKE_STEP: Duration = Duration::from_millis(200);
/// Steps of an epoch of the fake trainers; three files are left over.
const FAKE_STEPS_PER_EPOCH: u32 = 20;

/// A machine as it will be.
pub(super) struct Place {
    /// Its name.
    pub(super) name: String,
    /// Devices.
    pub(super) n_devices: u32,
}

/// What runs.
pub(super) struct Setting {
    /// All machines; the last is the spare.
    pub(super) machines: Vec<Place>,
    /// Ranks.
    pub(super) world: u32,
    /// Where trainers train nothing.
    pub(super) fake: bool,
}

impl Setting {
    /// As the command line says.
    pub(super) fn new(arguments: &ChaosArguments) -> Self {
        let n_machines = arguments.machines.unwrap_or(4);
        let n_devices = |i| arguments.devices.unwrap_or(if i == 0 { 2 } else { 1 });
        let machines: Vec<Place> = (0..n_machines)
            .map(|i| Place {
                name: format!("m{i}"),
                n_devices: n_devices(i),
            })
            .collect();
        let world = if arguments.fake {
            machines.iter().map(|machine| machine.n_devices).sum()
        } else {
            4
        };
        Self {
            machines,
            world,
            fake: arguments.fake,
        }
    }

    /// The machines' names.
    pub(super) fn names(&self) -> Vec<&str> {
        self.machines.iter().map(|place| place.name.as_str()).collect()
    }

    /// What the plan must know.
    pub(super) fn shape(&self, has_cables: bool) -> Shape {
        Shape {
            n_machines: self.machines.len(),
            has_cables,
        }
    }

    /// How many steps fill the time. `step_time` measures a step of real trainers.
    pub(super) fn steps_in(
        &self,
        time: Duration,
        step_time: impl FnOnce() -> Result<Duration>,
    ) -> Result<u64> {
        let (step, share) = if self.fake {
            (FAKE_STEP, FAKE_SHARE)
        } else {
            (step_time()?, REAL_SHARE)
        };
        Ok(((time.as_secs_f64() * share / step.as_secs_f64()) as u64).max(10))
    }

    /// The experiment file: float32 and the exact sum are the defaults.
    pub(super) fn experiment(&self, n_steps: u64) -> String {
        let world = self.world;
        let (batch, every) = if self.fake { (world * 2, 50) } else { (32, 10) };
        format!(
            r#"arch = "resnet18"
channels = 16
stem = "small"
hidden_dim = 256
low_dim = 64
world = {world}
batch = {batch}
pixels = 32
steps = {n_steps}
warmup_epochs = 0
[run]
checkpoint_every = {every}
keep_checkpoints = 3
restarts = 1000000
"#
        )
    }

    /// Makes the data set below `folder`.
    pub(super) fn make_data(&self, workspace: &Workspace, folder: &Path) -> Result<()> {
        let data = folder.join("data");
        if !self.fake {
            return crate::fleet::make_data(workspace, &data);
        }
        let class = data.join("train/class");
        let write = || {
            fs::create_dir_all(&class)?;
            (0..self.world * 2 * FAKE_STEPS_PER_EPOCH + 3)
                .try_for_each(|i| fs::write(class.join(format!("{i:05}.jpg")), "no image"))
        };
        write().with_context(|| format!("cannot write {}", class.display()))?;
        fs::create_dir_all(control(folder)).with_context(|| format!("cannot write {}", folder.display()))
    }

    /// Lets fake trainers take their time, or none.
    pub(super) fn set_pace(&self, folder: &Path, pace: Pace) -> Result<()> {
        if !self.fake {
            return Ok(());
        }
        let milliseconds = match pace {
            Pace::Calm => 0,
            Pace::Chaos => FAKE_STEP.as_millis(),
        };
        let path = control(folder).join("pace");
        fs::write(&path, milliseconds.to_string()).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// How fast fake trainers go.
#[derive(Clone, Copy)]
pub(super) enum Pace {
    /// As fast as they can.
    Calm,
    /// A step takes its time.
    Chaos,
}

/// The folder by which fake trainers are steered.
pub(super) fn control(folder: &Path) -> PathBuf {
    folder.join("control")
}
