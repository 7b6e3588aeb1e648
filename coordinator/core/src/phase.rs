//! Where a run stands. Each phase carries what is meaningful in it and nothing else.

use m2t_common::machine_link::Outcome;
use m2t_common::status::PhaseName;
use m2t_common::{Step, Timestamp};

use crate::group::LiveGroup;
use crate::reason::{DrainReason, Failure};

/// Where a run stands.
#[derive(Debug)]
pub(crate) enum Phase {
    /// Waiting for devices.
    Gathering {
        /// Devices available when last looked.
        n_available: usize,
        /// When that number last changed.
        since: Timestamp,
    },
    /// A placement stands; trainers start and meet.
    Forming {
        /// Its devices.
        group: LiveGroup,
        /// When patience ends.
        until: Timestamp,
    },
    /// Steps are being committed.
    Training {
        /// The devices.
        group: LiveGroup,
        /// When a step was last committed; at first, when training began.
        progressed: Timestamp,
    },
    /// All devices stop at the next step boundary.
    Draining {
        /// The devices.
        group: LiveGroup,
        /// What for.
        why: DrainReason,
        /// When patience ends.
        until: Timestamp,
    },
    /// Paused by an operator: machines stay, nothing is formed.
    Paused,
    /// All steps are done.
    Finished {
        /// The last step.
        step: Step,
    },
    /// Stopped by hand.
    Stopped {
        /// The step a resume continues from.
        resume_from: Step,
    },
    /// Cannot go on.
    Failed(Failure),
}

impl Phase {
    /// The phase before any device is there.
    pub(crate) fn gathering() -> Self {
        Self::Gathering {
            n_available: 0,
            since: Timestamp(0),
        }
    }

    /// The group, in the phases that have one.
    pub(crate) fn group(&self) -> Option<&LiveGroup> {
        match self {
            Self::Forming { group, .. } | Self::Training { group, .. } | Self::Draining { group, .. } => {
                Some(group)
            }
            Self::Gathering { .. }
            | Self::Paused
            | Self::Finished { .. }
            | Self::Stopped { .. }
            | Self::Failed(_) => None,
        }
    }

    /// The group, to change it.
    pub(crate) fn group_mut(&mut self) -> Option<&mut LiveGroup> {
        match self {
            Self::Forming { group, .. } | Self::Training { group, .. } | Self::Draining { group, .. } => {
                Some(group)
            }
            Self::Gathering { .. }
            | Self::Paused
            | Self::Finished { .. }
            | Self::Stopped { .. }
            | Self::Failed(_) => None,
        }
    }

    /// How the run ended, if it did.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::Finished { .. } => Some(Outcome::Finished),
            Self::Stopped { .. } => Some(Outcome::Stopped),
            Self::Failed(_) => Some(Outcome::Failed),
            Self::Gathering { .. }
            | Self::Forming { .. }
            | Self::Training { .. }
            | Self::Draining { .. }
            | Self::Paused => None,
        }
    }

    /// Its name for the status.
    pub(crate) fn name(&self) -> PhaseName {
        match self {
            Self::Gathering { .. } => PhaseName::Gathering,
            Self::Forming { .. } => PhaseName::Forming,
            Self::Training { .. } => PhaseName::Training,
            Self::Draining { .. } => PhaseName::Draining,
            Self::Paused => PhaseName::Paused,
            Self::Finished { .. } => PhaseName::Finished,
            Self::Stopped { .. } => PhaseName::Stopped,
            Self::Failed(_) => PhaseName::Failed,
        }
    }
}
