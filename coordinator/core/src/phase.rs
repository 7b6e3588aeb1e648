//! Where a run stands. Each phase carries what is meaningful in it and nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use m2t_common::machine_link::{Boundary, Outcome};
use m2t_common::status::PhaseName;
use m2t_common::{DeviceId, Step, Timestamp};

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
    /// The coordinator was started again, and the generation of the journal may train on: its members are awaited.
    Recovering {
        /// Its devices.
        group: LiveGroup,
        /// When those that were not heard count as gone.
        until: Timestamp,
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
        /// Since when a device outside the group could take part that has no rank to itself.
        spare_since: Option<Timestamp>,
    },
    /// All devices stop at the next step boundary.
    Draining {
        /// The devices.
        group: LiveGroup,
        /// What for.
        why: DrainReason,
        /// What they are told to do there.
        boundary: Boundary,
        /// When patience ends.
        until: Timestamp,
    },
    /// A generation ended. What its survivors keep in memory is what the next one starts from.
    Regrouping {
        /// The group that was.
        group: LiveGroup,
        /// Members that may have a state, and the step of it once they said so.
        survivors: BTreeMap<DeviceId, Option<Step>>,
        /// When the generation ended.
        since: Timestamp,
        /// How long a trainer may take to answer.
        within: Duration,
        /// When those that did not answer are done without.
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

    /// The group, in the phases in which one is at work.
    pub(crate) fn group(&self) -> Option<&LiveGroup> {
        match self {
            Self::Recovering { group, .. }
            | Self::Forming { group, .. }
            | Self::Training { group, .. }
            | Self::Draining { group, .. } => Some(group),
            Self::Gathering { .. }
            | Self::Regrouping { .. }
            | Self::Paused
            | Self::Finished { .. }
            | Self::Stopped { .. }
            | Self::Failed(_) => None,
        }
    }

    /// The group whose news count: the one at work, or the one that was until another is formed.
    pub(crate) fn heard(&self) -> Option<&LiveGroup> {
        match self {
            Self::Regrouping { group, .. } => Some(group),
            other => other.group(),
        }
    }

    /// The group whose news count, to change it: the one at work, or the one that was until another is formed.
    pub(crate) fn heard_mut(&mut self) -> Option<&mut LiveGroup> {
        match self {
            Self::Recovering { group, .. }
            | Self::Forming { group, .. }
            | Self::Training { group, .. }
            | Self::Draining { group, .. }
            | Self::Regrouping { group, .. } => Some(group),
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
            | Self::Recovering { .. }
            | Self::Forming { .. }
            | Self::Training { .. }
            | Self::Draining { .. }
            | Self::Regrouping { .. }
            | Self::Paused => None,
        }
    }

    /// Its name for the status.
    pub(crate) fn name(&self) -> PhaseName {
        match self {
            Self::Gathering { .. } => PhaseName::Gathering,
            Self::Forming { .. } => PhaseName::Forming,
            Self::Recovering { .. } => PhaseName::Recovering,
            Self::Regrouping { .. } => PhaseName::Regrouping,
            Self::Training { .. } => PhaseName::Training,
            Self::Draining { .. } => PhaseName::Draining,
            Self::Paused => PhaseName::Paused,
            Self::Finished { .. } => PhaseName::Finished,
            Self::Stopped { .. } => PhaseName::Stopped,
            Self::Failed(_) => PhaseName::Failed,
        }
    }
}
