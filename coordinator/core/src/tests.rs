//! Tables and short stories: a state is built, one thing happens, the effects are compared as text. Notices are left
//! out unless asked for.

mod data;
mod ending;
mod evaluations;
mod forming;
mod membership;
mod orders;
mod replicas;
mod resume;
mod samples;
mod scenarios;
mod training;

use std::collections::{BTreeMap, BTreeSet};

use m2t_common::machine_link::{
    Boundary, DataFacts, DeviceFacts, FromMachine, Hello, StartFrom, ToMachine, Work,
};
use m2t_common::manifest::CheckpointName;
use m2t_common::recipe::resolve;
use m2t_common::recipe::written::Source;
use m2t_common::report::{CheckpointCost, CheckpointReport, News, Rendezvous, StepReport};
use m2t_common::{DeviceId, DeviceIndex, Generation, Placement, Recipe, Step, Timestamp};
use std::time::Duration;

use crate::{Core, DiskFacts, Effect, FoundCheckpoint, Input, Record, Settings, StreamId};

/// World 4, batch 8, 12 steps of 3 an epoch on 24 images; two checkpoints are kept; silence is 3 s.
fn recipe() -> Recipe {
    let toml = "world = 4\nbatch = 8\nsteps = 12\nwarmup_epochs = 1\n[run]\nkeep_checkpoints = 2";
    resolve(Source::Experiment { name: "test", toml }, &[], None).unwrap()
}

fn settings(min_devices: u32) -> Settings {
    Settings {
        recipe: recipe(),
        min_devices,
        replace_wait: Duration::ZERO,
        data: "/data".into(),
        output: "/output".into(),
        probe: "probe".into(),
        version: "1".into(),
    }
}

fn facts() -> DataFacts {
    DataFacts {
        n_samples: 24,
        fingerprint: "f".into(),
    }
}

fn checkpoint(step: u64) -> CheckpointReport {
    CheckpointReport {
        name: CheckpointName::new(Step(step)),
        step: Step(step),
        state_digest: format!("d{step}"),
        cost: CheckpointCost::default(),
    }
}

fn found(step: u64) -> FoundCheckpoint {
    FoundCheckpoint {
        report: checkpoint(step),
        n_samples: 24,
    }
}

fn report(step: u64) -> StepReport {
    StepReport {
        step: Step(step),
        loss: 4.0 - step as f64 / 10.0,
        loss_by_rank: vec![1.0; 4],
        gradient_norm: 1.0,
        duration: Duration::from_millis(100),
        data_wait: Duration::from_millis(10),
        bottleneck: None,
        replaced: vec![],
        state_digest: None,
        samples: vec![],
    }
}

/// A core with its clock, its journal and what it last did.
struct Story {
    core: Core,
    now: u64,
    journal: Vec<Record>,
    last: Vec<Effect>,
}

impl Story {
    /// A new run that was started.
    fn new(min_devices: u32) -> Self {
        Self::resumed(min_devices, Vec::new(), DiskFacts::default())
    }

    /// A run that continues `journal` with what is on the disk.
    fn resumed(min_devices: u32, journal: Vec<Record>, disk: DiskFacts) -> Self {
        Self::resumed_at(1_000, settings(min_devices), journal, disk)
    }

    /// The same, at another time.
    fn resumed_at(now: u64, settings: Settings, journal: Vec<Record>, disk: DiskFacts) -> Self {
        let core = Core::new(settings, journal.clone()).unwrap();
        let mut story = Self {
            core,
            now,
            journal,
            last: Vec::new(),
        };
        story.input(Input::Started(disk));
        story
    }

    fn input(&mut self, input: Input) {
        self.last.clear();
        self.core.handle(Timestamp(self.now), input, &mut self.last);
        for effect in &self.last {
            if let Effect::Persist(record) = effect {
                self.journal.push(record.clone());
            }
        }
    }

    fn say(&mut self, stream: u64, message: FromMachine) {
        self.input(Input::Message {
            stream: StreamId(stream),
            message,
        });
    }

    /// A Hello on `stream` of the machine, by a daemon whose instance number is 7.
    fn hello(&mut self, stream: u64, machine: &str, n_devices: u32) {
        self.say(stream, FromMachine::Hello(hello(machine, 7, n_devices)));
    }

