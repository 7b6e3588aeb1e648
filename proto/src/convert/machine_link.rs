//! The link between daemon and coordinator: `machine.proto` and `m2t_common::machine_link`.
//!
//! Paths travel as text; the coordinator and the daemon accept only UTF-8 paths where they enter.

use std::path::Path;

use m2t_common::machine_link::{
    Assignment, Boundary, DataFacts, DeviceFacts, FromMachine, Group, Hello, Outcome, ToMachine, Welcome,
    Work,
};
use m2t_common::{DeviceId, DeviceIndex, DevicePlacement, Generation, Placement, Rank, Recipe};

use super::{duration_from_wire, duration_to_wire};
use crate::error::{WireError, invalid, required};
use crate::wire;

impl From<FromMachine> for wire::FromMachine {
    fn from(message: FromMachine) -> Self {
        use wire::from_machine::Message as Wire;
        let message = match message {
            FromMachine::Hello(hello) => Wire::Hello(hello.into()),
            FromMachine::Ready(facts) => Wire::Ready(facts.into()),
            FromMachine::OtherData { facts, difference } => Wire::OtherData(wire::OtherData {
                facts: Some(facts.into()),
                difference,
            }),
            FromMachine::Unable { reason } => Wire::Unable(wire::Unable { reason }),
            FromMachine::Heartbeat => Wire::Heartbeat(wire::Heartbeat {}),
            FromMachine::Device {
                generation,
                device,
                news,
            } => Wire::Device(wire::DeviceNews {
                generation: generation.0,
                device: device.0,
                news: Some(news.into()),
            }),
            FromMachine::Leaving => Wire::Leaving(wire::Leaving {}),
        };
        Self {
            message: Some(message),
        }
    }
}

impl TryFrom<wire::FromMachine> for FromMachine {
    type Error = WireError;

    fn try_from(message: wire::FromMachine) -> Result<Self, WireError> {
        use wire::from_machine::Message as Wire;
        Ok(match required(message.message, "FromMachine.message")? {
            Wire::Hello(hello) => Self::Hello(hello.try_into()?),
            Wire::Ready(facts) => Self::Ready(facts.into()),
            Wire::OtherData(other) => Self::OtherData {
                facts: required(other.facts, "OtherData.facts")?.into(),
                difference: other.difference,
            },
            Wire::Unable(unable) => Self::Unable {
                reason: unable.reason,
            },
            Wire::Heartbeat(wire::Heartbeat {}) => Self::Heartbeat,
            Wire::Device(device) => Self::Device {
                generation: Generation(device.generation),
                device: DeviceIndex(device.device),
                news: required(device.news, "DeviceNews.news")?.try_into()?,
            },
            Wire::Leaving(wire::Leaving {}) => Self::Leaving,
        })
    }
}

impl From<Hello> for wire::Hello {
    fn from(hello: Hello) -> Self {
        Self {
            machine: hello.machine.into(),
            version: hello.version,
            instance: hello.instance,
            devices: hello.devices.into_iter().map(Into::into).collect(),
            address: hello.address.to_string(),
            trainers: hello
                .trainers
                .into_iter()
                .map(|(device, generation)| wire::LivingTrainer {
                    device: device.0,
                    generation: generation.0,
                })
                .collect(),
        }
    }
}

impl TryFrom<wire::Hello> for Hello {
    type Error = WireError;

    fn try_from(hello: wire::Hello) -> Result<Self, WireError> {
        Ok(Self {
            machine: hello.machine.parse().map_err(|e| invalid("Hello.machine")(&e))?,
            version: hello.version,
            instance: hello.instance,
            devices: hello.devices.into_iter().map(Into::into).collect(),
            address: hello.address.parse().map_err(|e| invalid("Hello.address")(&e))?,
            trainers: hello
                .trainers
                .into_iter()
                .map(|living| (DeviceIndex(living.device), Generation(living.generation)))
                .collect(),
        })
    }
}

