//! Everything in one struct: core, journal, machines, network, disk, clock. Actions resolve to what is possible now.

use m2t_common::ledger::audit;
use m2t_common::machine_link::{FromMachine, Outcome, StartFrom};
use m2t_common::order::Order;
use m2t_common::recipe::resolve;
use m2t_common::recipe::written::Source;
use m2t_common::report::CheckpointReport;
use m2t_common::{Generation, Timestamp};
use m2t_coordinator_core::{
    Core, DiskFacts, Effect, FoundCheckpoint, Input, Notice, Record, Settings, StreamId, Ticket,
};

use crate::invariants::Ledger;
use crate::machine::{DEVICES, Machine};
use crate::network::{Network, Packet};
use crate::trainer::{Cluster, checkpoint};

/// One thing that happens. Numbers choose among what there is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    /// A packet arrives, not necessarily the oldest.
    Deliver(u8),
    /// A packet is doubled.
    Repeat(u8),
    /// A packet is lost.
    Lose(u8),
    /// A trainer does the next thing.
    Work(u8),
    /// A daemon gives a sign of life.
    Heartbeat(u8),
    /// A daemon starts, or attaches again.
    Attach(u8),
    /// A stream breaks.
    BreakStream(u8),
    /// A trainer dies.
    KillTrainer(u8),
    /// A daemon dies with its trainers.
    KillDaemon(u8),
    /// A daemon wants to leave.
    Leave(u8),
    /// For a moment all goes well: everything under way arrives in order, every trainer does one thing.
    Round,
    /// The shell finished verifying a checkpoint.
    Verify,
    /// Time passes.
    Advance(u64),
    /// The coordinator crashes after so many effects of the next input, and starts again.
    CrashCoordinator(usize),
    /// The coordinator is asked to stop.
    StopCoordinator,
    /// An operator asks something.
    Order(u8),
}

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
}

impl Seen {
    pub(crate) fn add(&mut self, more: Self) {
        self.steps += more.steps;
        self.generations += more.generations;
        self.from_checkpoint += more.from_checkpoint;
        self.from_memory += more.from_memory;
        self.went_on += more.went_on;
        self.crashes += more.crashes;
    }
}

#[derive(Debug)]
pub(crate) struct World {
    settings: Settings,
    core: Core,
    journal: Vec<Record>,
    now: u64,
    machines: Vec<Machine>,
    network: Network,
    cluster: Cluster,
    verifying: Vec<CheckpointReport>,
    next_stream: u64,
    next_ticket: u64,
    answered: Option<Ticket>,
    /// The coordinator crashes after so many more effects.
    fuse: Option<usize>,
    ended: Option<Outcome>,
    recovering: bool,
    ledger: Ledger,
    seen: Seen,
}

impl World {
    pub(crate) fn new(n_machines: usize, min_devices: u32, total: u64) -> Self {
        let toml = format!(
            "world = 4\nbatch = 8\nsteps = {total}\nwarmup_epochs = 1\n[run]\nkeep_checkpoints = 2\nrestarts = 3"
        );
        let toml = toml.as_str();
        let settings = Settings {
            recipe: resolve(Source::Experiment { name: "test", toml }, &[], None).unwrap(),
            min_devices,
            replace_wait: std::time::Duration::ZERO,
            data: "/data".into(),
            output: "/output".into(),
            probe: "probe".into(),
            version: "1".into(),
        };
        let mut world = Self {
            core: Core::new(settings.clone(), Vec::new()).unwrap(),
            settings,
            journal: Vec::new(),
            now: 1_000,
            machines: (0..n_machines).map(Machine::new).collect(),
            network: Network::default(),
            cluster: Cluster {
                total,
                ..Cluster::default()
            },
            verifying: Vec::new(),
            next_stream: 0,
            next_ticket: 0,
            answered: None,
            fuse: None,
            ended: None,
            recovering: false,
            ledger: Ledger::new(total),
            seen: Seen::default(),
        };
        world.input(Input::Started(DiskFacts::default()));
        world
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen
    }