    /// A machine of two devices that is ready, as most stories need.
    fn join(&mut self, stream: u64, machine: &str) {
        self.hello(stream, machine, 2);
        self.say(stream, FromMachine::Ready(facts()));
        self.warm(stream, 2);
    }

    /// The trainers of a machine stand by.
    fn warm(&mut self, stream: u64, n_devices: u32) {
        for device in 0..n_devices {
            self.news_of(0, stream, device, News::Warm);
        }
    }

    fn news(&mut self, stream: u64, device: u32, news: News) {
        let generation = self.core.status().generation;
        self.news_of(generation.0, stream, device, news);
    }

    fn news_of(&mut self, generation: u64, stream: u64, device: u32, news: News) {
        self.say(
            stream,
            FromMachine::Device {
                generation: Generation(generation),
                device: DeviceIndex(device),
                news,
            },
        );
    }

    /// The same news of the four devices of machines a (stream 1) and b (stream 2).
    fn news_of_all(&mut self, news: &News) {
        for (stream, device) in [(1, 0), (1, 1), (2, 0), (2, 1)] {
            self.news(stream, device, news.clone());
        }
    }

    /// Machines a and b train, at the step the generation started at.
    fn training(min_devices: u32) -> Self {
        let mut story = Self::new(min_devices);
        story.join(1, "a");
        story.join(2, "b");
        story.meet();
        story
    }

    /// Trainers of the newest generation keep their state at `step`.
    fn hold(&mut self, devices: &[(u64, u32)], step: u64) {
        for &(stream, device) in devices {
            let held = News::Held {
                step: Step(step),
                broken: None,
            };
            self.news(stream, device, held);
        }
    }

    /// The trainer of a device is gone.
    fn fail(&mut self, stream: u64, device: u32, reason: &str) {
        let reason = reason.to_owned();
        self.news(stream, device, News::Failed { reason });
    }

    /// The forming generation meets.
    fn meet(&mut self) {
        let rendezvous = Rendezvous(b"h:1".to_vec());
        self.news(1, 0, News::Rendezvous { rendezvous });
        let step = self.core.status().progress.unwrap().step;
        self.news_of_all(&News::Ready { step });
    }

    /// All devices do the next step.
    fn step(&mut self) {
        let next = self.core.status().progress.unwrap().step.next();
        self.news_of_all(&News::Stepped(report(next.0)));
    }

    /// The first device writes a checkpoint of the committed step and it is verified.
    fn checkpoint(&mut self) {
        let report = checkpoint(self.core.status().progress.unwrap().step.0);
        self.news(1, 0, News::Checkpointed(report.clone()));
        self.input(Input::CheckpointVerified(report));
    }

    /// Time passes; the machines on `alive` send heartbeats, then there is a tick.
    fn wait(&mut self, milliseconds: u64, alive: &[u64]) {
        self.now += milliseconds;
        for &stream in alive {
            self.say(stream, FromMachine::Heartbeat);
        }
        self.input(Input::Tick);
    }

    /// The time so many milliseconds from now.
    fn now_after(&self, milliseconds: u64) -> Timestamp {
        Timestamp(self.now + milliseconds)
    }

    /// The last effects as text, without notices.
    fn effects(&self) -> Vec<String> {
        self.last.iter().filter_map(show).collect()
    }

    /// The kinds of the last notices.
    fn notices(&self) -> Vec<&'static str> {
        let kind = |effect: &Effect| match effect {
            Effect::Notice { notice, .. } => Some(notice.kind()),
            _ => None,
        };
        self.last.iter().filter_map(kind).collect()
    }

    fn phase_and_reason(&self) -> String {
        let status = self.core.status();
        format!("{:?}: {}", status.phase, status.reason)
    }
}

fn hello(machine: &str, instance: u64, n_devices: u32) -> Hello {
    let device = |index| DeviceFacts {
        index: DeviceIndex(index),
        kind: "cpu".into(),
    };
    Hello {
        machine: machine.parse().unwrap(),
        version: "1".into(),
        instance,
        devices: (0..n_devices).map(device).collect(),
        address: "10.0.0.1".parse().unwrap(),
        trainers: BTreeMap::new(),
    }
}

