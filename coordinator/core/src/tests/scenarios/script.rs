//! The words of a scenario, and what they do.
//!
//! | line | what happens |
//! | --- | --- |
//! | `begin MIN` | a new run of 4 ranks and 12 steps, three of them an epoch; MIN devices are enough |
//! | `join M` | a daemon of two devices comes, is ready, its trainers stand by |
//! | `come M` | the same, but its trainers are not there yet |
//! | `connect M` | the daemon of M, which lives, comes back on a new stream; its trainers are in the newest generation |
//! | `disconnect M ..` | the streams end |
//! | `warm D ..` | a new trainer of the device stands by |
//! | `meet` | the first device makes the meeting point, all are ready |
//! | `steps N` | all devices of the group do so many steps |
//! | `step N by D ..` | these devices say that they did step N |
//! | `checkpoint` | the first device writes the committed step, and it is found complete |
//! | `dies D REASON` | a trainer is gone |
//! | `breaks D STEP REASON` | a trainer's collective breaks, it holds at STEP |
//! | `hold STEP D ..` | trainers hold at STEP |
//! | `stop-at STEP` | all devices stop after STEP, with a checkpoint |
//! | `finish` | all devices did the last step, with its checkpoint |
//! | `wait SECONDS M ..` | time passes a second at a time; these machines give signs of life |
//! | `crash` | the coordinator is killed and starts again |
//! | `leave M` | a daemon was told to end |
//! | `pause`, `resume`, `drain M`, `readmit M` | an operator asks |

use std::collections::BTreeMap;

use super::super::*;
use crate::Ticket;
use m2t_common::order::{Answer, Order};
use m2t_common::{DeviceId, MachineName};

/// A story that is told by lines.
#[derive(Default)]
pub(super) struct Script {
    story: Option<Story>,
    streams: BTreeMap<String, u64>,
    n_streams: u64,
    metrics: Step,
    phase: String,
    trace: Vec<String>,
}

