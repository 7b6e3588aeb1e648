//! One machine as the core knows it.

use m2t_common::machine_link::Hello;
use m2t_common::{DeviceId, MachineName, Timestamp};

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
    /// It can train.
    Ready,
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

    /// The devices a generation may use now: those of a machine that can train and can be told so.
    pub(crate) fn available(&self) -> impl Iterator<Item = DeviceId> {
        let usable = self.standing == Standing::Ready && self.stream().is_some();
        let devices = if usable {
            self.hello.devices.as_slice()
        } else {
            &[]
        };
        devices.iter().map(|device| DeviceId {
            machine: self.hello.machine.clone(),
            index: device.index,
        })
    }

    /// Its name.
    pub(crate) fn name(&self) -> &MachineName {
        &self.hello.machine
    }
}
