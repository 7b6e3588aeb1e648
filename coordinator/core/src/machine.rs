//! One machine as the core knows it.

use std::collections::BTreeMap;

use m2t_common::machine_link::{DataFacts, Hello};
use m2t_common::{DeviceId, DeviceIndex, MachineName, Timestamp};

use crate::input::StreamId;

/// A machine that introduced itself.
#[derive(Debug)]
pub(crate) struct Machine {
    /// What its daemon said.
    pub(crate) hello: Hello,
    /// Its connection.
    pub(crate) link: Link,
    /// What it can and wants to do.
    pub(crate) standing: Standing,
    /// When it last gave a sign of life.
    pub(crate) heard: Timestamp,
    /// Whether its last welcome named the data set the run is bound to: then it must know better than to be ready with another.
    pub(crate) told_data: bool,
    /// Its trainers that are in no group; one that is not here starts, or trains.
    pub(crate) idle: BTreeMap<DeviceIndex, Idle>,
}

/// A trainer that is in no group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Idle {
    /// It lives and waits for a group.
    Warm,
    /// It failed; its daemon starts another.
    Failed,
}

/// A machine's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// It speaks on this stream.
    Up(StreamId),
    /// Its stream ended; its daemon may come back until then.
    Down {
        /// When it counts as lost.
        until: Timestamp,
    },
}

/// What a machine can and wants to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Looking at data and output folder.
    Checking,
    /// It can train, on these data.
    Ready(DataFacts),
    /// It cannot train this run.
    Unable {
        /// Why, in its words.
        reason: String,
    },
    /// It wants to leave.
    Leaving,
}

impl Machine {
    /// The stream to it, if there is one.
    pub(crate) fn stream(&self) -> Option<StreamId> {
        match self.link {
            Link::Up(stream) => Some(stream),
            Link::Down { .. } => None,
        }
    }

    /// What it can train on, if it can and can be told so.
    pub(crate) fn data(&self) -> Option<&DataFacts> {
        match &self.standing {
            Standing::Ready(facts) if self.stream().is_some() => Some(facts),
            _ => None,
        }
    }

    /// Its devices.
    pub(crate) fn devices(&self) -> impl Iterator<Item = DeviceId> {
        self.hello.devices.iter().map(|device| DeviceId {
            machine: self.hello.machine.clone(),
            index: device.index,
        })
    }

    /// Its devices whose trainers wait for a group.
    pub(crate) fn warm(&self) -> impl Iterator<Item = DeviceId> {
        self.devices()
            .filter(|device| self.idle.get(&device.index) == Some(&Idle::Warm))
    }

    /// Its name.
    pub(crate) fn name(&self) -> &MachineName {
        &self.hello.machine
    }
}
