//! How a program of m2t ends, and the exit code it says it with. The coordinator keeps the same table.

use m2t_common::machine_link::Outcome;

/// The exit codes, for `--help`.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  the run finished
  2  refused: a bad option, another version, other data, a name that is taken
  3  the run is lost and cannot go on; the coordinator's log says why
  4  stopped by hand (SIGTERM, SIGINT, or the run was stopped)";

/// Why the daemon ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The run did its last step.
    Finished,
    /// Something given to the daemon, or the daemon itself, was refused.
    Refused {
        /// In a sentence.
        reason: String,
    },
    /// The run cannot go on.
    Lost,
    /// The run, or this daemon, was stopped by hand.
    Stopped,
}

impl Ending {
    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Finished => 0,
            Self::Refused { .. } => 2,
            Self::Lost => 3,
            Self::Stopped => 4,
        }
    }
}

impl From<Outcome> for Ending {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Finished => Self::Finished,
            Outcome::Stopped => Self::Stopped,
            Outcome::Failed => Self::Lost,
        }
    }
}

/// An error and all that caused it as one sentence.
pub fn sentence(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
