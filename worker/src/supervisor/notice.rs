//! What the supervisor has to say to whoever reads the daemon's log. Sentences only; no decision hangs on them.

use std::fmt;
use std::time::Duration;

use m2t_common::{DeviceIndex, Generation, Step};

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
    /// The trainers of the machine are to stand by.
    StandingBy {
        /// The machine's generation.
        generation: Generation,
    },
    /// A generation is over, and its trainers are to leave it with their state.
    Holding {
        /// Its number.
        generation: Generation,
    },
    /// A trainer left its group and keeps its state.
    Held {
        /// Which device.
        device: DeviceIndex,
        /// The generation it left.
        generation: Generation,
        /// The step of its state.
        step: Step,
        /// Why, where nobody had told it to.
        broken: Option<String>,
    },
    /// A trainer is started again after it failed.
    StartsAgain {
        /// Which device.
        device: DeviceIndex,
        /// After which time.
        after: Duration,
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
        /// The generation it failed in.
        generation: Generation,
        /// In a sentence.
        reason: String,
    },
    /// A trainer did not end, or did not leave its group, when asked.
    Killed {
        /// Which device.
        device: DeviceIndex,
        /// The newest generation it was in; 0 before the first.
        generation: Generation,
        /// How long it was waited for, where it should have left its group.
        within: Option<Duration>,
    },
    /// The daemon was asked to stop and waits for the drain.
    Leaving,
    /// The drain did not come in time.
    LeftWithoutDrain,
    /// The run did its last step, and the coordinator has not been heard since.
    FinishedUnheard {
        /// For how long.
        silence: Duration,
    },
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
            Self::StandingBy { generation } => {
                write!(f, "generation {generation}: standing by")
            }
            Self::Holding { generation } => {
                write!(
                    f,
                    "generation {generation} is over; its trainers keep their state"
                )
            }
            Self::Held {
                device,
                generation,
                step,
                broken,
            } => {
                write!(
                    f,
                    "device {device} left generation {generation} and holds its state at step {step}"
                )?;
                broken.as_ref().map_or(Ok(()), |reason| write!(f, ": {reason}"))
            }
            Self::StartsAgain { device, after } if after.is_zero() => {
                write!(f, "starting the trainer of device {device} again")
            }
            Self::StartsAgain { device, after } => {
                write!(
                    f,
                    "starting the trainer of device {device} again in {}",
                    span(*after)
                )
            }
            Self::OldGeneration { offered, seen } => write!(
                f,
                "refused generation {offered}, since {seen} was seen before; if the run was begun anew, start this daemon anew"
            ),
            Self::NotWelcomed => f.write_str("refused an assignment that came before a welcome"),
            Self::TrainerFailed { generation, reason } => write!(f, "generation {generation}: {reason}"),
            Self::Killed {
                device,
                generation,
                within,
            } => {
                write!(
                    f,
                    "killed the trainer of device {device} (generation {generation}): "
                )?;
                match within {
                    Some(within) => write!(f, "it did not answer within {}", span(*within)),
                    None => f.write_str("it did not end when asked"),
                }
            }
            Self::Leaving => f.write_str(
                "leaving: waiting for the group to stop at a step boundary (a second signal ends at once)",
            ),
            Self::LeftWithoutDrain => f.write_str("leaving now: the group did not stop in time"),
            Self::FinishedUnheard { silence } => write!(
                f,
                "the run finished {} ago and the coordinator has not been heard since; ending without it",
                span(*silence)
            ),
        }
    }
}

/// A duration for people, in seconds.
pub(super) fn span(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}
