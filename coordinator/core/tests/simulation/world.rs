//! Everything in one struct: the coordinator, machines, network, disk, clock. Actions resolve to what is possible now.

use m2t_common::Timestamp;
use m2t_common::machine_link::{FromMachine, Outcome};
use m2t_common::order::Order;
use m2t_coordinator_core::{Input, StreamId, Ticket};

use crate::action::Action;
use crate::history::Setting;
use crate::invariants::Violation;
use crate::machine::{DEVICES, Machine};
use crate::mutations::Mutation;
use crate::network::{Network, Packet};
use crate::shell::Shell;
use crate::trainer::Cluster;

/// What chaos reached.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) steps: u64,
    pub(crate) generations: u64,
    pub(crate) from_checkpoint: u64,
    pub(crate) from_memory: u64,
    /// Coordinators that found their generation at work.
    pub(crate) went_on: u64,
    pub(crate) crashes: u64,
    pub(crate) set_aside: u64,
}

impl Seen {
    pub(crate) fn add(&mut self, more: Self) {
        self.steps += more.steps;
        self.generations += more.generations;
        self.from_checkpoint += more.from_checkpoint;
        self.from_memory += more.from_memory;
        self.went_on += more.went_on;
        self.crashes += more.crashes;
        self.set_aside += more.set_aside;
    }
}

#[derive(Debug)]
pub(crate) struct World {
    shell: Shell,
    now: u64,
    machines: Vec<Machine>,
    network: Network,
    cluster: Cluster,
    next_stream: u64,
    next_ticket: u64,
}

impl World {
    pub(crate) fn new(setting: &Setting, mutation: Option<Mutation>) -> Self {
        let mut world = Self {
            shell: Shell::new(setting, mutation),
            now: 1_000,
            machines: (0..setting.n_machines).map(Machine::new).collect(),
            network: Network::default(),
            cluster: Cluster {
                total: setting.total,
                ..Cluster::default()
            },
            next_stream: 0,
            next_ticket: 0,
        };
        world.start();
        world
    }

    /// What was seen, or what was wrong.
    pub(crate) fn end(self) -> Result<Seen, Vec<Violation>> {
        if self.shell.is_broken() {
            Err(self.shell.broken)
        } else {
            Ok(self.shell.seen)
        }
    }

    pub(crate) fn act(&mut self, action: Action) {
        if self.shell.is_broken() {
            return;
        }
        let n = self.machines.len();
        let pick = |index: u8| usize::from(index) % n;
        match action {
            Action::Deliver(index) => {
                if let Some(packet) = self.network.take(index.into()) {
                    self.deliver(packet);
                }
            }
            Action::Repeat(index) => self.network.repeat(index.into()),
            Action::Lose(index) => self.network.lose(index.into()),
            Action::Work(index) => {
                let news = self.machines[pick(index)].work(usize::from(index) / n, &mut self.cluster);
                self.say(pick(index), news);
            }
            Action::Heartbeat(index) => self.say(pick(index), vec![FromMachine::Heartbeat]),
            Action::Attach(index) => self.attach(pick(index)),
            Action::BreakStream(index) => {
                if let Some(stream) = self.machines[pick(index)].stream {
                    self.network.break_stream(stream);
                }
            }
            Action::KillTrainer(index) => {
                let news = self.machines[pick(index)].kill_trainer(usize::from(index) / n, &mut self.cluster);
                self.say(pick(index), news);
            }
            Action::KillDaemon(index) => {
                if let Some(stream) = self.machines[pick(index)].kill(&mut self.cluster) {
                    self.network.break_stream(stream);
                }
            }
            Action::Leave(index) => self.say(pick(index), vec![FromMachine::Leaving]),
            Action::Round => self.round(),
            Action::Verify => self.verify(),
            Action::Advance(milliseconds) => {
                self.now += milliseconds;
                self.input(&Input::Tick);
            }
            Action::CrashCoordinator(after) => self.shell.fuse = Some(after),
            Action::StopCoordinator => self.input(&Input::Stop),
            Action::Order(choice) => self.order(choice, pick(choice)),
        }
        if self
            .shell
            .ended
            .is_some_and(|outcome| outcome != Outcome::Finished)
        {
            self.restart();
        }
    }