fn show(effect: &Effect) -> Option<String> {
    Some(match effect {
        Effect::Notice { .. } => return None,
        Effect::Persist(record) => format!("persist {}", show_record(record)),
        Effect::Send { stream, message } => format!("to {}: {}", stream.0, show_message(message)),
        Effect::Close { stream } => format!("close {}", stream.0),
        Effect::Metrics(step) => format!("metrics {}", step.report.step),
        Effect::Samples(line) => format!(
            "samples {} of {} ranks",
            line.step,
            line.ranks.iter().flatten().count()
        ),
        Effect::Evaluated(line) => format!("evaluated {}", line.step),
        Effect::CutBack { after } => format!("cut back to {after}"),
        Effect::VerifyCheckpoint(report) => format!("verify {}", report.step),
        Effect::DeleteCheckpoint(name) => format!("delete {}", name.step()),
        Effect::SetAsideCheckpoint(name) => format!("set aside {}", name.step()),
        Effect::Answer { .. } => "answer".into(),
        Effect::Exit(outcome) => format!("exit {outcome:?}"),
    })
}

fn show_record(record: &Record) -> String {
    match record {
        Record::Run { recipe } => format!("run {}", recipe.name),
        Record::Data(facts) => format!("data {}", facts.n_samples),
        Record::Generation {
            generation,
            placement,
            start_from,
        } => {
            let start = match start_from {
                StartFrom::Donor {
                    device,
                    step,
                    distrusted,
                } if distrusted.is_empty() => format!("{step} of {device}"),
                StartFrom::Donor {
                    device,
                    step,
                    distrusted,
                } => format!("{step} of {device}, not of {}", show_devices(distrusted)),
                other => other.step().to_string(),
            };
            format!(
                "generation {generation} from {start}: {}",
                show_placement(placement)
            )
        }
        Record::Checkpoint(report) => format!("checkpoint {}", report.step),
        Record::CheckpointDropped { name, why } => format!("dropped {} {why:?}", name.step()),
        Record::Ended => "ended".into(),
        Record::Committed { upto } => format!("committed {upto}"),
        Record::Replaced(file) => format!("replaced {}", file.sample.0),
        Record::SetAside { machine, .. } => format!("set aside {machine}"),
        Record::Readmitted { machine } => format!("readmitted {machine}"),
        Record::Vouched { step } => format!("vouched {step}"),
        Record::Differ { step, devices } => format!("differ {step} {}", show_devices(devices)),
        Record::NoMajority { step } => format!("no majority {step}"),
        Record::Paused => "paused".into(),
        Record::Resumed => "resumed".into(),
        Record::Finished { step, state_digest } => format!("finished {step} {state_digest}"),
    }
}

fn show_devices(devices: &BTreeSet<DeviceId>) -> String {
    devices
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" ")
}

fn show_placement(placement: &Placement) -> String {
    let one = |placed: &m2t_common::DevicePlacement| {
        let ranks: Vec<String> = placed.ranks.iter().map(ToString::to_string).collect();
        format!("{}={}", placed.device, ranks.join(","))
    };
    placement.devices.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn show_message(message: &ToMachine) -> String {
    match message {
        ToMachine::Welcome(_) => "welcome".into(),
        ToMachine::Assign(assignment) => match &assignment.work {
            Work::Idle => format!("idle {}", assignment.generation),
            Work::StandBy => format!("stand by {}", assignment.generation),
            Work::Hold { .. } => format!("hold {}", assignment.generation),
            Work::Train(group) => {
                let meet = if group.rendezvous.is_some() { " meet" } else { "" };
                let boundary = match group.boundary {
                    Boundary::GoOn => "",
                    Boundary::Hold => " then hold",
                    Boundary::Stop => " then stop",
                };
                format!("train {}{meet}{boundary}", assignment.generation)
            }
        },
        ToMachine::Refuse { reason } => format!("refuse: {reason}"),
        ToMachine::Dismiss(outcome) => format!("dismiss {outcome:?}"),
    }
}
