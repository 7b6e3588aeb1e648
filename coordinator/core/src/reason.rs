//! Why things are as they are: enums for the code, sentences for people.

use std::fmt;
use std::time::Duration;

use m2t_common::machine_link::StartFrom;
use m2t_common::{DeviceId, Generation, MachineName, Step};

/// Why a machine may not take part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another version of the software.
    #[error(
        "this daemon is version {theirs} and the coordinator is version {ours}; install the same version on every machine"
    )]
    OtherVersion {
        /// The daemon's.
        theirs: String,
        /// The coordinator's.
        ours: String,
    },
    /// A living daemon has the name.
    #[error("a machine called {name} is already attached; give this one another name with --name")]
    NameTaken {
        /// The name.
        name: MachineName,
    },
    /// The stream belongs to another machine.
    #[error("this stream belongs to machine {name}; attach once for each machine")]
    StreamTaken {
        /// Who spoke first.
        name: MachineName,
    },
    /// Nothing to train on.
    #[error("machine {name} offers no device; start its daemon with --devices")]
    NoDevices {
        /// The machine.
        name: MachineName,
    },
    /// The same device twice.
    #[error("machine {name} offers a device of the same number twice; name each device once in --devices")]
    TwinDevices {
        /// The machine.
        name: MachineName,
    },
    /// Another number of images than the checkpoints were made with.
    #[error(
        "its data set has {theirs} images and the run's checkpoints were made with {ours}; give the same data with --data on every machine"
    )]
    OtherSize {
        /// The machine's.
        theirs: u64,
        /// The run's.
        ours: u64,
    },
    /// Other files than the run is bound to.
    #[error(
        "its data set of {theirs} images is not the run's of {ours}: {difference}; give the same data with --data on every machine"
    )]
    OtherData {
        /// N of the machine's.
        theirs: u64,
        /// N of the run's.
        ours: u64,
        /// The machine's own word of where they differ.
        difference: String,
    },
    /// The first data set seen does not suit the recipe.
    #[error("{problem}")]
    Unsuitable {
        /// Why, and what to do.
        problem: String,
    },
}

/// Why a generation ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndCause {
    /// A trainer cannot go on.
    #[error("the trainer of device {device} failed: {reason}")]
    TrainerFailed {
        /// Its device.
        device: DeviceId,
        /// In its daemon's words.
        reason: String,
    },
    /// A collective broke under a trainer: a peer is gone, or the network between them.
    #[error("the group broke under device {device}: {reason}")]
    Broken {
        /// Who said so first.
        device: DeviceId,
        /// In its words.
        reason: String,
    },
    /// After a restart of the coordinator some members were not heard.
    #[error("after {} s these devices had not come back: {}", .after.as_secs(), list(.devices))]
    NotBack {
        /// Which.
        devices: Vec<DeviceId>,
        /// How long was waited.
        after: Duration,
    },
    /// A machine is gone.
    #[error("machine {machine} was lost: {by}")]
    MachineLost {
        /// Which.
        machine: MachineName,
        /// How that was seen.
        by: LostBy,
    },
    /// A machine wants to leave before the first step.
    #[error("machine {machine} leaves")]
    MachineLeaves {
        /// Which.
        machine: MachineName,
    },
    /// Some trainers did not come up.
    #[error("after {} s these devices were not ready: {}", .after.as_secs(), list(.devices))]
    NotReady {
        /// Which.
        devices: Vec<DeviceId>,
        /// How long was waited.
        after: Duration,
    },
    /// Some trainers did not stop.
    #[error("after {} s these devices had not stopped: {}", .after.as_secs(), list(.devices))]
    NotDrained {
        /// Which.
        devices: Vec<DeviceId>,
        /// How long was waited.
        after: Duration,
    },
    /// No step was committed for too long.
    #[error(
        "step {step} was not committed within {} s: a trainer hangs, or its network or disk does",
        .after.as_secs()
    )]
    Stalled {
        /// The step that did not come.
        step: Step,
        /// How long was waited.
        after: Duration,
    },
    /// Some devices held another state than most.
    #[error("at step {step} the state of {} was not that of the other devices", list(.devices))]
    ReplicaDiffers {
        /// Which.
        devices: Vec<DeviceId>,
        /// Where that was seen.
        step: Step,
    },
    /// The devices held different states, and none was held by most.
    #[error("at step {step} the states of the devices differed, and none is that of most: {}", list(.devices))]
    NoMajority {
        /// All devices.
        devices: Vec<DeviceId>,
        /// Where that was seen.
        step: Step,
    },
    /// An operator paused the run before its first step.
    #[error("the run was paused")]
    Paused,
    /// All devices stopped, as asked.
    #[error("it drained at step {step}")]
    Drained {
        /// Where.
        step: Step,
    },
}

