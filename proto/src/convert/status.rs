//! The status of a run: `status.proto` and `m2t_common::status`.

use m2t_common::status::{DeviceStatus, Event, MachineStatus, PhaseName, Progress, Status};
use m2t_common::{DeviceIndex, Generation, Rank, Step, Timestamp};

use super::report::{stage_from_wire, stage_to_wire};
use super::{duration_from_wire, duration_to_wire};
use crate::error::{WireError, invalid};
use crate::wire;

impl From<Status> for wire::RunStatus {
    fn from(status: Status) -> Self {
        Self {
            experiment: status.experiment,
            at_unix_ms: status.at.0,
            phase: wire::Phase::from(status.phase).into(),
            reason: status.reason,
            generation: status.generation.0,
            world: status.world,
            batch_per_rank: status.batch_per_rank,
            min_devices: status.min_devices,
            waits: status
                .waits
                .into_iter()
                .map(|(name, wait)| wire::Wait {
                    name,
                    duration: Some(duration_to_wire(wait)),
                })
                .collect(),
            machines: status.machines.into_iter().map(Into::into).collect(),
            progress: status.progress.map(Into::into),
            checkpoint: status.checkpoint.map(Into::into),
            events: status.events.into_iter().map(Into::into).collect(),
            evaluations: status.evaluations.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<wire::RunStatus> for Status {
    type Error = WireError;

    fn try_from(status: wire::RunStatus) -> Result<Self, WireError> {
        Ok(Self {
            phase: status.phase().try_into()?,
            experiment: status.experiment,
            at: Timestamp(status.at_unix_ms),
            reason: status.reason,
            generation: Generation(status.generation),
            waits: status
                .waits
                .into_iter()
                .map(|wait| Ok((wait.name, duration_from_wire(wait.duration, "Wait.duration")?)))
                .collect::<Result<_, WireError>>()?,
            world: status.world,
            batch_per_rank: status.batch_per_rank,
            min_devices: status.min_devices,
            machines: status
                .machines
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_, WireError>>()?,
            progress: status.progress.map(TryInto::try_into).transpose()?,
            checkpoint: status.checkpoint.map(TryInto::try_into).transpose()?,
            events: status.events.into_iter().map(Into::into).collect(),
            evaluations: status
                .evaluations
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_, WireError>>()?,
        })
    }
}

impl From<PhaseName> for wire::Phase {
    fn from(phase: PhaseName) -> Self {
        match phase {
            PhaseName::Gathering => Self::Gathering,
            PhaseName::Forming => Self::Forming,
            PhaseName::Recovering => Self::Recovering,
            PhaseName::Regrouping => Self::Regrouping,
            PhaseName::Training => Self::Training,
            PhaseName::Draining => Self::Draining,
            PhaseName::Finished => Self::Finished,
            PhaseName::Stopped => Self::Stopped,
            PhaseName::Failed => Self::Failed,
            PhaseName::Paused => Self::Paused,
        }
    }
}

impl TryFrom<wire::Phase> for PhaseName {
    type Error = WireError;

    fn try_from(phase: wire::Phase) -> Result<Self, WireError> {
        Ok(match phase {
            wire::Phase::Unspecified => {
                return Err(invalid("RunStatus.phase")(&"a phase this version does not know"));
            }
            wire::Phase::Gathering => Self::Gathering,
            wire::Phase::Forming => Self::Forming,
            wire::Phase::Recovering => Self::Recovering,
            wire::Phase::Regrouping => Self::Regrouping,
            wire::Phase::Training => Self::Training,
            wire::Phase::Draining => Self::Draining,
            wire::Phase::Finished => Self::Finished,
            wire::Phase::Stopped => Self::Stopped,
            wire::Phase::Failed => Self::Failed,
            wire::Phase::Paused => Self::Paused,
        })
    }
}

impl From<MachineStatus> for wire::MachineStatus {
    fn from(machine: MachineStatus) -> Self {
        Self {
            name: machine.name.into(),
            address: machine.address,
            state: machine.state,
            silent_for: Some(duration_to_wire(machine.silent_for)),
            devices: machine.devices.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<wire::MachineStatus> for MachineStatus {
    type Error = WireError;

    fn try_from(machine: wire::MachineStatus) -> Result<Self, WireError> {
        Ok(Self {
            name: machine
                .name
                .parse()
                .map_err(|e| invalid("MachineStatus.name")(&e))?,
            address: machine.address,
            state: machine.state,
            silent_for: duration_from_wire(machine.silent_for, "MachineStatus.silent_for")?,
            devices: machine.devices.into_iter().map(Into::into).collect(),
        })
    }
}

impl From<DeviceStatus> for wire::DeviceStatus {
    fn from(device: DeviceStatus) -> Self {
        Self {
            index: device.index.0,
            kind: device.kind,
            ranks: device.ranks.into_iter().map(|rank| rank.0).collect(),
            shard_from: device.shard.start,
            shard_to: device.shard.end,
            step: device.step.0,
            data_wait: device.data_wait,
            bottleneck: stage_to_wire(device.bottleneck),
            slow_files: device.slow_files,
        }
    }
}

impl From<wire::DeviceStatus> for DeviceStatus {
    fn from(device: wire::DeviceStatus) -> Self {
        Self {
            bottleneck: stage_from_wire(device.bottleneck()),
            index: DeviceIndex(device.index),
            kind: device.kind,
            ranks: device.ranks.into_iter().map(Rank).collect(),
            shard: device.shard_from..device.shard_to,
            step: Step(device.step),
            data_wait: device.data_wait,
            slow_files: device.slow_files,
        }
    }
}

impl From<Progress> for wire::Progress {
    fn from(progress: Progress) -> Self {
        Self {
            step: progress.step.0,
            total_steps: progress.total_steps,
            epoch: progress.epoch,
            step_in_epoch: progress.step_in_epoch,
            steps_per_epoch: progress.steps_per_epoch,
            loss: progress.loss,
            learning_rate: progress.learning_rate,
            parameter_momentum: progress.parameter_momentum,
            statistics_momentum: progress.statistics_momentum,
            images_per_second: progress.images_per_second,
            data_wait: progress.data_wait,
            bottleneck: stage_to_wire(progress.bottleneck),
            remaining: progress.remaining.map(duration_to_wire),
            replaced: progress.replaced,
        }
    }
}

impl TryFrom<wire::Progress> for Progress {
    type Error = WireError;

    fn try_from(progress: wire::Progress) -> Result<Self, WireError> {
        let remaining = progress
            .remaining
            .map(|remaining| duration_from_wire(Some(remaining), "Progress.remaining"));
        Ok(Self {
            step: Step(progress.step),
            total_steps: progress.total_steps,
            epoch: progress.epoch,
            step_in_epoch: progress.step_in_epoch,
            steps_per_epoch: progress.steps_per_epoch,
            loss: progress.loss,
            learning_rate: progress.learning_rate,
            parameter_momentum: progress.parameter_momentum,
            statistics_momentum: progress.statistics_momentum,
            images_per_second: progress.images_per_second,
            data_wait: progress.data_wait,
            bottleneck: stage_from_wire(progress.bottleneck()),
            remaining: remaining.transpose()?,
            replaced: progress.replaced,
        })
    }
}

impl From<Event> for wire::Event {
    fn from(event: Event) -> Self {
        Self {
            at_unix_ms: event.at.0,
            kind: event.kind,
            text: event.text,
        }
    }
}

impl From<wire::Event> for Event {
    fn from(event: wire::Event) -> Self {
        Self {
            at: Timestamp(event.at_unix_ms),
            kind: event.kind,
            text: event.text,
        }
    }
}
