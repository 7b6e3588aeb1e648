//! A model machine: a daemon that reconciles to its assignment, and trainers that step in lockstep with their group.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use m2t_common::machine_link::{
    Assignment, DataFacts, DeviceFacts, FromMachine, Group, Hello, ToMachine, Work,
};
use m2t_common::manifest::CheckpointName;
use m2t_common::report::{CheckpointReport, News, Rendezvous, StepReport};
use m2t_common::{DeviceId, DeviceIndex, Generation, MachineName, Step};
use m2t_coordinator_core::StreamId;

/// Steps of the run; every third and the last are checkpointed.
pub(crate) const TOTAL: u64 = 12;
const CHECKPOINT_EVERY: u64 = 3;

/// What trainers of one generation share: their collectives. Everything here would be Gloo's.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Where each device of the group stands; a device that is not here has not joined or is gone.
    pub(crate) at: BTreeMap<DeviceId, u64>,
    /// The step they agreed to stop at.
    pub(crate) drain_at: Option<u64>,
}

/// What the machines share.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    pub(crate) groups: BTreeMap<Generation, Shared>,
    /// Checkpoints on the shared disk.
    pub(crate) disk: BTreeSet<u64>,
}

/// A machine; a daemon that is down has no instance.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) name: MachineName,
    pub(crate) stream: Option<StreamId>,
    pub(crate) daemon: Option<Daemon>,
    next_instance: u64,
}

#[derive(Debug)]
pub(crate) struct Daemon {
    instance: u64,
    seen: Generation,
    running: Option<Running>,
}

/// The trainers of one generation on this machine.
#[derive(Debug)]
struct Running {
    generation: Generation,
    group: Group,
    own: Vec<DeviceId>,
    dead: BTreeSet<DeviceId>,
    /// The latest news of each device of each kind: said again after a reconnection.
    said: BTreeMap<(DeviceId, u8), News>,
}

impl Machine {
    pub(crate) fn new(index: usize) -> Self {
        Self {
            name: format!("m{index}").parse().unwrap(),
            stream: None,
            daemon: None,
            next_instance: 1,
        }
    }

    /// Starts the daemon if it is down, and attaches it if it has no stream.
    pub(crate) fn attach(&mut self, stream: StreamId) -> Option<Hello> {
        if self.stream.is_some() {
            return None;
        }
        let instance = self.next_instance;
        let daemon = self.daemon.get_or_insert_with(|| {
            self.next_instance += 1;
            Daemon {
                instance,
                seen: Generation(0),
                running: None,
            }
        });
        self.stream = Some(stream);
        let device = |index| DeviceFacts {
            index: DeviceIndex(index),
            kind: "cpu".into(),
        };
        Some(Hello {
            machine: self.name.clone(),
            version: "1".into(),
            instance: daemon.instance,
            devices: vec![device(0), device(1)],
            address: "10.0.0.1".parse().unwrap(),
        })
    }

    /// The daemon dies, and its trainers with it.
    pub(crate) fn kill(&mut self, cluster: &mut Cluster) -> Option<StreamId> {
        self.end_trainers(cluster);
        self.daemon = None;
        self.stream.take()
    }

    /// A message of the coordinator.
    pub(crate) fn hear(&mut self, message: ToMachine, cluster: &mut Cluster) -> Vec<FromMachine> {
        match message {
            ToMachine::Welcome(_) => {
                let facts = DataFacts {
                    n_samples: 24,
                    fingerprint: "f".into(),
                };
                let mut answer = vec![FromMachine::Ready(facts)];
                answer.extend(self.say_again());
                answer
            }
            ToMachine::Assign(assignment) => self.reconcile(assignment, cluster),
            ToMachine::Refuse { .. } | ToMachine::Dismiss(_) => {
                self.kill(cluster);
                Vec::new()
            }
        }
    }

    fn say_again(&self) -> Vec<FromMachine> {
        let Some(running) = self.daemon.as_ref().and_then(|daemon| daemon.running.as_ref()) else {
            return Vec::new();
        };
        let again = |((device, _), news): (&(DeviceId, u8), &News)| FromMachine::Device {
            generation: running.generation,
            device: device.index,
            news: news.clone(),
        };
        running.said.iter().map(again).collect()
    }

    fn reconcile(&mut self, assignment: Assignment, cluster: &mut Cluster) -> Vec<FromMachine> {
        let Some(daemon) = &mut self.daemon else {
            return Vec::new();
        };
        if assignment.generation < daemon.seen {
            return Vec::new();
        }
        daemon.seen = assignment.generation;
        let same = |running: &Running| running.generation == assignment.generation;
        match assignment.work {
            Work::Idle => self.end_trainers(cluster),
            Work::Train(group) if daemon.running.as_ref().is_some_and(same) => {
                if let Some(running) = &mut daemon.running {
                    running.group.drain |= group.drain;
                    running.group.rendezvous = running.group.rendezvous.take().or(group.rendezvous);
                }
            }
            Work::Train(group) => {
                self.end_trainers(cluster);
                return self.start_trainers(assignment.generation, group, cluster);
            }
        }
        Vec::new()
    }

