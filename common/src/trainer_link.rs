//! JSON lines between a daemon and its trainers, over a Unix socket, one connection a device.
//!
//! Down go one [`ToTrainer::Start`], then [`ToTrainer::Join`] when the meeting point is known, perhaps
//! [`ToTrainer::Drain`]. Up go [`News`](crate::report::News). A closed connection ends the trainer. A line is at most
//! [`MAX_LINE`] long. `m2t-trainer run FILE` takes the same `Start` from a file and trains without a daemon.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::ids::{DeviceId, Generation};
use crate::manifest::CheckpointName;
use crate::placement::Placement;
use crate::recipe::Recipe;
use crate::report::Rendezvous;

/// Longest line, in bytes. A recipe and a placement of 1,024 devices fit many times.
pub const MAX_LINE: usize = 4 << 20;

/// From the daemon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum ToTrainer {
    /// First line: all there is to know.
    Start(Box<Start>),
    /// Meet the group there. A group of one device needs none.
    Join {
        /// As the first device made it.
        rendezvous: Rendezvous,
    },
    /// Stop with the whole group at the next step boundary, with a checkpoint.
    Drain,
}

/// All that a trainer must know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// The generation it belongs to.
    pub generation: Generation,
    /// The device it drives.
    pub device: DeviceId,
    /// All devices of the generation.
    pub placement: Placement,
    /// The whole recipe.
    pub recipe: Recipe,
    /// The data folder on this machine.
    pub data: PathBuf,
    /// N of the data set that the run is bound to; another number is refused.
    pub n_samples: u64,
    /// The output folder; checkpoints go to `checkpoints/` below it.
    pub output: PathBuf,
    /// The checkpoint to start from; none: from the recipe's initialisation.
    pub start_from: Option<CheckpointName>,
    /// The address at which the other machines reach this one.
    pub address: IpAddr,
}