impl From<DeviceFacts> for wire::DeviceFacts {
    fn from(facts: DeviceFacts) -> Self {
        Self {
            index: facts.index.0,
            kind: facts.kind,
        }
    }
}

impl From<wire::DeviceFacts> for DeviceFacts {
    fn from(facts: wire::DeviceFacts) -> Self {
        Self {
            index: DeviceIndex(facts.index),
            kind: facts.kind,
        }
    }
}

impl From<DataFacts> for wire::DataFacts {
    fn from(facts: DataFacts) -> Self {
        Self {
            n_samples: facts.n_samples,
            fingerprint: facts.fingerprint,
        }
    }
}

impl From<wire::DataFacts> for DataFacts {
    fn from(facts: wire::DataFacts) -> Self {
        Self {
            n_samples: facts.n_samples,
            fingerprint: facts.fingerprint,
        }
    }
}

impl From<ToMachine> for wire::ToMachine {
    fn from(message: ToMachine) -> Self {
        use wire::to_machine::Message as Wire;
        let message = match message {
            ToMachine::Welcome(welcome) => Wire::Welcome((*welcome).into()),
            ToMachine::Assign(assignment) => Wire::Assign(assignment.into()),
            ToMachine::Refuse { reason } => Wire::Refuse(wire::Refuse { reason }),
            ToMachine::Dismiss(outcome) => Wire::Dismiss(wire::Dismiss {
                outcome: wire::Outcome::from(outcome).into(),
            }),
        };
        Self {
            message: Some(message),
        }
    }
}

impl TryFrom<wire::ToMachine> for ToMachine {
    type Error = WireError;

    fn try_from(message: wire::ToMachine) -> Result<Self, WireError> {
        use wire::to_machine::Message as Wire;
        Ok(match required(message.message, "ToMachine.message")? {
            Wire::Welcome(welcome) => Self::Welcome(Box::new(welcome.try_into()?)),
            Wire::Assign(assignment) => Self::Assign(assignment.try_into()?),
            Wire::Refuse(refuse) => Self::Refuse {
                reason: refuse.reason,
            },
            Wire::Dismiss(dismiss) => Self::Dismiss(dismiss.outcome().try_into()?),
        })
    }
}

impl From<Welcome> for wire::Welcome {
    fn from(welcome: Welcome) -> Self {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        Self {
            recipe_json: serde_json::to_string(&welcome.recipe).expect("a recipe is plain data"),
            data: text(&welcome.data),
            output: text(&welcome.output),
            bound: welcome.bound.map(Into::into),
            probe: welcome.probe,
            heartbeat_timeout: Some(duration_to_wire(welcome.heartbeat_timeout)),
        }
    }
}

impl TryFrom<wire::Welcome> for Welcome {
    type Error = WireError;

    fn try_from(welcome: wire::Welcome) -> Result<Self, WireError> {
        let recipe: Recipe =
            serde_json::from_str(&welcome.recipe_json).map_err(|e| invalid("Welcome.recipe_json")(&e))?;
        Ok(Self {
            recipe,
            data: welcome.data.into(),
            output: welcome.output.into(),
            bound: welcome.bound.map(Into::into),
            probe: welcome.probe,
            heartbeat_timeout: duration_from_wire(welcome.heartbeat_timeout, "Welcome.heartbeat_timeout")?,
        })
    }
}

impl From<Assignment> for wire::Assignment {
    fn from(assignment: Assignment) -> Self {
        use wire::assignment::Work as Wire;
        let work = match assignment.work {
            Work::Idle => Wire::Idle(wire::Idle {}),
            Work::StandBy => Wire::StandBy(wire::StandBy {}),
            Work::Hold { within } => Wire::Hold(wire::Hold {
                within: Some(duration_to_wire(within)),
            }),
            Work::Train(group) => Wire::Train(group.into()),
        };
        Self {
            generation: assignment.generation.0,
            work: Some(work),
        }
    }
}

impl TryFrom<wire::Assignment> for Assignment {
    type Error = WireError;

