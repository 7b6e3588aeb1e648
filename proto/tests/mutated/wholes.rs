//! Messages as they should be, of which mutants are made.

use std::time::Duration;

use m2t_common::evaluation::{Evaluation, Method, Side};
use m2t_common::machine_link::{
    Assignment, Boundary, DataFacts, DeviceFacts, FromMachine, Group, Hello, Outcome, StartFrom, ToMachine,
    Welcome, Work,
};
use m2t_common::manifest::CheckpointName;
use m2t_common::recipe::written::{Source, resolve};
use m2t_common::report::{
    CheckpointCost, CheckpointReport, News, RankSamples, Rendezvous, ReplacedFile, Stage, StepReport,
};
use m2t_common::shard::Sample;
use m2t_common::status::Status;
use m2t_common::{DeviceId, DeviceIndex, DevicePlacement, Generation, Placement, Rank, Step};
use m2t_proto::wire;
use prost::Message;

use crate::mutator::Whole;

/// What the daemon of `machine` says.
pub(crate) fn from_machine(machine: &str) -> Vec<FromMachine> {
    let facts = DataFacts {
        n_samples: 24,
        fingerprint: "f".into(),
    };
    let mut messages = vec![
        FromMachine::Hello(Hello {
            machine: machine.parse().unwrap(),
            version: env!("CARGO_PKG_VERSION").into(),
            instance: 1,
            devices: vec![
                DeviceFacts {
                    index: DeviceIndex(0),
                    kind: "cpu".into(),
                },
                DeviceFacts {
                    index: DeviceIndex(7),
                    kind: "NVIDIA H100".into(),
                },
            ],
            address: "127.0.0.1".parse().unwrap(),
            trainers: [(DeviceIndex(7), Generation(1))].into(),
        }),
        FromMachine::Ready(facts.clone()),
        FromMachine::OtherData {
            facts,
            difference: "a/x.jpg is missing here".into(),
        },
        FromMachine::Unable {
            reason: "no such folder".into(),
        },
        FromMachine::Heartbeat,
        FromMachine::Leaving,
    ];
    messages.extend(news().into_iter().map(|news| FromMachine::Device {
        generation: Generation(1),
        device: DeviceIndex(0),
        news,
    }));
    messages
}

fn news() -> Vec<News> {
    let step = Step(2);
    vec![
        News::Warm,
        News::Rendezvous {
            rendezvous: Rendezvous(vec![0, 255, 7]),
        },
        News::Ready { step: Step(0) },
        News::Stepped(StepReport {
            step,
            loss: 3.25,
            loss_by_rank: vec![3.0, 3.5],
            gradient_norm: 0.1,
            duration: Duration::from_millis(120),
            data_wait: Duration::from_millis(2),
            bottleneck: Some(Stage::Read),
            replaced: vec![ReplacedFile {
                sample: Sample(7),
                by: Sample(8),
                path: "n01/a.JPEG".into(),
                reason: "the file is empty".into(),
            }],
            state_digest: Some("abc".into()),
            samples: vec![RankSamples {
                rank: Rank(1),
                samples: vec![Sample(7), Sample(u64::MAX)],
            }],
        }),
        News::Checkpointed(CheckpointReport {
            name: CheckpointName::new(step),
            step,
            state_digest: "abc".into(),
            cost: CheckpointCost {
                stall: Duration::from_millis(3),
                writing: Duration::from_secs(1),
                n_bytes: 412_071_560,
            },
        }),
        News::CheckpointFailed {
            step,
            reason: "no space".into(),
        },
        News::SlowFiles {
            files: vec!["n01/a.JPEG".into()],
        },
        News::Evaluating { step, done: 3, of: 7 },
        News::Evaluated(Evaluation {
            step,
            encoder: Side::Teacher,
            method: Method::Knn,
            n_images: 372,
            n_correct: 100,
            n_correct5: 300,
            n_memory: 3409,
            duration: Duration::from_millis(1234),
        }),
        News::EvaluationFailed {
            step,
            reason: "no such folder".into(),
        },
        News::Held {
            step,
            broken: Some("a peer is gone".into()),
        },
        News::Stopped { step },
        News::Finished {
            step,
            state_digest: "def".into(),
        },
        News::Failed {
            reason: "out of memory".into(),
        },
    ]
}

fn to_machine() -> Vec<ToMachine> {
    let device = |index| DeviceId {
        machine: "a".parse().unwrap(),
        index: DeviceIndex(index),
    };
    let group = |start_from| {
        let placed = |index, ranks: &[u32]| DevicePlacement {
            device: device(index),
            ranks: ranks.iter().copied().map(Rank).collect(),
        };
        Work::Train(Group {
            placement: Placement {
                devices: vec![placed(0, &[0, 1]), placed(1, &[2])],
            },
            n_samples: 4_000,
            start_from,
            rendezvous: Some(Rendezvous(b"127.0.0.1:4000".to_vec())),
            boundary: Boundary::Stop,
        })
    };
    let assign = |work| {
        ToMachine::Assign(Assignment {
            generation: Generation(3),
            work,
        })
    };
    vec![
        ToMachine::Welcome(Box::new(Welcome {
            recipe: resolve(Source::Preset("8x_v100_100e"), &[], None).unwrap(),
            data: "/data/imagenet".into(),
            output: "/outputs/a run".into(),
            probe: "42".into(),
            bound: Some(DataFacts {
                n_samples: 9,
                fingerprint: "f".into(),
            }),
            heartbeat_timeout: Duration::from_secs(3),
        })),
        assign(Work::Idle),
        assign(group(StartFrom::Initial)),
        assign(group(StartFrom::Checkpoint(CheckpointName::new(Step(400))))),
        assign(group(StartFrom::Donor {
            device: device(1),
            step: Step(7),
            distrusted: [device(0)].into(),
        })),
        assign(Work::Hold {
            within: Duration::from_millis(1_500),
        }),
        ToMachine::Refuse {
            reason: "another version".into(),
        },
        ToMachine::Dismiss(Outcome::Finished),
    ]
}

/// Every kind of message, encoded.
pub(crate) fn all() -> Vec<Whole> {
    let status: Status =
        serde_json::from_str(include_str!("../../../deploy/xtask/src/reference/status.json")).unwrap();
    let mut wholes: Vec<Whole> = Vec::new();
    for message in from_machine("a") {
        let name = format!("what a daemon says: {message:.40?}");
        wholes.push((name, wire::FromMachine::from(message).encode_to_vec()));
    }
    for message in to_machine() {
        let name = "what a daemon is told".to_owned();
        wholes.push((name, wire::ToMachine::from(message).encode_to_vec()));
    }
    wholes.push((
        "a status".to_owned(),
        wire::RunStatus::from(status).encode_to_vec(),
    ));
    wholes
}
