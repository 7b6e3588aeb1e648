//! How a run is carried out: the keys under `[run]`. None of them changes a bit of the result.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{duration, written};
use crate::evaluation::Settings;

/// How much of what was trained on is kept, for the audit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LedgerDetail {
    /// Which generation did which steps; the samples follow from the plan.
    #[default]
    Brief,
    /// Also the samples each rank consumed in each step, by their numbers, in a file of its own.
    Full,
}

/// How often and on how much it is measured during a run what its encoders are worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Evaluate {
    /// Never.
    #[default]
    Off,
    /// On a fixed sample of the images: at most [`LIGHT_MEMORY`] to train on and [`LIGHT_HELD_OUT`] held out.
    Light,
    /// On all images.
    Full,
}

/// Training images of a light evaluation.
pub const LIGHT_MEMORY: u64 = 10_000;
/// Held-out images of a light evaluation.
pub const LIGHT_HELD_OUT: u64 = 2_000;

/// How the run is carried out. Nothing here changes a bit of the result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// Steps between checkpoints within an epoch; 0: only at the end of each epoch.
    pub checkpoint_every: u64,
    /// How many checkpoints are kept; at least 1.
    pub keep_checkpoints: u32,
    /// Decoding threads of each trainer.
    pub loader_threads: u32,
    /// Batches that are loaded ahead.
    pub loader_ahead: u32,
    /// How long reading a file may take before it is read again.
    #[serde(with = "duration", default = "written::read_timeout")]
    pub read_timeout: Duration,
    /// The share of the data set's files that may be damaged and replaced before the run is given up, 0 to 1.
    #[serde(default = "written::replaced_limit")]
    pub replaced_limit: f64,
    /// How often a trainer of one device may fail within `restart_window` before its machine is set aside.
    #[serde(default = "written::restarts")]
    pub restarts: u32,
    /// Failures longer ago are forgiven.
    #[serde(with = "duration", default = "written::restart_window")]
    pub restart_window: Duration,
    /// Steps between two comparisons of the whole state over all devices; 0: never. With `teacher_statistics = "local"` devices
    /// differ by design, and nothing is compared.
    #[serde(default = "written::replica_check")]
    pub replica_check: u64,
    /// How much of what was trained on is kept.
    #[serde(default)]
    pub ledger: LedgerDetail,
    /// Whether it is measured what the encoders are worth.
    #[serde(default)]
    pub evaluate: Evaluate,
    /// Epochs between two evaluations; there is one at the end in any case.
    #[serde(default = "evaluate_every")]
    pub evaluate_every: u64,
    /// Held-out images, a folder a class; from each machine's data folder, if it is not absolute.
    #[serde(default = "evaluate_on")]
    pub evaluate_on: PathBuf,
    /// Neighbours that vote.
    #[serde(default = "knn_k")]
    pub knn_k: u32,
    /// T: the weight of a neighbour is exp(cosine/T).
    #[serde(default = "knn_temperature")]
    pub knn_temperature: f64,
    /// The checkpoint whose encoder a linear evaluation is of: its folder, on every machine.
    #[serde(default, skip_serializing_if = "is_nowhere")]
    pub encoder: PathBuf,
    /// Silence after which a machine counts as lost. Every other wait is derived from it.
    #[serde(with = "duration")]
    pub heartbeat_timeout: Duration,
}

impl Operation {
    /// How nearest neighbours are asked.
    pub fn neighbours(&self) -> Settings {
        Settings {
            k: self.knn_k,
            temperature: self.knn_temperature,
        }
    }
}

fn is_nowhere(path: &std::path::Path) -> bool {
    path.as_os_str().is_empty()
}

fn evaluate_every() -> u64 {
    1
}

fn evaluate_on() -> PathBuf {
    PathBuf::from("../val")
}

fn knn_k() -> u32 {
    20
}

fn knn_temperature() -> f64 {
    0.07
}
