//! A model trainer: it steps in lockstep with its group, keeps its state over generations, and gives it to those behind.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use m2t_common::machine_link::{Boundary, Group, StartFrom};
use m2t_common::manifest::CheckpointName;
use m2t_common::report::{CheckpointCost, CheckpointReport, News, Rendezvous, StepReport};
use m2t_common::{DeviceId, Generation, Step};

use crate::machine::members;

/// Every third step and the last are checkpointed.
const CHECKPOINT_EVERY: u64 = 3;

/// What trainers of one generation share: their collectives. Everything here would be Gloo's.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Where each device of the group stands, once its state is whole.
    at: BTreeMap<DeviceId, u64>,
    /// Who has met.
    met: BTreeSet<DeviceId>,
    /// Somebody left.
    broken: bool,
    /// What they agreed on, and the step to do it at.
    agreed: Option<(u64, Boundary)>,
}

/// What the machines share.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    pub(crate) groups: BTreeMap<Generation, Shared>,
    /// Steps of the run.
    pub(crate) total: u64,
    /// Checkpoints on the shared disk.
    pub(crate) disk: BTreeSet<u64>,
}

/// A trainer's process.
#[derive(Debug)]
pub(crate) struct Process {
    device: DeviceId,
    /// The newest generation it was in.
    pub(crate) generation: Generation,
    /// The step of its whole state, if it has one.
    pub(crate) state: Option<u64>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Loading what takes time.
    Preparing,
    /// In no group.
    Idle,
    /// In a group, on the way to the first step.
    Meeting { group: Group, said: bool },
    /// Stepping.
    Stepping { group: Group },
    /// It said its last word and is gone.
    Done,
}

impl Process {
    pub(crate) fn new(device: &DeviceId) -> Self {
        Self {
            device: device.clone(),
            generation: Generation(0),
            state: None,
            stage: Stage::Preparing,
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self.stage, Stage::Done)
    }

    /// Whether it stands by.
    pub(crate) fn is_warm(&self) -> bool {
        matches!(self.stage, Stage::Idle)
    }

    /// It is told to be in a group. Its state is of use only where the generation starts from one.
    pub(crate) fn start(&mut self, generation: Generation, group: Group) {
        self.generation = generation;
        match &group.start_from {
            StartFrom::Donor { step, .. } => self.state = self.state.filter(|state| *state == step.0),
            StartFrom::Initial | StartFrom::Checkpoint(_) => self.state = None,
        }
        self.stage = Stage::Meeting { group, said: false };
    }

    /// The assignment of its generation again: what is told only ever grows.
    pub(crate) fn catch_up(&mut self, generation: Generation, newer: &Group) {
        if generation != self.generation {
            return;
        }
        if let Stage::Meeting { group, .. } | Stage::Stepping { group } = &mut self.stage {
            group.boundary = group.boundary.max(newer.boundary);
            group.rendezvous = group.rendezvous.take().or_else(|| newer.rendezvous.clone());
        }
    }

    /// It leaves its group, if it is in one, and says where it stands.
    pub(crate) fn hold(&mut self, cluster: &mut Cluster) -> Option<News> {
        match self.stage {
            Stage::Meeting { .. } | Stage::Stepping { .. } => Some(self.leave(cluster, None)),
            Stage::Preparing | Stage::Idle | Stage::Done => None,
        }
    }

    fn leave(&mut self, cluster: &mut Cluster, broken: Option<String>) -> News {
        cluster.groups.entry(self.generation).or_default().broken = true;
        self.stage = Stage::Idle;
        match self.state {
            Some(step) => News::Held {
                step: Step(step),
                broken,
            },
            None => News::Warm,
        }
    }

    /// It is gone, with all it had.
    pub(crate) fn die(&mut self, cluster: &mut Cluster) {
        if matches!(self.stage, Stage::Meeting { .. } | Stage::Stepping { .. }) {
            cluster.groups.entry(self.generation).or_default().broken = true;
        }
        self.stage = Stage::Done;
    }