    fn try_from(assignment: wire::Assignment) -> Result<Self, WireError> {
        use wire::assignment::Work as Wire;
        let work = match required(assignment.work, "Assignment.work")? {
            Wire::Idle(wire::Idle {}) => Work::Idle,
            Wire::StandBy(wire::StandBy {}) => Work::StandBy,
            Wire::Hold(hold) => Work::Hold {
                within: duration_from_wire(hold.within, "Hold.within")?,
            },
            Wire::Train(group) => Work::Train(group.try_into()?),
        };
        Ok(Self {
            generation: Generation(assignment.generation),
            work,
        })
    }
}

impl From<Group> for wire::Group {
    fn from(group: Group) -> Self {
        Self {
            placement: group.placement.devices.into_iter().map(Into::into).collect(),
            n_samples: group.n_samples,
            rendezvous: group.rendezvous.map(Into::into),
            boundary: wire::Boundary::from(group.boundary).into(),
            start_from: Some(group.start_from.into()),
        }
    }
}

impl TryFrom<wire::Group> for Group {
    type Error = WireError;

    fn try_from(group: wire::Group) -> Result<Self, WireError> {
        let boundary = group.boundary().try_into()?;
        let devices = group
            .placement
            .into_iter()
            .map(TryInto::try_into)
            .collect::<Result<Vec<DevicePlacement>, WireError>>()?;
        let start_from = required(group.start_from, "Group.start_from")?.try_into()?;
        Ok(Self {
            placement: Placement { devices },
            n_samples: group.n_samples,
            start_from,
            rendezvous: group.rendezvous.map(Into::into),
            boundary,
        })
    }
}

impl From<Boundary> for wire::Boundary {
    fn from(boundary: Boundary) -> Self {
        match boundary {
            Boundary::GoOn => Self::GoOn,
            Boundary::Hold => Self::Hold,
            Boundary::Stop => Self::Stop,
        }
    }
}

impl TryFrom<wire::Boundary> for Boundary {
    type Error = WireError;

    fn try_from(boundary: wire::Boundary) -> Result<Self, WireError> {
        match boundary {
            wire::Boundary::Unspecified => Err(invalid("Group.boundary")(
                &"a boundary this version does not know",
            )),
            wire::Boundary::GoOn => Ok(Self::GoOn),
            wire::Boundary::Hold => Ok(Self::Hold),
            wire::Boundary::Stop => Ok(Self::Stop),
        }
    }
}

impl From<DevicePlacement> for wire::DevicePlacement {
    fn from(placed: DevicePlacement) -> Self {
        Self {
            machine: placed.device.machine.into(),
            device: placed.device.index.0,
            ranks: placed.ranks.into_iter().map(|rank| rank.0).collect(),
        }
    }
}

impl TryFrom<wire::DevicePlacement> for DevicePlacement {
    type Error = WireError;

    fn try_from(placed: wire::DevicePlacement) -> Result<Self, WireError> {
        if placed.ranks.is_empty() {
            return Err(invalid("DevicePlacement.ranks")(&"a device without ranks"));
        }
        Ok(Self {
            device: DeviceId {
                machine: placed
                    .machine
                    .parse()
                    .map_err(|e| invalid("DevicePlacement.machine")(&e))?,
                index: DeviceIndex(placed.device),
            },
            ranks: placed.ranks.into_iter().map(Rank).collect(),
        })
    }
}

impl From<Outcome> for wire::Outcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Finished => Self::Finished,
            Outcome::Stopped => Self::Stopped,
            Outcome::Failed => Self::Failed,
        }
    }
}

impl TryFrom<wire::Outcome> for Outcome {
    type Error = WireError;

    fn try_from(outcome: wire::Outcome) -> Result<Self, WireError> {
        match outcome {
            wire::Outcome::Unspecified => Err(invalid("Dismiss.outcome")(
                &"an outcome this version does not know",
            )),
            wire::Outcome::Finished => Ok(Self::Finished),
            wire::Outcome::Stopped => Ok(Self::Stopped),
            wire::Outcome::Failed => Ok(Self::Failed),
        }
    }
}
