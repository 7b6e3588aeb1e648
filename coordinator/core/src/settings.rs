//! What a run is and how patient the coordinator is with it. Every wait derives from the recipe's heartbeat timeout.

use std::path::PathBuf;
use std::time::Duration;

use m2t_common::Recipe;

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
    /// Silence after which a machine is lost, and how long a machine whose stream ended may take to come back.
    pub fn heartbeat_timeout(&self) -> Duration {
        self.recipe.run.heartbeat_timeout
    }

    /// How long to wait for the rest once there are enough devices to begin, counted from the last that came or went.
    /// A machine that lost its stream comes back within the heartbeat timeout or not at all.
    pub fn grace(&self) -> Duration {
        self.heartbeat_timeout()
    }

    /// How long the machines of a generation are awaited by a coordinator that was started again. Their daemons try to connect
    /// at least once a second, and what trains goes on meanwhile.
    pub fn recovery(&self) -> Duration {
        self.heartbeat_timeout() * 2 + Duration::from_secs(1)
    }

    /// How long trainers may take to start and meet, and to finish a step and checkpoint it when they drain. Long,
    /// because dead trainers are reported by their daemons at once: only a trainer that hangs, or a fault of the link,
    /// ever reaches it.
    pub fn patience(&self) -> Duration {
        (self.heartbeat_timeout() * 40).max(Duration::from_secs(120))
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