    /// The next thing it can do, and what it says of it.
    pub(crate) fn work(&mut self, cluster: &mut Cluster) -> Vec<News> {
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Preparing => vec![News::Warm],
            Stage::Idle => Vec::new(),
            Stage::Done => {
                self.stage = Stage::Done;
                Vec::new()
            }
            Stage::Meeting { group, said } => self.meet(group, said, cluster),
            Stage::Stepping { group } => self.step(group, cluster),
        }
    }

    fn meet(&mut self, group: Group, said: bool, cluster: &mut Cluster) -> Vec<News> {
        let shared = cluster.groups.entry(self.generation).or_default();
        if shared.broken {
            self.stage = Stage::Meeting { group, said };
            return vec![self.leave(cluster, Some("a peer is gone".to_owned()))];
        }
        if !said && group.placement.first() == Some(&self.device) {
            let rendezvous = Rendezvous(self.generation.0.to_be_bytes().to_vec());
            self.stage = Stage::Meeting { group, said: true };
            return vec![News::Rendezvous { rendezvous }];
        }
        if group.rendezvous.is_none() {
            self.stage = Stage::Meeting { group, said };
            return Vec::new();
        }
        if shared.met.insert(self.device.clone()) {
            if let StartFrom::Donor { device, step, .. } = &group.start_from
                && *device == self.device
                && self.state != Some(step.0)
            {
                // The trainer that had the state died when the word of it was under way.
                self.die(cluster);
                cluster.groups.entry(self.generation).or_default().broken = true;
                let reason = "there is no state to give".to_owned();
                return vec![News::Failed { reason }];
            }
            self.stage = Stage::Meeting { group, said };
            return Vec::new();
        }
        if !members(&group).is_subset(&shared.met) {
            self.stage = Stage::Meeting { group, said };
            return Vec::new();
        }
        self.begin(group, cluster)
    }

    /// All have met: the state is read, or comes from the donor.
    fn begin(&mut self, group: Group, cluster: &mut Cluster) -> Vec<News> {
        if let StartFrom::Checkpoint(name) = &group.start_from
            && !cluster.disk.contains(&name.step().0)
        {
            // A late start of a generation that is over may name a checkpoint that is deleted by now.
            self.die(cluster);
            cluster.groups.entry(self.generation).or_default().broken = true;
            let reason = "its checkpoint is gone".to_owned();
            return vec![News::Failed { reason }];
        }
        let step = group.start_from.step();
        self.state = Some(step.0);
        let shared = cluster.groups.entry(self.generation).or_default();
        shared.at.insert(self.device.clone(), step.0);
        self.stage = Stage::Stepping { group };
        vec![News::Ready { step }]
    }

    fn step(&mut self, group: Group, cluster: &mut Cluster) -> Vec<News> {
        let at = self.state.unwrap();
        let shared = cluster.groups.entry(self.generation).or_default();
        if group.boundary > Boundary::GoOn && shared.agreed.is_none() {
            shared.agreed = shared.at.values().max().map(|at| (*at, group.boundary));
        }
        let ends = at == cluster.total || shared.agreed.is_some_and(|(step, _)| step == at);
        if ends {
            return self.end(group, at, cluster);
        }
        // A device commits a step only when every other has computed its part: none is more than one ahead.
        let everywhere = members(&group)
            .iter()
            .map(|device| shared.at.get(device).copied())
            .min()
            .flatten();
        if everywhere.is_none_or(|lowest| lowest < at) {
            self.stage = Stage::Stepping { group };
            let broken = shared.broken;
            return if broken {
                vec![self.leave(cluster, Some("a peer is gone".to_owned()))]
            } else {
                Vec::new()
            };
        }
        // A peer that is gone is missed by whoever still needs it for this step.
        if shared.broken && everywhere == Some(at) {
            self.stage = Stage::Stepping { group };
            return vec![self.leave(cluster, Some("a peer is gone".to_owned()))];
        }
        shared.at.insert(self.device.clone(), at + 1);
        self.state = Some(at + 1);
        let mut news = vec![News::Stepped(report(at + 1))];
        if (at + 1).is_multiple_of(CHECKPOINT_EVERY) {
            news.extend(self.checkpoint(&group, at + 1, cluster));
        }
        self.stage = Stage::Stepping { group };
        news
    }

    /// All stop after the same step. A checkpoint that must be is awaited by all before they go.
    fn end(&mut self, group: Group, at: u64, cluster: &mut Cluster) -> Vec<News> {
        let shared = cluster.groups.entry(self.generation).or_default();
        let (broken, agreed) = (shared.broken, shared.agreed);
        let step = Step(at);
        if at < cluster.total && agreed.is_some_and(|(_, boundary)| boundary == Boundary::Hold) {
            return vec![News::Held { step, broken: None }];
        }
        let mut news = self.checkpoint(&group, at, cluster);
        if !cluster.disk.contains(&at) {
            self.stage = Stage::Stepping { group };
            return if broken {
                vec![self.leave(cluster, Some("a peer is gone".to_owned()))]
            } else {
                Vec::new()
            };
        }
        self.stage = Stage::Done;
        let state_digest = format!("d{at}");
        news.push(if at == cluster.total {
            News::Finished { step, state_digest }
        } else {
            News::Stopped { step }
        });
        news
    }

    fn checkpoint(&self, group: &Group, at: u64, cluster: &mut Cluster) -> Vec<News> {
        if group.placement.first() != Some(&self.device) {
            return Vec::new();
        }
        cluster.disk.insert(at);
        vec![News::Checkpointed(checkpoint(at))]
    }
}

pub(crate) fn checkpoint(step: u64) -> CheckpointReport {
    CheckpointReport {
        name: CheckpointName::new(Step(step)),
        step: Step(step),
        state_digest: format!("d{step}"),
        cost: CheckpointCost::default(),
    }
}

fn report(step: u64) -> StepReport {
    StepReport {
        step: Step(step),
        loss: 1.0 / step as f64,
        loss_by_rank: vec![1.0; 4],
        gradient_norm: 1.0,
        duration: Duration::from_millis(100),
        data_wait: Duration::from_millis(1),
        bottleneck: None,
        replaced: vec![],
        state_digest: None,
        samples: vec![],
    }
}