    /// Everything works from now on, and people start what is down: the run must finish.
    pub(crate) fn heal_and_finish(&mut self) {
        self.shell.fuse = None;
        for _ in 0..2_000 {
            if self.shell.is_broken() {
                return;
            }
            match self.shell.ended {
                Some(Outcome::Finished) => return self.shell.over(&self.cluster),
                Some(Outcome::Stopped | Outcome::Failed) => self.restart(),
                None => self.ask(Order::Resume),
            }
            for machine in 0..self.machines.len() {
                self.ask(Order::Readmit(self.machines[machine].name.clone()));
            }
            self.round();
        }
        let what = format!("{:#?}\n{:#?}", self.shell.status(), self.machines);
        self.shell.fail("progress", what);
    }

    fn order(&mut self, choice: u8, machine: usize) {
        self.ask(match choice % 5 {
            0 => Order::Pause,
            1 => Order::Resume,
            2 => Order::Stop,
            3 => Order::Readmit(self.machines[machine].name.clone()),
            _ => Order::Drain(self.machines[machine].name.clone()),
        });
    }

    fn ask(&mut self, order: Order) {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.input(&Input::Order { ticket, order });
    }

    /// All that can happen happens once; when it is nothing, time passes.
    fn round(&mut self) {
        let mut idle = true;
        for machine in 0..self.machines.len() {
            self.attach(machine);
            for device in 0..DEVICES {
                let news = self.machines[machine].work(device, &mut self.cluster);
                idle &= news.is_empty();
                self.say(machine, news);
            }
        }
        while !self.shell.verifying.is_empty() {
            self.verify();
        }
        idle &= self.network.is_empty();
        self.deliver_all();
        if idle {
            self.now += 500;
            for machine in 0..self.machines.len() {
                self.say(machine, vec![FromMachine::Heartbeat]);
            }
            self.deliver_all();
            self.input(&Input::Tick);
        }
    }

    /// Everything arrives in order, answers too. They must come to an end: nobody may answer answers for ever.
    fn deliver_all(&mut self) {
        for _ in 0..10_000 {
            let Some(packet) = self.network.take_first() else {
                return;
            };
            self.deliver(packet);
        }
        let what = format!("messages beget messages: {:?}", self.network);
        self.shell.fail("silence", what);
    }

    fn attach(&mut self, machine: usize) {
        let stream = StreamId(self.next_stream);
        if let Some(hello) = self.machines[machine].attach(stream) {
            self.next_stream += 1;
            self.network.send(Packet::Up(stream, FromMachine::Hello(hello)));
        }
    }

    fn say(&mut self, machine: usize, messages: Vec<FromMachine>) {
        if let Some(stream) = self.machines[machine].stream {
            for message in messages {
                self.network.send(Packet::Up(stream, message));
            }
        }
    }

    fn deliver(&mut self, packet: Packet) {
        match packet {
            Packet::Up(stream, message) => self.input(&Input::Message { stream, message }),
            Packet::UpEnded(stream) => self.input(&Input::StreamEnded { stream }),
            Packet::Down(stream, message) => {
                let Some(machine) = self
                    .machines
                    .iter()
                    .position(|machine| machine.stream == Some(stream))
                else {
                    return;
                };
                let answer = self.machines[machine].hear(message, &mut self.cluster);
                self.say(machine, answer);
            }
            Packet::DownEnded(stream) => {
                for machine in self
                    .machines
                    .iter_mut()
                    .filter(|machine| machine.stream == Some(stream))
                {
                    machine.stream = None;
                }
            }
        }
    }

    fn verify(&mut self) {
        if let Some(report) = self.shell.verifying.pop() {
            self.input(&Input::CheckpointVerified(report));
        }
    }

    fn input(&mut self, input: &Input) {
        let now = Timestamp(self.now);
        self.shell.input(now, input, &mut self.network, &mut self.cluster);
        if self.shell.crashed {
            self.restart();
        }
    }

    /// The coordinator starts, after a crash or an exit.
    fn restart(&mut self) {
        let streams: Vec<StreamId> = self
            .machines
            .iter()
            .filter_map(|machine| machine.stream)
            .collect();
        self.network.coordinator_crashed(streams.into_iter());
        self.start();
    }

    fn start(&mut self) {
        let now = Timestamp(self.now);
        self.shell.start(now, &mut self.network, &mut self.cluster);
    }
}
