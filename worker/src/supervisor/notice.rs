//! What the supervisor has to say to whoever reads the daemon's log. Sentences only; no decision hangs on them.

use std::fmt;

use m2t_common::{DeviceIndex, Generation};

use super::TrainerKey;

/// Something worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The coordinator answered.
    Welcomed {
        /// The experiment's name.
        experiment: String,
    },
    /// The coordinator now has another run than before.
    AnotherRun,
    /// The data and output folders are as they should be.
    Fit {
        /// Images found.
        n_samples: u64,
    },
    /// The machine cannot take part, and said so.
    Unfit {
        /// In a sentence.
        reason: String,
    },
    /// The data here are not the run's.
    OtherData {
        /// Where they differ, in a clause.
        difference: String,
    },
    /// A new generation begins.
    Generation {
        /// Its number.
        generation: Generation,
        /// The devices of this machine in it.
        devices: Vec<DeviceIndex>,
    },
    /// An assignment older than one seen before was refused.
    OldGeneration {
        /// Of the refused one.
        offered: Generation,
        /// The newest seen.
        seen: Generation,
    },
    /// An assignment came from a coordinator that never said welcome.
    NotWelcomed,
    /// A trainer cannot go on.
    TrainerFailed {
        /// Which.
        key: TrainerKey,
        /// In a sentence.
        reason: String,
    },
    /// A trainer did not end when asked.
    Killed(TrainerKey),
    /// The daemon was asked to stop and waits for the drain.
    Leaving,
    /// The drain did not come in time.
    LeftWithoutDrain,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Welcomed { experiment } => {
                write!(f, "welcomed to the run {experiment:?}; looking at its folders")
            }
            Self::AnotherRun => f.write_str("the coordinator now has another run; forgetting the one before"),
            Self::Fit { n_samples } => write!(f, "ready: {n_samples} images; waiting for an assignment"),
            Self::OtherData { difference } => {
                write!(f, "the data here are not those of the run: {difference}")
            }
            Self::Unfit { reason } => write!(f, "cannot take part: {reason}"),
            Self::Generation { generation, devices } if devices.is_empty() => {
                write!(
                    f,
                    "generation {generation}: nothing to do on this machine; waiting as a spare"
                )
            }
            Self::Generation { generation, devices } => {
                let devices: Vec<String> = devices.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "generation {generation}: training on device {}",
                    devices.join(", ")
                )
            }
            Self::OldGeneration { offered, seen } => write!(
                f,
                "refused generation {offered}, since {seen} was seen before; if the run was begun anew, start this daemon anew"
            ),
            Self::NotWelcomed => f.write_str("refused an assignment that came before a welcome"),
            Self::TrainerFailed { key, reason } => write!(f, "generation {}: {reason}", key.generation),
            Self::Killed(key) => write!(
                f,
                "killed the trainer of device {} (generation {}): it did not end when asked",
                key.device, key.generation
            ),
            Self::Leaving => f.write_str(
                "leaving: waiting for the group to stop at a step boundary (a second signal ends at once)",
            ),
            Self::LeftWithoutDrain => f.write_str("leaving now: the group did not stop in time"),
        }
    }
}
