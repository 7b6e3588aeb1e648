//! The exit codes, the same for coordinator and daemon.

use m2t_common::machine_link::Outcome;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// The run is finished.
    Finished = 0,
    /// Arguments, recipe or output folder were refused; nothing was begun. Also clap's.
    Refused = 2,
    /// The run failed or was lost.
    Lost = 3,
    /// Stopped by hand; the same command continues.
    Stopped = 4,
}

/// The table for `--help`.
pub(crate) const HELP: &str = "\
Exit codes:
  0  the run is finished
  2  arguments, recipe or output folder were refused; nothing was begun
  3  the run failed or was lost; the last lines of the log say why
  4  stopped by hand (SIGTERM, SIGINT); the same command continues it";

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Finished => Self::Finished,
            Outcome::Stopped => Self::Stopped,
            Outcome::Failed => Self::Lost,
        }
    }
}
