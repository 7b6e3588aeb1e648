//! The devices of the current generation and how far each is.

use std::collections::BTreeMap;

use m2t_common::machine_link::{Boundary, Group, StartFrom};
use m2t_common::report::{Rendezvous, Stage as LoaderStage, StepReport};
use m2t_common::{DeviceId, Generation, MachineName, Placement, Step};

use crate::replicas::Digests;

/// The group of one generation.
#[derive(Debug)]
pub(crate) struct LiveGroup {
    /// Its number.
    pub(crate) generation: Generation,
    /// Which device hosts which ranks.
    pub(crate) placement: Placement,
    /// N.
    pub(crate) n_samples: u64,
    /// The state it starts from.
    pub(crate) start_from: StartFrom,
    /// Where to meet, once the first device said so.
    pub(crate) rendezvous: Option<Rendezvous>,
    /// Digest of the run's final state, once a device did the last step.
    pub(crate) final_digest: Option<String>,
    /// Digests of the whole state, as far as they are not compared yet.
    pub(crate) digests: Digests,
    /// Every device of the placement.
    pub(crate) members: BTreeMap<DeviceId, Member>,
}

/// One device of the group.
#[derive(Debug)]
pub(crate) struct Member {
    /// What it last said it was at.
    pub(crate) stage: Stage,
    /// The last step it reported; at first, the step the generation started at.
    pub(crate) step: Step,
    /// Share of its last step spent waiting for data.
    pub(crate) data_wait: f64,
    /// Where its loader spent most of its time, if that is worth a word.
    pub(crate) bottleneck: Option<LoaderStage>,
    /// Files it waits for whose reading takes long.
    pub(crate) slow_files: Vec<String>,
    /// Its reports of steps that not every device has reported yet.
    pub(crate) reports: BTreeMap<Step, StepReport>,
}

/// What a device of the group is at. It only ever moves down this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Its trainer starts, loads, meets.
    Starting,
    /// It can step, or steps.
    Running,
    /// It left the group and keeps its state.
    Held,
    /// It stopped with the group, with a checkpoint.
    Stopped,
    /// It did the last step of the run.
    Finished,
}

impl LiveGroup {
    /// A group in which no trainer has said anything yet.
    pub(crate) fn new(
        generation: Generation,
        placement: Placement,
        n_samples: u64,
        start_from: StartFrom,
    ) -> Self {
        let start = start_from.step();
        let member = |device: &DeviceId| {
            let member = Member {
                stage: Stage::Starting,
                step: start,
                data_wait: 0.0,
                bottleneck: None,
                slow_files: Vec::new(),
                reports: BTreeMap::new(),
            };
            (device.clone(), member)
        };
        let members = placement
            .devices
            .iter()
            .map(|placed| member(&placed.device))
            .collect();
        Self {
            generation,
            placement,
            n_samples,
            start_from,
            rendezvous: None,
            final_digest: None,
            digests: Digests::default(),
            members,
        }
    }

    /// The step it starts at.
    pub(crate) fn start(&self) -> Step {
        self.start_from.step()
    }

    /// The group as its members are told of it.
    pub(crate) fn to_wire(&self, boundary: Boundary) -> Group {
        Group {
            placement: self.placement.clone(),
            n_samples: self.n_samples,
            start_from: self.start_from.clone(),
            rendezvous: self.rendezvous.clone(),
            boundary,
        }
    }

    /// Whether the group waits for the state of this device, which it kept from that generation: if its trainer is gone, so is that.
    pub(crate) fn counts_on(&self, device: &DeviceId, generation: Generation) -> bool {
        let is_donor = matches!(&self.start_from, StartFrom::Donor { device: donor, .. } if donor == device);
        let is_starting = |member: &Member| member.stage == Stage::Starting;
        is_donor && generation < self.generation && self.members.get(device).is_some_and(is_starting)
    }

    /// Whether a machine hosts any of its devices.
    pub(crate) fn has_machine(&self, machine: &MachineName) -> bool {
        self.placement.of_machine(machine).next().is_some()
    }

    /// Whether a machine hosts a device that still has something to do.
    pub(crate) fn needs_machine(&self, machine: &MachineName) -> bool {
        let mut own = self
            .members
            .iter()
            .filter(|(device, _)| device.machine == *machine);
        own.any(|(_, member)| member.stage < Stage::Held)
    }

    /// The devices that have not reached `stage`.
    pub(crate) fn before(&self, stage: Stage) -> Vec<DeviceId> {
        let behind = self.members.iter().filter(|(_, member)| member.stage < stage);
        behind.map(|(device, _)| device.clone()).collect()
    }
}
