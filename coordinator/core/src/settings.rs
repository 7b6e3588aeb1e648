//! What a run is and how patient the coordinator is with it. Every wait derives from the recipe's heartbeat timeout.

use std::path::PathBuf;
use std::time::Duration;

use m2t_common::Recipe;
use m2t_common::waits::Waits;

/// What the coordinator was started with.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The whole recipe.
    pub recipe: Recipe,
    /// The fewest devices a generation forms with, 1 to world.
    pub min_devices: u32,
    /// How long a regroup waits for missing devices before it goes on with those that are left.
    pub replace_wait: Duration,
    /// The data folder on every machine.
    pub data: PathBuf,
    /// The output folder.
    pub output: PathBuf,
    /// Content of the probe file in the output folder.
    pub probe: String,
    /// This program's version; daemons of another are refused.
    pub version: String,
}

impl Settings {
    /// Every wait of the run.
    pub fn waits(&self) -> Waits {
        Waits::of(self.recipe.run.heartbeat_timeout)
    }

    /// Silence after which a machine is lost, and how long a machine whose stream ended may take to come back.
    pub fn heartbeat_timeout(&self) -> Duration {
        self.waits().lost()
    }

    /// How long to wait for the rest once there are enough devices to begin, counted from the last that came or went.
    /// A machine that lost its stream comes back within the heartbeat timeout or not at all.
    pub fn grace(&self) -> Duration {
        self.waits().lost()
    }

    /// How long the machines of a generation are awaited by a coordinator that was started again.
    pub fn recovery(&self) -> Duration {
        self.waits().recovery()
    }

    /// How long trainers may take to come up, and to finish a step and checkpoint it when they drain.
    pub fn patience(&self) -> Duration {
        self.waits().patience()
    }

    /// The fewest devices that make a generation.
    pub(crate) fn n_needed(&self) -> usize {
        self.min_devices.clamp(1, self.recipe.training.world) as usize
    }

    /// The devices that make a generation at once.
    pub(crate) fn n_wanted(&self) -> usize {
        self.recipe.training.world as usize
    }
}
