//! What an operator may ask of a run, and what is answered.

use std::fmt;

use crate::ids::{MachineName, Step};

/// What an operator asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Stop at the next step boundary, with a checkpoint; machines stay and wait.
    Pause,
    /// Go on.
    Resume,
    /// Stop at the next step boundary, with a checkpoint, and end.
    Stop,
    /// Let a machine go at the next step boundary; the others go on without it.
    Drain(MachineName),
    /// Take a machine back that was set aside because its trainers kept failing.
    Readmit(MachineName),
}

/// What is answered, at once; how it comes about is in the status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done, or will be at the next step boundary.
    Accepted(Accepted),
    /// It cannot be done.
    Refused(Refused),
}

/// What will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It trains, and will pause.
    WillPause,
    /// It is paused: nothing trained, or it was paused already.
    Paused {
        /// The step it goes on from.
        at: Step,
    },
    /// It goes on.
    Resumed,
    /// It trains, and will stop.
    WillStop,
    /// A machine takes part again.
    Readmitted {
        /// Which.
        machine: MachineName,
    },
    /// A machine will leave.
    WillDrain {
        /// Which.
        machine: MachineName,
    },
}

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Nothing to resume.
    NotPaused,
    /// No machine of that name is attached.
    NoSuchMachine {
        /// As asked.
        machine: MachineName,
        /// Those that are.
        attached: Vec<MachineName>,
    },
    /// The machine was not set aside.
    NotSetAside {
        /// As asked.
        machine: MachineName,
        /// Those that are.
        set_aside: Vec<MachineName>,
    },
    /// The last step is being finished, or the run has ended.
    Over,
}

impl fmt::Display for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WillPause => f.write_str(
                "pausing: all devices stop at the next step boundary, with a checkpoint; m2t resume goes on",
            ),
            Self::Paused { at } => write!(f, "paused at step {at}; m2t resume goes on"),
            Self::Resumed => f.write_str("resumed: the run goes on as soon as enough devices are ready"),
            Self::WillStop => f.write_str(
                "stopping: all devices stop at the next step boundary, with a checkpoint; the same commands continue the run",
            ),
            Self::Readmitted { machine } => write!(f, "machine {machine} takes part again"),
            Self::WillDrain { machine } => write!(
                f,
                "machine {machine} leaves at the next step boundary, with nothing lost; its daemon ends, and the others go on"
            ),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPaused => f.write_str("the run is not paused; m2t status shows where it stands"),
            Self::NoSuchMachine { machine, attached } if attached.is_empty() => {
                write!(f, "no machine is called {machine}; none is attached")
            }
            Self::NoSuchMachine { machine, attached } => {
                let names: Vec<&str> = attached.iter().map(MachineName::as_str).collect();
                write!(
                    f,
                    "no machine is called {machine}; attached are {}",
                    names.join(", ")
                )
            }
            Self::NotSetAside { machine, set_aside } if set_aside.is_empty() => {
                write!(f, "machine {machine} is not set aside, and no other is")
            }
            Self::NotSetAside { machine, set_aside } => {
                let names: Vec<&str> = set_aside.iter().map(MachineName::as_str).collect();
                write!(
                    f,
                    "machine {machine} is not set aside; those that are: {}",
                    names.join(", ")
                )
            }
            Self::Over => f.write_str("the run is ending; there is nothing to ask of it any more"),
        }
    }
}
