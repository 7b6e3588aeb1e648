//! What programs know a notice by: its kind, its weight, and the generation it is about.

use m2t_common::Generation;

use super::Notice;
use crate::reason::EndCause;

/// How much a notice matters to whoever reads the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// As it should be.
    Usual,
    /// Something is lost, damaged or refused; the run goes on or waits.
    Trouble,
    /// The run cannot go on.
    End,
}

impl Notice {
    /// How much it matters.
    pub fn weight(&self) -> Weight {
        match self {
            Self::Replaced { .. }
            | Self::SlowFile { .. }
            | Self::CheckpointFailed { .. }
            | Self::EvaluationFailed { .. }
            | Self::Unable { .. }
            | Self::Refused { .. }
            | Self::Disconnected { .. }
            | Self::Lost { .. }
            | Self::AlsoFailed { .. }
            | Self::StandByFailed { .. }
            | Self::SetAside { .. }
            | Self::ReplicaDiffers { .. }
            | Self::NoMajority { .. }
            | Self::Suspect { .. }
            | Self::Damaged { .. }
            | Self::Missing { .. } => Weight::Trouble,
            Self::Ended { cause, .. } if !matches!(cause, EndCause::Drained { .. } | EndCause::Paused) => {
                Weight::Trouble
            }
            Self::Failed(_) => Weight::End,
            _ => Weight::Usual,
        }
    }

    /// The generation that it is about, where it is about one.
    pub fn generation(&self) -> Option<Generation> {
        match self {
            Self::Recovering { generation }
            | Self::Formed { generation, .. }
            | Self::Recovered { generation, .. }
            | Self::Training { generation }
            | Self::Ended { generation, .. }
            | Self::AlsoFailed { generation, .. } => Some(*generation),
            _ => None,
        }
    }

    /// A stable name of its kind, for programs that read the event file.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Begun => "run_begun",
            Self::Continued { .. } => "run_continued",
            Self::Recovering { .. } => "recovering",
            Self::StandByFailed { .. } => "trainer_failed",
            Self::SetAside { .. } => "machine_set_aside",
            Self::DataBound { .. } => "data_bound",
            Self::Ordered { .. } => "ordered",
            Self::Paused { .. } => "paused",
            Self::Replaced { .. } => "file_replaced",
            Self::SlowFile { .. } => "file_slow",
            Self::CheckpointFailed { .. } => "checkpoint_failed",
            Self::Evaluated { .. } => "evaluated",
            Self::EvaluationFailed { .. } => "evaluation_failed",
            Self::Attached { .. } => "machine_attached",
            Self::Reconnected { .. } => "machine_reconnected",
            Self::Ready { .. } => "machine_ready",
            Self::Unable { .. } => "machine_unable",
            Self::Refused { .. } => "machine_refused",
            Self::Disconnected { .. } => "machine_disconnected",
            Self::Lost { .. } => "machine_lost",
            Self::Leaving { .. } => "machine_leaving",
            Self::Left { .. } => "machine_left",
            Self::Formed { .. } => "generation_formed",
            Self::Recovered { .. } => "recovered",
            Self::Training { .. } => "generation_training",
            Self::Ended { .. } => "generation_ended",
            Self::AlsoFailed { .. } => "device_failed_too",
            Self::Draining { .. } => "draining",
            Self::Checkpoint { .. } => "checkpoint_complete",
            Self::Damaged { .. } => "checkpoint_damaged",
            Self::Missing { .. } => "checkpoint_missing",
            Self::ReplicaDiffers { .. } => "replica_differs",
            Self::NoMajority { .. } => "replicas_without_majority",
            Self::Suspect { .. } => "checkpoint_suspect",
            Self::Finished { .. } => "run_finished",
            Self::Stopped { .. } => "run_stopped",
            Self::Failed(_) => "run_failed",
        }
    }
}
