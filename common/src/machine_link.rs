//! What a machine's daemon and the coordinator say to each other, as the inside of both programs sees it. The wire
//! form lives in m2t-proto.
//!
//! The link is level-triggered: each [`Assignment`] is the machine's whole current assignment with its generation, and
//! the daemon reconciles to it. A lost, repeated or late message needs no special case.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{DeviceId, DeviceIndex, Generation, MachineName, Step};
use crate::manifest::CheckpointName;
use crate::placement::Placement;
use crate::recipe::Recipe;
use crate::report::{News, Rendezvous};

/// From a daemon to the coordinator.
#[derive(Clone, Debug, PartialEq)]
pub enum FromMachine {
    /// First message on a stream.
    Hello(Hello),
    /// The machine looked at what [`Welcome`] named and can train.
    Ready(DataFacts),
    /// The machine's data are not those the run is bound to; it waits to be refused.
    OtherData {
        /// What it found.
        facts: DataFacts,
        /// Where the two differ first, and in how much, in a clause.
        difference: String,
    },
    /// The machine cannot train this run, and why; it waits to be dismissed.
    Unable {
        /// In a sentence.
        reason: String,
    },
    /// A sign of life; sent when nothing else was for a third of the heartbeat timeout.
    Heartbeat,
    /// News of one of its devices.
    Device {
        /// The generation the trainer belongs to; older ones are dropped.
        generation: Generation,
        /// Which device.
        device: DeviceIndex,
        /// What happened.
        news: News,
    },
    /// The machine was asked to stop (SIGTERM): it wants to leave at the next step boundary.
    Leaving,
}

/// A daemon introduces its machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The machine's name.
    pub machine: MachineName,
    /// The daemon's version; another than the coordinator's is refused.
    pub version: String,
    /// A number this daemon process drew at its start: tells a reconnection from a second daemon of the same name.
    pub instance: u64,
    /// What it can train on: "cpu" or "cuda", one entry a device.
    pub devices: Vec<DeviceFacts>,
    /// The address at which the other machines reach this one.
    pub address: IpAddr,
    /// Its trainers that were in a generation and live or did their work in it, with the newest they were in. A coordinator that was started again
    /// sees from it whether the generation of its journal still trains.
    pub trainers: BTreeMap<DeviceIndex, Generation>,
}

/// One device as its daemon describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceFacts {
    /// Its number on the machine.
    pub index: DeviceIndex,
    /// "cpu" or a GPU's name.
    pub kind: String,
}

/// What a machine found at `--data`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFacts {
    /// N, the number of images.
    pub n_samples: u64,
    /// BLAKE3 over sorted relative paths, sizes and classes.
    pub fingerprint: String,
}

/// From the coordinator to a daemon.
#[derive(Clone, Debug, PartialEq)]
pub enum ToMachine {
    /// The machine takes part in this run.
    Welcome(Box<Welcome>),
    /// The machine's whole assignment from now on.
    Assign(Assignment),
    /// The machine cannot take part; the daemon says so and exits.
    Refuse {
        /// In a sentence.
        reason: String,
    },
    /// The run is over; the daemon exits.
    Dismiss(Outcome),
}

/// What a machine must know to look whether it can train.
#[derive(Clone, Debug, PartialEq)]
pub struct Welcome {
    /// The whole recipe.
    pub recipe: Recipe,
    /// The data folder on every machine; a daemon's own `--data` wins.
    pub data: PathBuf,
    /// The output folder, visible to every machine.
    pub output: PathBuf,
    /// The data set the run is bound to, once it is.
    pub bound: Option<DataFacts>,
    /// Content of the file `.probe` the coordinator wrote in the output folder: who reads it sees the same folder.
    pub probe: String,
    /// Silence after which the coordinator counts a machine as lost.
    pub heartbeat_timeout: Duration,
}

/// A machine's whole assignment.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// Of which generation. A daemon refuses one older than it has seen.
    pub generation: Generation,
    /// What to do in it.
    pub work: Work,
}

/// What a machine is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// Run no trainer.
    Idle,
    /// Keep a trainer ready on every device: started, its data looked at, in no group. It says [`News::Warm`].
    StandBy,
    /// The generation is over. Its trainers leave their group at once, whatever they wait for, keep the state they committed
    /// and say [`News::Held`]; every other device stands by.
    Hold {
        /// A trainer that has not answered by then hangs, and is killed.
        within: Duration,
    },
    /// Run the trainers of the machine's devices in this group; every other device stands by.
    Train(Group),
}

/// A generation's group of devices, as each member must know it.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Which device hosts which ranks.
    pub placement: Placement,
    /// N of the data set that the run is bound to.
    pub n_samples: u64,
    /// The state to start from.
    pub start_from: StartFrom,
    /// Where to meet, once the first device has made it.
    pub rendezvous: Option<Rendezvous>,
    /// What to do at the next step boundary.
    pub boundary: Boundary,
}

/// The state a generation starts from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartFrom {
    /// The recipe's initialisation.
    Initial,
    /// A checkpoint.
    Checkpoint(CheckpointName),
    /// What a device kept in memory from the generation before; it gives it to all that are behind or new.
    Donor {
        /// Which.
        device: DeviceId,
        /// The step its state is at.
        step: Step,
        /// Devices whose states are not to be trusted: they take the donor's, also where they stand at its step.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        distrusted: BTreeSet<DeviceId>,
    },
}

impl StartFrom {
    /// The step of the state.
    pub fn step(&self) -> Step {
        match self {
            Self::Initial => Step(0),
            Self::Checkpoint(name) => name.step(),
            Self::Donor { step, .. } => *step,
        }
    }
}

/// What a group does at its next step boundary. It only ever moves down this list within a generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Boundary {
    /// The next step.
    #[default]
    GoOn,
    /// All stop after the same step and keep their state in memory, for another group to go on with.
    Hold,
    /// All stop after the same step, with a checkpoint; their trainers end.
    Stop,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All steps are done.
    Finished,
    /// Stopped by hand; the same commands continue it.
    Stopped,
    /// It cannot go on.
    Failed,
}