    pub(crate) fn act(&mut self, action: Action) {
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
                self.input(Input::Tick);
            }
            Action::CrashCoordinator(after) => self.fuse = Some(after),
            Action::StopCoordinator => self.input(Input::Stop),
            Action::Order(choice) => self.order(choice, pick(choice)),
        }
        if self.ended.is_some_and(|outcome| outcome != Outcome::Finished) {
            self.restart();
        }
    }

    /// Everything works from now on, and people start what is down: the run must finish.
    pub(crate) fn heal_and_finish(&mut self) {
        self.fuse = None;
        for _ in 0..2_000 {
            match self.ended {
                Some(Outcome::Finished) => return self.check_finished(),
                Some(Outcome::Stopped | Outcome::Failed) => self.restart(),
                None => self.ask(Order::Resume),
            }
            for machine in 0..self.machines.len() {
                self.ask(Order::Readmit(self.machines[machine].name.clone()));
            }
            self.round();
        }
        panic!("no progress: {:#?}\n{:#?}", self.core.status(), self.machines);
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

    /// Asks, and checks that the answer came before anything else, unless the coordinator crashed.
    fn ask(&mut self, order: Order) {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let crashes = self.seen.crashes;
        let ended = self.ended.is_some();
        self.input(Input::Order { ticket, order });
        let answered = self.answered == Some(ticket);
        assert!(answered || ended || self.seen.crashes > crashes, "no answer");
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
        while !self.verifying.is_empty() {
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
            self.input(Input::Tick);
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
        panic!("messages beget messages: {:?}", self.network);
    }

    fn check_finished(&self) {
        assert!(
            matches!(self.journal.last(), Some(Record::Finished { .. })),
            "{:?}",
            self.journal.last()
        );
        assert!(self.cluster.disk.contains(&self.cluster.total));
        // Whatever happened, each position of each epoch counted once, and who did it is known.
        let account = self.core.account();
        let plan = self.settings.recipe.plan(account.n_samples).unwrap();
        let proof = audit(&account.ledger, &plan.shards).unwrap();
        assert_eq!(proof.steps, self.cluster.total);
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
            Packet::Up(stream, message) => self.input(Input::Message { stream, message }),
            Packet::UpEnded(stream) => self.input(Input::StreamEnded { stream }),
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
        if let Some(report) = self.verifying.pop() {
            assert!(self.cluster.disk.contains(&report.step.0));
            self.input(Input::CheckpointVerified(report));
        }
    }

    /// Hands an input to the core and carries out its effects, unless the fuse burns down in between.
    fn input(&mut self, input: Input) {
        if self.ended.is_some() {
            return;
        }
        let mut effects = Vec::new();
        self.core.handle(Timestamp(self.now), input, &mut effects);
        for effect in effects {
            if let Some(left) = &mut self.fuse {
                if *left == 0 {
                    self.fuse = None;
                    self.seen.crashes += 1;
                    return self.restart();
                }
                *left -= 1;
            }
            self.ledger.check(&effect);
            self.carry_out(effect);
        }
        let reloaded = Core::new(self.settings.clone(), self.journal.clone()).unwrap();
        self.ledger.check_state(&self.core, &reloaded);
        for step in self.ledger.checkpoints() {
            assert!(
                self.cluster.disk.contains(&step),
                "checkpoint {step} is journalled, but not on the disk"
            );
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Persist(record) => {
                if let Record::Generation {
                    start_from,
                    generation,
                    ..
                } = &record
                {
                    self.seen.generations += 1;
                    match start_from {
                        StartFrom::Initial => {}
                        StartFrom::Checkpoint(_) => self.seen.from_checkpoint += 1,
                        StartFrom::Donor { .. } => self.seen.from_memory += 1,
                    }
                    assert!(*generation > Generation(0));
                }
                self.journal.push(record);
            }
            Effect::Send { stream, message } => self.network.send(Packet::Down(stream, message)),
            Effect::Close { stream } => self.network.send(Packet::DownEnded(stream)),
            Effect::Metrics(_) => self.seen.steps += 1,
            Effect::VerifyCheckpoint(report) => self.verifying.push(report),
            Effect::DeleteCheckpoint(name) | Effect::SetAsideCheckpoint(name) => {
                self.cluster.disk.remove(&name.step().0);
            }
            Effect::Answer { ticket, .. } => self.answered = Some(ticket),
            Effect::Notice { notice, .. } => self.notice(&notice),
            Effect::CutBack { .. } | Effect::Samples(_) => {}
            Effect::Exit(outcome) => self.ended = Some(outcome),
        }
    }

    fn notice(&mut self, notice: &Notice) {
        match notice {
            Notice::Recovering { .. } => self.recovering = true,
            Notice::Training { .. } if self.recovering => {
                self.recovering = false;
                self.seen.went_on += 1;
            }
            Notice::Ended { .. } => self.recovering = false,
            _ => {}
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
        self.verifying.clear();
        self.ended = None;
        self.core = Core::new(self.settings.clone(), self.journal.clone()).unwrap();
        let found = self.cluster.disk.iter().map(|&step| FoundCheckpoint {
            report: checkpoint(step),
            n_samples: 24,
        });
        let found = found.collect();
        self.input(Input::Started(DiskFacts {
            found,
            damaged: Vec::new(),
            metrics: self.ledger.metrics(),
            samples: self.ledger.metrics(),
        }));
    }
}
