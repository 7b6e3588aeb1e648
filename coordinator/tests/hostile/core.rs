//! Histories of a run in which some messages are mutants: whatever a daemon says, the core goes on.

use std::sync::PoisonError;
use std::time::Duration;

use m2t_common::machine_link::{DataFacts, DeviceFacts, FromMachine, Hello};
use m2t_common::order::Order;
use m2t_common::random::Stream;
use m2t_common::recipe::resolve;
use m2t_common::recipe::written::Source;
use m2t_common::report::News;
use m2t_common::{DeviceIndex, Generation, Step, Timestamp};
use m2t_coordinator_core::{Core, DiskFacts, Effect, Input, Settings, StreamId, Ticket};
use m2t_proto::wire;
use prost::Message;

use crate::mutator::{Whole, how_many, mutant};
use crate::{MEMORY, TURN, support, wholes};

/// Inputs of a history after its daemons have joined.
const LENGTH: u64 = 60;
/// The most that a history may hold.
const MOST: usize = 64 << 20;

/// A core, its clock and its streams.
struct Run {
    core: Core,
    now: Timestamp,
    n_inputs: u64,
    /// The run has ended, and the core takes nothing more.
    is_over: bool,
}

impl Run {
    /// A run so many steps or epochs long: `steps = 6`.
    fn new(length: &str) -> Self {
        let toml = format!(
            "world = 2\nbatch = 8\n{length}\nwarmup_epochs = 0\n[run]\nevaluate = \"light\"\nreplica_check = 2\nledger = \"full\""
        );
        let recipe = resolve(
            Source::Experiment {
                name: "hostile",
                toml: &toml,
            },
            &[],
            None,
        )
        .unwrap();
        let settings = Settings {
            recipe,
            min_devices: 1,
            replace_wait: Duration::ZERO,
            data: "/data".into(),
            output: "/output".into(),
            probe: "42".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let mut run = Self {
            core: Core::new(settings, []).unwrap(),
            now: Timestamp(1_000_000),
            n_inputs: 0,
            is_over: false,
        };
        run.feed(Input::Started(DiskFacts::default()));
        run
    }

    /// Hands in one input, and answers what the core asks about checkpoints.
    fn feed(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop().filter(|_| !self.is_over) {
            self.n_inputs += 1;
            let mut effects = Vec::new();
            self.core.handle(self.now, input, &mut effects);
            for effect in effects {
                match effect {
                    Effect::VerifyCheckpoint(report) if self.n_inputs.is_multiple_of(3) => {
                        inputs.push(Input::CheckpointBroken {
                            name: report.name,
                            problem: "it is cut".to_owned(),
                        });
                    }
                    Effect::VerifyCheckpoint(report) => inputs.push(Input::CheckpointVerified(report)),
                    Effect::Exit(_) => self.is_over = true,
                    Effect::Notice { notice, .. } => assert!(!notice.to_string().is_empty()),
                    _ => {}
                }
            }
        }
        let status = self.core.status();
        wire::RunStatus::from(status).encode_to_vec();
        let _ = (self.core.next_deadline(), self.core.account());
    }

    fn say(&mut self, stream: u64, message: FromMachine) {
        self.feed(Input::Message {
            stream: StreamId(stream),
            message,
        });
    }

    /// Two daemons join, and the generation trains where they may.
    fn join(&mut self) {
        for (stream, machine) in [(1, "a"), (2, "b")] {
            self.say(
                stream,
                FromMachine::Hello(Hello {
                    machine: machine.parse().unwrap(),
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    instance: stream,
                    devices: vec![DeviceFacts {
                        index: DeviceIndex(0),
                        kind: "cpu".to_owned(),
                    }],
                    address: "127.0.0.1".parse().unwrap(),
                    trainers: [].into(),
                }),
            );
            self.say(
                stream,
                FromMachine::Ready(DataFacts {
                    n_samples: 24,
                    fingerprint: "f".to_owned(),
                }),
            );
            self.news(stream, 0, News::Warm);
        }
        self.now = self.now.after(Duration::from_secs(4));
        self.feed(Input::Tick);
        self.news(
            1,
            1,
            News::Rendezvous {
                rendezvous: m2t_common::report::Rendezvous(vec![1]),
            },
        );
        for stream in [1, 2] {
            self.news(stream, 1, News::Ready { step: Step(0) });
        }
    }

    fn news(&mut self, stream: u64, generation: u64, news: News) {
        let (generation, device) = (Generation(generation), DeviceIndex(0));
        self.say(
            stream,
            FromMachine::Device {
                generation,
                device,
                news,
            },
        );
    }
}

/// One history. Its messages are the well-meant ones and mutants of them, on streams that are and streams that are not.
fn live(wholes: &[Whole], number: u64) -> u64 {
    let mut draw = Stream::new("hostile histories", &[number]);
    let mut run = Run::new(["steps = 6", "epochs = 2"][draw.below(2) as usize]);
    if draw.chance(0.8) {
        run.join();
    }
    let mut n_taken = 0;
    for i in 0..LENGTH {
        run.now = run.now.after(Duration::from_millis(draw.below(400)));
        let stream = 1 + draw.below(4);
        match draw.below(12) {
            0 => run.feed(Input::StreamEnded {
                stream: StreamId(stream),
            }),
            1 => {
                run.now = run.now.after(Duration::from_secs(draw.below(200)));
                run.feed(Input::Tick);
            }
            2 => {
                let order = [
                    Order::Pause,
                    Order::Resume,
                    Order::Readmit("a".parse().unwrap()),
                    Order::Drain("b".parse().unwrap()),
                ];
                let order = order[draw.below(4) as usize].clone();
                run.feed(Input::Order {
                    ticket: Ticket(i),
                    order,
                });
            }
            3 => {
                let step = 1 + draw.below(6);
                for stream in [1, 2] {
                    run.news(stream, 1, News::Stepped(support::report(step)));
                }
            }
            _ => {
                let (_, bytes) = mutant(wholes, number * LENGTH + i);
                let message = wire::FromMachine::decode(bytes.as_slice()).ok();
                if let Some(Ok(message)) = message.map(FromMachine::try_from) {
                    n_taken += 1;
                    run.say(stream, message);
                }
            }
        }
    }
    n_taken
}

#[test]
fn the_core_goes_on_whatever_daemons_say() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let n = how_many(20_000) / LENGTH;
    let encode = |message| {
        (
            format!("{message:.40?}"),
            wire::FromMachine::from(message).encode_to_vec(),
        )
    };
    let wholes: Vec<Whole> = ["a", "b"]
        .into_iter()
        .flat_map(wholes::from_machine)
        .map(encode)
        .collect();
    let (mut n_taken, mut most) = (0, 0);
    for number in 0..n {
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        n_taken += std::panic::catch_unwind(|| live(&wholes, number))
            .unwrap_or_else(|_| panic!("history {number} makes the core panic"));
        let peak = MEMORY.peak_usage().saturating_sub(before);
        assert!(peak <= MOST, "history {number} holds {peak}");
        most = most.max(peak);
    }
    println!("{n} histories of {LENGTH} inputs: {n_taken} mutants were messages; at most {most} bytes");
    assert!(n_taken > n, "{n_taken}");
}