impl Script {
    /// What one line says happens; returns what follows.
    pub(super) fn happens(&mut self, line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["begin", min] => {
                self.story = Some(Story::new(min.parse().unwrap()));
                self.note();
            }
            ["join", machine] => self.join(machine),
            ["come", machine] => self.come(machine),
            ["connect", machine] => self.connect(machine),
            ["disconnect", ref machines @ ..] => {
                for &machine in machines {
                    let stream = StreamId(self.streams.remove(machine).unwrap());
                    self.input(Input::StreamEnded { stream });
                }
            }
            ["leave", machine] => self.say(machine, FromMachine::Leaving),
            ["wait", seconds, ref machines @ ..] => self.wait(seconds.parse().unwrap(), machines),
            ["crash"] => self.crash(),
            ["pause"] => self.order(Order::Pause),
            ["resume"] => self.order(Order::Resume),
            ["drain", machine] => self.order(Order::Drain(machine.parse().unwrap())),
            ["readmit", machine] => self.order(Order::Readmit(machine.parse().unwrap())),
            _ => self.news_happens(&words),
        }
        let phase = self.story().phase_and_reason();
        if phase != self.phase {
            self.trace.push(format!("= {phase}"));
            self.phase = phase;
        }
        std::mem::take(&mut self.trace)
    }

    /// Lines of what trainers say.
    fn news_happens(&mut self, words: &[&str]) {
        match *words {
            ["warm", ref devices @ ..] => {
                for name in devices {
                    self.news_of(Generation(0), &device(name), News::Warm);
                }
            }
            ["meet"] => {
                let rendezvous = Rendezvous(b"h:1".to_vec());
                self.news(&self.members()[0].clone(), News::Rendezvous { rendezvous });
                let step = self.committed();
                self.news_of_all(&News::Ready { step });
            }
            ["steps", n] => {
                for _ in 0..n.parse::<u64>().unwrap() {
                    let next = self.committed().next();
                    self.news_of_all(&News::Stepped(report(next.0)));
                }
            }
            ["step", step, "by", ref devices @ ..] => {
                let step = step.parse().unwrap();
                self.news_of_each(devices, &News::Stepped(report(step)));
            }
            ["checkpoint"] => self.checkpoint(self.committed()),
            ["dies", name, ref reason @ ..] => {
                let reason = reason.join(" ");
                self.news(&device(name), News::Failed { reason });
            }
            ["breaks", name, step, ref reason @ ..] => {
                let (step, broken) = (Step(step.parse().unwrap()), Some(reason.join(" ")));
                self.news(&device(name), News::Held { step, broken });
            }
            ["hold", step, ref devices @ ..] => {
                let (step, broken) = (Step(step.parse().unwrap()), None);
                self.news_of_each(devices, &News::Held { step, broken });
            }
            ["stop-at", step] => {
                let step = Step(step.parse().unwrap());
                self.checkpoint(step);
                self.news_of_all(&News::Stopped { step });
            }
            ["finish"] => {
                let (step, state_digest) = (Step(12), "d12".to_owned());
                self.checkpoint(step);
                self.news_of_all(&News::Finished { step, state_digest });
            }
            _ => panic!("nobody knows what {words:?} means"),
        }
    }

    fn story(&mut self) -> &mut Story {
        self.story.as_mut().expect("a story begins with begin")
    }

    fn come(&mut self, machine: &str) {
        // Another daemon than any before.
        let instance = 100 + self.n_streams;
        self.attach(machine, hello(machine, instance, 2));
    }

    fn join(&mut self, machine: &str) {
        self.come(machine);
        for index in 0..2 {
            let device = device(&format!("{machine}:{index}"));
            self.news_of(Generation(0), &device, News::Warm);
        }
    }

    fn connect(&mut self, machine: &str) {
        let core = &self.story.as_ref().unwrap().core;
        let known = machine.parse::<MachineName>().unwrap();
        let instance = core.machines.get(&known).map_or(7, |known| known.hello.instance);
        let generation = core.history.generation;
        let mut hello = hello(machine, instance, 2);
        hello.trainers = hello
            .devices
            .iter()
            .map(|device| (device.index, generation))
            .collect();
        self.attach(machine, hello);
    }

    fn attach(&mut self, machine: &str, hello: Hello) {
        self.n_streams += 1;
        self.streams.insert(machine.to_owned(), self.n_streams);
        self.say(machine, FromMachine::Hello(hello));
        self.say(machine, FromMachine::Ready(facts()));
    }

    fn wait(&mut self, seconds: u64, machines: &[&str]) {
        for _ in 0..seconds {
            self.story().now += 1_000;
            for &machine in machines {
                let stream = self.streams[machine];
                let story = self.story();
                story.say(stream, FromMachine::Heartbeat);
                // Answered by the assignment, as ever, and nothing else: no news.
                if !matches!(story.last[..], [Effect::Send { .. }]) {
                    self.note();
                }
            }
            self.input(Input::Tick);
        }
    }

    fn crash(&mut self) {
        let old = self.story.take().unwrap();
        let checkpoints = old.core.history.checkpoints.values();
        let found = checkpoints.map(|report| found(report.step.0)).collect();
        let disk = DiskFacts {
            evaluations: vec![],
            found,
            damaged: vec![],
            samples: Step(0),
            metrics: self.metrics,
        };
        self.streams.clear();
        let settings = old.core.settings.clone();
        self.story = Some(Story::resumed_at(old.now, settings, old.journal, disk));
        self.note();
    }

    fn order(&mut self, order: Order) {
        let ticket = Ticket(0);
        self.input(Input::Order { ticket, order });
    }

    fn committed(&self) -> Step {
        let status = self.story.as_ref().unwrap().core.status();
        status.progress.map_or(Step(0), |progress| progress.step)
    }

    /// The devices of the newest generation, the first one first.
    fn members(&self) -> Vec<DeviceId> {
        let placement = &self.story.as_ref().unwrap().core.history.placement;
        let devices = placement.devices.iter().map(|placed| placed.device.clone());
        devices.collect()
    }

    fn checkpoint(&mut self, step: Step) {
        let report = checkpoint(step.0);
        self.news(&self.members()[0].clone(), News::Checkpointed(report.clone()));
        self.input(Input::CheckpointVerified(report));
    }

    fn news_of_all(&mut self, news: &News) {
        for device in self.members() {
            self.news(&device, news.clone());
        }
    }

    fn news_of_each(&mut self, devices: &[&str], news: &News) {
        for name in devices {
            self.news(&device(name), news.clone());
        }
    }

    fn news(&mut self, device: &DeviceId, news: News) {
        let generation = self.story().core.history.generation;
        self.news_of(generation, device, news);
    }

    /// What a device says while its machine has no stream is not heard.
    fn news_of(&mut self, generation: Generation, device: &DeviceId, news: News) {
        let machine = device.machine.to_string();
        if self.streams.contains_key(&machine) {
            let message = FromMachine::Device {
                generation,
                device: device.index,
                news,
            };
            self.say(&machine, message);
        }
    }

    fn say(&mut self, machine: &str, message: FromMachine) {
        let stream = StreamId(self.streams[machine]);
        self.input(Input::Message { stream, message });
    }

    fn input(&mut self, input: Input) {
        self.story().input(input);
        self.note();
    }

    /// Takes down what the core did last.
    fn note(&mut self) {
        let effects = std::mem::take(&mut self.story().last);
        for effect in &effects {
            match effect {
                Effect::Metrics(step) => self.metrics = step.report.step,
                Effect::CutBack { after } => self.metrics = self.metrics.min(*after),
                _ => {}
            }
            let line = self.show(effect);
            self.trace.push(line);
        }
    }

    /// As in the other stories, but machines have their names.
    fn show(&self, effect: &Effect) -> String {
        let name = |stream: &StreamId| {
            let mut streams = self.streams.iter();
            let known = streams.find(|(_, number)| **number == stream.0);
            known.map_or("a stream that ended", |(machine, _)| machine.as_str())
        };
        match effect {
            Effect::Notice { notice, .. } => format!("note: {notice}"),
            Effect::Send { stream, message } => format!("to {}: {}", name(stream), show_message(message)),
            Effect::Close { stream } => format!("close {}", name(stream)),
            Effect::Answer { answer, .. } => match answer {
                Answer::Accepted(accepted) => format!("answer: {accepted}"),
                Answer::Refused(refused) => format!("refuse: {refused}"),
            },
            other => show(other).unwrap_or_default(),
        }
    }
}

/// A device as people write it: `a:0`.
fn device(name: &str) -> DeviceId {
    let (machine, index) = name.split_once(':').unwrap();
    DeviceId {
        machine: machine.parse().unwrap(),
        index: DeviceIndex(index.parse().unwrap()),
    }
}
