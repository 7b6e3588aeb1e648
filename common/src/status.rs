//! The status of a run as plain, owned data: what `m2t status`, its stream and later the page show.

use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::evaluation::EvaluationLine;
use crate::ids::{DeviceIndex, Generation, MachineName, Rank, Step, Timestamp};
use crate::report::{CheckpointReport, Stage};

/// Everything there is to see of a run at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The experiment's name.
    pub experiment: String,
    /// When this was taken.
    pub at: Timestamp,
    /// Where the run stands.
    pub phase: PhaseName,
    /// Why it stands there, and what it waits for: "6 of 8 devices; waiting for 2".
    pub reason: String,
    /// The current generation; 0 before the first.
    pub generation: Generation,
    /// Ranks.
    pub world: u32,
    /// Images of a rank in a step.
    pub batch_per_rank: u32,
    /// The fewest devices the run goes on with.
    pub min_devices: u32,
    /// What is waited for how long, the shortest first.
    pub waits: Vec<(String, Duration)>,
    /// Machines by name.
    pub machines: Vec<MachineStatus>,
    /// How far it is; none before the data set is known.
    pub progress: Option<Progress>,
    /// The newest complete checkpoint.
    pub checkpoint: Option<CheckpointReport>,
    /// The newest figure of each encoder and method; empty where nothing is evaluated.
    #[serde(default)]
    pub evaluations: Vec<EvaluationLine>,
    /// The newest events, oldest first.
    pub events: Vec<Event>,
}

/// The phases of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhaseName {
    /// Waiting for devices.
    Gathering,
    /// A placement stands; trainers start and meet.
    Forming,
    /// The coordinator was started again and waits to hear of the generation that trains.
    Recovering,
    /// A generation ended; its survivors keep their state in memory and the next one is placed.
    Regrouping,
    /// Steps are being committed.
    Training,
    /// All devices stop at the next step boundary.
    Draining,
    /// Paused by an operator; machines stay and wait.
    Paused,
    /// All steps are done.
    Finished,
    /// Stopped by hand.
    Stopped,
    /// Cannot go on.
    Failed,
}

impl PhaseName {
    /// Whether nothing more comes: the run, or what its coordinator does for it, has ended.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Finished | Self::Stopped | Self::Failed)
    }
}

/// One machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MachineStatus {
    /// Its name.
    pub name: MachineName,
    /// The address it gave.
    pub address: String,
    /// What it is at: "training", "spare", "checking data", "connection lost; waited for until …".
    pub state: String,
    /// Since its last sign of life.
    pub silent_for: Duration,
    /// Its devices.
    pub devices: Vec<DeviceStatus>,
}

/// One device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceStatus {
    /// Its number on the machine.
    pub index: DeviceIndex,
    /// "cpu" or a GPU's name.
    pub kind: String,
    /// The ranks it hosts in this generation.
    pub ranks: Vec<Rank>,
    /// The positions of each global batch it computes, `[from, to)`.
    pub shard: Range<u64>,
    /// The last step it reported.
    pub step: Step,
    /// Share of its last steps spent waiting for data, 0 to 1.
    pub data_wait: f64,
    /// Where its loader spent most of its time, where the device waited for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bottleneck: Option<Stage>,
    /// Files it waits for whose reading takes long.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slow_files: Vec<String>,
}

/// How far a run is. Rates are those of the next step; loss and speeds are of the last committed steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Committed steps.
    pub step: Step,
    /// T.
    pub total_steps: u64,
    /// The epoch in which the next step lies, from 0.
    pub epoch: u64,
    /// Steps of the epoch already done.
    pub step_in_epoch: u64,
    /// ⌊N / B⌋.
    pub steps_per_epoch: u64,
    /// Mean loss of the last committed step; none before the first.
    pub loss: Option<f64>,
    /// lr(i).
    pub learning_rate: f64,
    /// m(i).
    pub parameter_momentum: f64,
    /// α(i).
    pub statistics_momentum: f64,
    /// Over all ranks.
    pub images_per_second: f64,
    /// Share of the step spent waiting for data, 0 to 1, the worst device's.
    pub data_wait: f64,
    /// Where that device's loader spent most of its time; only where the wait is more than a hundredth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bottleneck: Option<Stage>,
    /// Until the last step, at the present speed; none before it is known.
    pub remaining: Option<Duration>,
    /// Files replaced because they could not be read, since the coordinator started.
    pub replaced: u64,
}

/// Something that happened, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// A stable name of its kind, such as `generation_formed`.
    pub kind: String,
    /// In a sentence.
    pub text: String,
}
