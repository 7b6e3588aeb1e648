//! The state a generation starts from: `Group.start_from` and `m2t_common::machine_link::StartFrom`.

use m2t_common::machine_link::StartFrom;
use m2t_common::{DeviceId, DeviceIndex, Step};

use super::report::checkpoint_name;
use crate::error::{WireError, invalid};
use crate::wire;

impl From<StartFrom> for wire::group::StartFrom {
    fn from(start: StartFrom) -> Self {
        match start {
            StartFrom::Initial => Self::Initial(wire::FromInitial {}),
            StartFrom::Checkpoint(name) => Self::Checkpoint(name.to_string()),
            StartFrom::Donor {
                device,
                step,
                distrusted,
            } => Self::Donor(wire::Donor {
                machine: device.machine.into(),
                device: device.index.0,
                step: step.0,
                distrusted: distrusted.into_iter().map(Into::into).collect(),
            }),
        }
    }
}

impl TryFrom<wire::group::StartFrom> for StartFrom {
    type Error = WireError;

    fn try_from(start: wire::group::StartFrom) -> Result<Self, WireError> {
        use wire::group::StartFrom as Wire;
        Ok(match start {
            Wire::Initial(wire::FromInitial {}) => Self::Initial,
            Wire::Checkpoint(name) => Self::Checkpoint(checkpoint_name(&name, "Group.checkpoint")?),
            Wire::Donor(donor) => Self::Donor {
                device: DeviceId {
                    machine: donor.machine.parse().map_err(|e| invalid("Donor.machine")(&e))?,
                    index: DeviceIndex(donor.device),
                },
                step: Step(donor.step),
                distrusted: donor
                    .distrusted
                    .into_iter()
                    .map(TryInto::try_into)
                    .collect::<Result<_, _>>()?,
            },
        })
    }
}

impl From<DeviceId> for wire::DeviceName {
    fn from(device: DeviceId) -> Self {
        Self {
            machine: device.machine.into(),
            device: device.index.0,
        }
    }
}

impl TryFrom<wire::DeviceName> for DeviceId {
    type Error = WireError;

    fn try_from(name: wire::DeviceName) -> Result<Self, WireError> {
        let machine = name.machine.parse();
        Ok(Self {
            machine: machine.map_err(|e| invalid("DeviceName.machine")(&e))?,
            index: DeviceIndex(name.device),
        })
    }
}
