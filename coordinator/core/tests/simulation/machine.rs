//! A model machine: a daemon that reconciles to its assignment, and one trainer a device that outlives generations.

use std::collections::BTreeSet;

use m2t_common::machine_link::{
    Assignment, DataFacts, DeviceFacts, FromMachine, Group, Hello, ToMachine, Work,
};
use m2t_common::report::News;
use m2t_common::{DeviceId, DeviceIndex, Generation, MachineName};
use m2t_coordinator_core::StreamId;

use crate::trainer::{Cluster, Process};

/// Devices a machine has.
pub(crate) const DEVICES: usize = 2;

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
    /// Whether the coordinator answered on the present stream; until then news are kept.
    admitted: bool,
    seen: Generation,
    work: Work,
    seats: Vec<Seat>,
}

/// A device, its trainer, and what was said of it last.
#[derive(Debug)]
struct Seat {
    device: DeviceId,
    process: Option<Process>,
    /// What was said in the generation of the log.
    log: Vec<News>,
    of: Generation,
    /// The newest generation a trainer was started in; none is started in it again.
    started: Generation,
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
        let (instance, name) = (self.next_instance, self.name.clone());
        let daemon = self.daemon.get_or_insert_with(|| {
            self.next_instance += 1;
            Daemon::new(instance, &name)
        });
        self.stream = Some(stream);
        daemon.admitted = false;
        let device = |index| DeviceFacts {
            index: DeviceIndex(index),
            kind: "cpu".into(),
        };
        let living = |seat: &Seat| {
            let process = seat.process.as_ref()?;
            (process.generation > Generation(0)).then_some((seat.device.index, process.generation))
        };
        Some(Hello {
            machine: self.name.clone(),
            version: "1".into(),
            instance: daemon.instance,
            devices: vec![device(0), device(1)],
            address: "10.0.0.1".parse().unwrap(),
            trainers: daemon.seats.iter().filter_map(living).collect(),
        })
    }

    /// The daemon dies, and its trainers with it.
    pub(crate) fn kill(&mut self, cluster: &mut Cluster) -> Option<StreamId> {
        if let Some(daemon) = &mut self.daemon {
            daemon.end_all(cluster);
        }
        self.daemon = None;
        self.stream.take()
    }

    /// A message of the coordinator.
    pub(crate) fn hear(&mut self, message: ToMachine, cluster: &mut Cluster) -> Vec<FromMachine> {
        let Some(daemon) = &mut self.daemon else {
            return Vec::new();
        };
        match message {
            ToMachine::Welcome(_) => {
                daemon.admitted = true;
                let facts = DataFacts {
                    n_samples: 24,
                    fingerprint: "f".into(),
                };
                let mut answer = vec![FromMachine::Ready(facts)];
                answer.extend(daemon.say_again());
                answer
            }
            ToMachine::Assign(assignment) => daemon.reconcile(assignment, cluster),
            ToMachine::Refuse { .. } | ToMachine::Dismiss(_) => {
                self.kill(cluster);
                Vec::new()
            }
        }
    }

    /// One trainer does the next thing it can.
    pub(crate) fn work(&mut self, which: usize, cluster: &mut Cluster) -> Vec<FromMachine> {
        let Some(daemon) = &mut self.daemon else {
            return Vec::new();
        };
        let seat = &mut daemon.seats[which % DEVICES];
        let news = seat
            .process
            .as_mut()
            .map(|process| process.work(cluster))
            .unwrap_or_default();
        let said: Vec<FromMachine> = news.into_iter().map(|news| seat.say(news)).collect();
        if seat.process.as_ref().is_some_and(Process::is_done) {
            seat.process = None;
        }
        daemon.send(said)
    }

    /// A trainer dies; its daemon sees it at once.
    pub(crate) fn kill_trainer(&mut self, which: usize, cluster: &mut Cluster) -> Vec<FromMachine> {
        let Some(daemon) = &mut self.daemon else {
            return Vec::new();
        };
        let seen = daemon.seen;
        let seat = &mut daemon.seats[which % DEVICES];
        let Some(mut process) = seat.process.take() else {
            return Vec::new();
        };
        process.die(cluster);
        if process.generation < seen {
            (seat.of, seat.log) = (seen, Vec::new());
        }
        let reason = "killed".to_owned();
        let said = vec![seat.say(News::Failed { reason })];
        daemon.send(said)
    }
}