    fn start_trainers(
        &mut self,
        generation: Generation,
        group: Group,
        cluster: &Cluster,
    ) -> Vec<FromMachine> {
        let own: Vec<DeviceId> = group
            .placement
            .of_machine(&self.name)
            .map(|placed| placed.device.clone())
            .collect();
        let Some(daemon) = &mut self.daemon else {
            return Vec::new();
        };
        let first = group.placement.first().cloned();
        // A late assignment of a generation that is over may name a checkpoint that is deleted by now.
        let missing = group
            .start_from
            .as_ref()
            .is_some_and(|name| !cluster.disk.contains(&name.step().0));
        let mut running = Running {
            generation,
            group,
            dead: if missing {
                own.iter().cloned().collect()
            } else {
                BTreeSet::new()
            },
            own,
            said: BTreeMap::new(),
        };
        let mut news = Vec::new();
        for device in running.own.clone() {
            if missing {
                let reason = "its checkpoint is gone".to_owned();
                news.push(running.say(&device, News::Failed { reason }));
            } else if first.as_ref() == Some(&device) {
                let rendezvous = Rendezvous(generation.0.to_be_bytes().to_vec());
                news.push(running.say(&device, News::Rendezvous { rendezvous }));
            }
        }
        daemon.running = Some(running);
        news
    }

    fn end_trainers(&mut self, cluster: &mut Cluster) {
        let running = self.daemon.as_mut().and_then(|daemon| daemon.running.take());
        if let Some(running) = running
            && let Some(shared) = cluster.groups.get_mut(&running.generation)
        {
            shared.at.retain(|device, _| !running.own.contains(device));
        }
    }

    /// One trainer does the next thing it can.
    pub(crate) fn work(&mut self, which: usize, cluster: &mut Cluster) -> Vec<FromMachine> {
        let Some(running) = self.daemon.as_mut().and_then(|daemon| daemon.running.as_mut()) else {
            return Vec::new();
        };
        let Some(device) = which
            .checked_rem(running.own.len())
            .map(|i| running.own[i].clone())
        else {
            return Vec::new();
        };
        if running.dead.contains(&device) {
            return Vec::new();
        }
        running.work(&device, cluster)
    }

    /// A trainer dies; its daemon sees it at once.
    pub(crate) fn kill_trainer(&mut self, which: usize, cluster: &mut Cluster) -> Vec<FromMachine> {
        let Some(running) = self.daemon.as_mut().and_then(|daemon| daemon.running.as_mut()) else {
            return Vec::new();
        };
        let Some(device) = which
            .checked_rem(running.own.len())
            .map(|i| running.own[i].clone())
        else {
            return Vec::new();
        };
        running.dead.insert(device.clone());
        cluster
            .groups
            .entry(running.generation)
            .or_default()
            .at
            .remove(&device);
        let reason = "killed".to_owned();
        vec![running.say(&device, News::Failed { reason })]
    }
}

impl Running {
    fn say(&mut self, device: &DeviceId, news: News) -> FromMachine {
        let kind = match &news {
            News::Rendezvous { .. } => 0,
            News::Ready { .. } => 1,
            News::Stepped(_) => 2,
            News::Checkpointed(_) | News::CheckpointFailed { .. } => 3,
            News::Stopped { .. } | News::Finished { .. } => 4,
            News::Failed { .. } => 5,
        };
        self.said.insert((device.clone(), kind), news.clone());
        FromMachine::Device {
            generation: self.generation,
            device: device.index,
            news,
        }
    }

    fn work(&mut self, device: &DeviceId, cluster: &mut Cluster) -> Vec<FromMachine> {
        let start = self.group.start_from.as_ref().map_or(0, |name| name.step().0);
        let shared = cluster.groups.entry(self.generation).or_default();
        let Some(&at) = shared.at.get(device) else {
            if self.group.rendezvous.is_none() {
                return Vec::new();
            }
            shared.at.insert(device.clone(), start);
            return vec![self.say(device, News::Ready { step: Step(start) })];
        };
        if self.group.drain && shared.drain_at.is_none() {
            shared.drain_at = shared.at.values().max().copied();
        }
        let all = self
            .group
            .placement
            .devices
            .iter()
            .map(|placed| shared.at.get(&placed.device));
        let lowest = all.min().flatten().copied();
        if at == TOTAL || shared.drain_at == Some(at) {
            return self.end(device, at, cluster);
        }
        // A device commits a step only when every other has computed its part: none is more than one ahead.
        if lowest.is_none_or(|lowest| lowest < at) {
            return Vec::new();
        }
        shared.at.insert(device.clone(), at + 1);
        let mut news = vec![self.say(device, News::Stepped(report(at + 1)))];
        if (at + 1).is_multiple_of(CHECKPOINT_EVERY) {
            news.extend(self.checkpoint(device, at + 1, cluster));
        }
        news
    }

    /// The last things a trainer says; it is not asked twice.
    fn end(&mut self, device: &DeviceId, at: u64, cluster: &mut Cluster) -> Vec<FromMachine> {
        if self.said.contains_key(&(device.clone(), 4)) {
            return Vec::new();
        }
        let mut news = self.checkpoint(device, at, cluster);
        let (step, state_digest) = (Step(at), format!("d{at}"));
        let last = if at == TOTAL {
            News::Finished { step, state_digest }
        } else {
            News::Stopped { step }
        };
        news.push(self.say(device, last));
        news
    }

    fn checkpoint(&mut self, device: &DeviceId, at: u64, cluster: &mut Cluster) -> Vec<FromMachine> {
        if self.group.placement.first() != Some(device) {
            return Vec::new();
        }
        cluster.disk.insert(at);
        vec![self.say(device, News::Checkpointed(checkpoint(at)))]
    }
}

pub(crate) fn checkpoint(step: u64) -> CheckpointReport {
    CheckpointReport {
        name: CheckpointName::new(Step(step)),
        step: Step(step),
        state_digest: format!("d{step}"),
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
        replaced: vec![],
    }
}