/// How a machine's loss was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LostBy {
    /// It gave no sign of life.
    #[error("silent for {} ms", .0.as_millis())]
    Silence(Duration),
    /// Its stream ended and it did not come back in time.
    #[error("its connection ended and it did not come back within {} ms", .0.as_millis())]
    Disconnection(Duration),
    /// Another daemon process of its name attached.
    #[error("its daemon was started again")]
    Restart,
}

/// What a drain is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DrainReason {
    /// The coordinator was asked to stop.
    #[error("the coordinator was asked to stop")]
    Stop,
    /// A machine was asked to stop.
    #[error("a machine leaves")]
    Leaving,
    /// An operator paused the run.
    #[error("the run was paused")]
    Pause,
    /// A machine was set aside.
    #[error("a machine is set aside")]
    SetAside,
    /// Devices stand by while ranks share one.
    #[error("more devices take part")]
    Grow,
    /// The first device did the last step.
    #[error("the last step is done")]
    LastStep,
    /// More files are damaged than the recipe bears.
    #[error("too many files are damaged")]
    TooDamaged,
}

/// Why a run cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Trainers fail before they commit anything.
    #[error("{n} generations in a row ended before a step was committed; the last because {last}")]
    CrashLoop {
        /// How many.
        n: u32,
        /// The last one's end.
        last: EndCause,
    },
    /// On every machine trainers kept failing.
    #[error("the trainers of every machine keep failing: {reason}")]
    AllSetAside {
        /// Of the last one.
        reason: String,
    },
    /// More files are damaged than the recipe bears.
    #[error(
        "{n_damaged} of {n_samples} files cannot be decoded, more than run.replaced_limit = {limit} allows (events.jsonl names them); \
         raise the limit with --set run.replaced_limit=… and give the same command again, or repair them (m2t data check DIR lists all) and begin a new run"
    )]
    TooDamaged {
        /// Damaged files met so far.
        n_damaged: usize,
        /// N.
        n_samples: u64,
        /// The recipe's limit.
        limit: String,
    },
}

/// What is waited for while gathering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// Devices that can train now.
    pub(crate) n_available: usize,
    /// Devices wanted.
    pub(crate) n_wanted: usize,
    /// Devices needed.
    pub(crate) n_needed: usize,
    /// What other machines are at.
    pub(crate) pending: Vec<String>,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (have, wanted) = (self.n_available, self.n_wanted);
        let missing = wanted.saturating_sub(have);
        write!(f, "{have} of {wanted} devices; ")?;
        if have >= wanted {
            f.write_str("about to form")?;
        } else if have >= self.n_needed {
            write!(f, "enough to begin, waiting a moment for {missing} more")?;
        } else if self.n_needed < wanted {
            write!(f, "waiting for at least {} more", self.n_needed - have)?;
        } else {
            write!(f, "waiting for {missing}")?;
        }
        if !self.pending.is_empty() {
            write!(f, " ({})", self.pending.join("; "))?;
        }
        Ok(())
    }
}

/// Devices as text, the first few.
pub(crate) fn list(devices: &[DeviceId]) -> String {
    const SHOWN: usize = 8;
    let mut text: Vec<String> = devices.iter().take(SHOWN).map(ToString::to_string).collect();
    if devices.len() > SHOWN {
        text.push(format!("and {} more", devices.len() - SHOWN));
    }
    text.join(", ")
}

/// A generation and where it starts, for sentences.
pub(crate) fn start_of(generation: Generation, start_from: &StartFrom) -> String {
    match start_from {
        StartFrom::Initial => format!("generation {generation} from the beginning"),
        StartFrom::Checkpoint(name) => format!("generation {generation} from step {}", name.step()),
        StartFrom::Donor { step, .. } => format!("generation {generation} from step {step} in memory"),
    }
}