impl Daemon {
    fn new(instance: u64, machine: &MachineName) -> Self {
        let seat = |index| Seat {
            device: DeviceId {
                machine: machine.clone(),
                index: DeviceIndex(index),
            },
            process: None,
            log: Vec::new(),
            of: Generation(0),
            started: Generation(0),
        };
        Self {
            instance,
            admitted: false,
            seen: Generation(0),
            work: Work::Idle,
            seats: vec![seat(0), seat(1)],
        }
    }

    fn send(&self, said: Vec<FromMachine>) -> Vec<FromMachine> {
        if self.admitted { said } else { Vec::new() }
    }

    fn end_all(&mut self, cluster: &mut Cluster) {
        for seat in &mut self.seats {
            if let Some(mut process) = seat.process.take() {
                process.die(cluster);
            }
        }
    }

    /// Everything kept is said again, with the generation it is of.
    fn say_again(&self) -> Vec<FromMachine> {
        let mut said = Vec::new();
        for seat in &self.seats {
            said.extend(seat.log.iter().map(|news| seat.message(news.clone())));
            if seat.process.as_ref().is_some_and(Process::is_warm) {
                said.push(seat.message(News::Warm));
            }
        }
        said
    }

    fn reconcile(&mut self, assignment: Assignment, cluster: &mut Cluster) -> Vec<FromMachine> {
        if assignment.generation < self.seen {
            return Vec::new();
        }
        (self.seen, self.work) = (assignment.generation, assignment.work);
        if self.work == Work::Idle {
            self.end_all(cluster);
            return Vec::new();
        }
        let mut said = Vec::new();
        for seat in &mut self.seats {
            said.extend(match &self.work {
                Work::Train(group) if group.placement.index_of(&seat.device).is_some() => {
                    seat.train(self.seen, group, cluster)
                }
                _ => seat.stand_by(cluster),
            });
        }
        self.send(said)
    }
}

impl Seat {
    fn message(&self, news: News) -> FromMachine {
        FromMachine::Device {
            generation: self.of,
            device: self.device.index,
            news,
        }
    }

    fn say(&mut self, news: News) -> FromMachine {
        if news != News::Warm {
            self.log.push(news.clone());
        }
        self.message(news)
    }

    /// The device has a trainer that is in no group.
    fn stand_by(&mut self, cluster: &mut Cluster) -> Vec<FromMachine> {
        let Some(process) = &mut self.process else {
            self.process = Some(Process::new(&self.device));
            return Vec::new();
        };
        let news = process.hold(cluster);
        news.into_iter().map(|news| self.say(news)).collect()
    }

    /// The device has a trainer in this group, unless one failed in it.
    fn train(&mut self, generation: Generation, group: &Group, cluster: &mut Cluster) -> Vec<FromMachine> {
        let mut said = Vec::new();
        if self.started < generation {
            let process = self.process.get_or_insert_with(|| Process::new(&self.device));
            // Inside an older group it leaves that first.
            let news = process.hold(cluster);
            process.start(generation, group.clone());
            said.extend(news.into_iter().map(|news| self.say(news)));
            (self.started, self.of, self.log) = (generation, generation, Vec::new());
        } else if let Some(process) = &mut self.process {
            process.catch_up(generation, group);
        }
        said
    }
}

/// The devices of a placement.
pub(crate) fn members(group: &Group) -> BTreeSet<DeviceId> {
    group
        .placement
        .devices
        .iter()
        .map(|placed| placed.device.clone())
        .collect()
}
