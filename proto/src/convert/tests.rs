//! Every variant there and back, through the encoded bytes; every refusal names its field.

use std::time::Duration;

use m2t_common::evaluation::{Evaluation, EvaluationLine, Method, Settings, Side};
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
use m2t_common::status::{DeviceStatus, Event, MachineStatus, PhaseName, Progress, Status};
use m2t_common::{DeviceId, DeviceIndex, DevicePlacement, Generation, Placement, Rank, Step, Timestamp};
use prost::Message;

use crate::{WireError, wire};

fn there_and_back<Domain, Wire>(domain: &Domain)
where
    Domain: Clone + std::fmt::Debug + PartialEq + TryFrom<Wire, Error = WireError>,
    Wire: From<Domain> + Message + Default,
{
    let bytes = Wire::from(domain.clone()).encode_to_vec();
    let back = Domain::try_from(Wire::decode(bytes.as_slice()).unwrap()).unwrap();
    assert_eq!(&back, domain);
}

fn checkpoint() -> CheckpointReport {
    CheckpointReport {
        name: CheckpointName::new(Step(400)),
        step: Step(400),
        state_digest: "abc".into(),
        cost: CheckpointCost {
            stall: Duration::from_millis(34),
            writing: Duration::from_micros(215_750),
            n_bytes: 412_071_560,
        },
    }
}

#[test]
fn a_checkpoint_of_a_daemon_that_does_not_say_what_it_cost_is_let_in() {
    let older = wire::CheckpointReport {
        name: "step-000000400".into(),
        step: 400,
        ..Default::default()
    };
    let report = CheckpointReport::try_from(older).unwrap();
    assert_eq!(report.cost, CheckpointCost::default());
    assert_eq!(report.cost.told(), None);
}

fn all_news() -> Vec<News> {
    vec![
        News::Rendezvous {
            rendezvous: Rendezvous(vec![0, 255, 7]),
        },
        News::Ready { step: Step(3) },
        News::Stepped(StepReport {
            step: Step(4),
            loss: 0.1 + 0.2,
            loss_by_rank: vec![f64::MIN_POSITIVE, 3.9],
            gradient_norm: 1e-300,
            duration: Duration::from_nanos(1_234_567_891),
            data_wait: Duration::ZERO,
            bottleneck: Some(Stage::Read),
            replaced: vec![ReplacedFile {
                sample: Sample(7),
                by: Sample(8),
                path: "n01/a.JPEG".into(),
                reason: "the file is empty".into(),
            }],
            state_digest: Some("abc".into()),
            samples: vec![RankSamples {
                rank: Rank(3),
                samples: vec![Sample(7), Sample(u64::MAX)],
            }],
        }),
        News::Checkpointed(checkpoint()),
        News::SlowFiles {
            files: vec!["n01/a.JPEG".into()],
        },
        News::CheckpointFailed {
            step: Step(5),
            reason: "no space".into(),
        },
        News::Evaluating {
            step: Step(6),
            done: 3,
            of: 7,
        },
        News::Evaluated(evaluation(Method::Probe)),
        News::EvaluationFailed {
            step: Step(6),
            reason: "no such folder".into(),
        },
        News::Warm,
        News::Held {
            step: Step(6),
            broken: None,
        },
        News::Held {
            step: Step(6),
            broken: Some("a peer is gone".into()),
        },
        News::Stopped { step: Step(5) },
        News::Finished {
            step: Step(u64::MAX),
            state_digest: "def".into(),
        },
        News::Failed {
            reason: "out of memory".into(),
        },
    ]
}

#[test]
fn every_message_of_a_daemon_survives_the_wire() {
    let mut messages = vec![
        FromMachine::Hello(Hello {
            machine: "node-1".parse().unwrap(),
            version: "0.1.0".into(),
            instance: u64::MAX,
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
            address: "fe80::1".parse().unwrap(),
            trainers: [(DeviceIndex(7), Generation(3))].into(),
        }),
        FromMachine::Ready(DataFacts {
            n_samples: 1_281_167,
            fingerprint: "f".into(),
        }),
        FromMachine::OtherData {
            facts: DataFacts {
                n_samples: 3,
                fingerprint: "g".into(),
            },
            difference: "a/x.jpg is missing here".into(),
        },
        FromMachine::Unable {
            reason: "no such folder".into(),
        },
        FromMachine::Heartbeat,
        FromMachine::Leaving,
    ];
    messages.extend(all_news().into_iter().map(|news| FromMachine::Device {
        generation: Generation(9),
        device: DeviceIndex(1),
        news,
    }));
    for message in &messages {
        there_and_back::<_, wire::FromMachine>(message);
    }
}

fn group() -> Group {
    let placed = |machine: &str, ranks: &[u32]| DevicePlacement {
        device: DeviceId {
            machine: machine.parse().unwrap(),
            index: DeviceIndex(1),
        },
        ranks: ranks.iter().copied().map(Rank).collect(),
    };
    Group {
        placement: Placement {
            devices: vec![placed("a", &[0, 1]), placed("b", &[2])],
        },
        n_samples: 4_000,
        start_from: StartFrom::Checkpoint(CheckpointName::new(Step(400))),
        rendezvous: Some(Rendezvous(b"127.0.0.1:4000".to_vec())),
        boundary: Boundary::Stop,
    }
}

#[test]
fn every_message_to_a_daemon_survives_the_wire() {
    let bare = Group {
        start_from: StartFrom::Initial,
        rendezvous: None,
        boundary: Boundary::GoOn,
        ..group()
    };
    let from_memory = Group {
        start_from: StartFrom::Donor {
            device: group().placement.devices[1].device.clone(),
            step: Step(401),
            distrusted: group()
                .placement
                .devices
                .iter()
                .take(1)
                .map(|placed| placed.device.clone())
                .collect(),
        },
        boundary: Boundary::Hold,
        ..group()
    };
    let assign = |work| {
        ToMachine::Assign(Assignment {
            generation: Generation(3),
            work,
        })
    };
    let messages = [
        ToMachine::Welcome(Box::new(Welcome {
            recipe: resolve(Source::Preset("8x_v100_100e"), &[], None).unwrap(),
            data: "/data/imagenet".into(),
            output: "/outputs/a run".into(),
            probe: "42".into(),
            bound: Some(DataFacts {
                n_samples: 9,
                fingerprint: "f".into(),
            }),
            heartbeat_timeout: Duration::from_millis(3_000),
        })),
        assign(Work::Idle),
        assign(Work::Train(group())),
        assign(Work::Train(bare)),
        assign(Work::Train(from_memory)),
        assign(Work::StandBy),
        assign(Work::Hold {
            within: Duration::from_millis(1_500),
        }),
        ToMachine::Refuse {
            reason: "another version".into(),
        },
        ToMachine::Dismiss(Outcome::Finished),
        ToMachine::Dismiss(Outcome::Stopped),
        ToMachine::Dismiss(Outcome::Failed),
    ];
    for message in &messages {
        there_and_back::<_, wire::ToMachine>(message);
    }
}

fn status(phase: PhaseName) -> Status {
    Status {
        experiment: "demo".into(),
        at: Timestamp(1_700_000_000_123),
        phase,
        reason: "3 of 4 devices; waiting for 1".into(),
        generation: Generation(2),
        world: 4,
        batch_per_rank: 16,
        min_devices: 3,
        waits: vec![("machine lost".into(), Duration::from_secs(3))],
        machines: vec![MachineStatus {
            name: "a".parse().unwrap(),
            address: "::1".into(),
            state: "training".into(),
            silent_for: Duration::from_millis(1),
            devices: vec![DeviceStatus {
                index: DeviceIndex(0),
                kind: "cpu".into(),
                ranks: vec![Rank(0), Rank(1)],
                shard: 0..32,
                step: Step(7),
                data_wait: 0.25,
                bottleneck: Some(Stage::Decode),
                slow_files: vec!["n01/a.JPEG".into()],
            }],
        }],
        progress: Some(Progress {
            step: Step(7),
            total_steps: 100,
            epoch: 1,
            step_in_epoch: 2,
            steps_per_epoch: 5,
            loss: Some(1.5),
            learning_rate: 0.1,
            parameter_momentum: 0.99,
            statistics_momentum: 0.9,
            images_per_second: 30.5,
            data_wait: 0.5,
            bottleneck: Some(Stage::Augment),
            remaining: Some(Duration::from_secs(60)),
            replaced: 1,
        }),
        checkpoint: Some(checkpoint()),
        evaluations: vec![figure(Method::Knn), figure(Method::Linear)],
        events: vec![Event {
            at: Timestamp(5),
            kind: "generation_formed".into(),
            text: "Generation 2 formed.".into(),
        }],
    }
}

fn evaluation(method: Method) -> Evaluation {
    Evaluation {
        step: Step(6),
        encoder: Side::Student,
        method,
        n_images: 372,
        n_correct: 100,
        n_correct5: 300,
        n_memory: 3409,
        duration: Duration::from_millis(1234),
    }
}

fn figure(method: Method) -> EvaluationLine {
    let settings = Settings {
        k: 20,
        temperature: 0.07,
    };
    EvaluationLine::new(&evaluation(method), (2, Generation(3)), settings)
}

#[test]
fn figures_that_cannot_be_are_refused() {
    let impossible = Evaluation {
        n_correct: 301,
        ..evaluation(Method::Knn)
    };
    let refused = Evaluation::try_from(wire::Evaluation::from(impossible)).unwrap_err();
    assert!(
        refused.to_string().contains("301 and 300 right of 372"),
        "{refused}"
    );
}

#[test]
fn every_phase_of_a_status_survives_the_wire() {
    use PhaseName::{
        Draining, Failed, Finished, Forming, Gathering, Paused, Recovering, Regrouping, Stopped, Training,
    };
    for phase in [
        Gathering, Forming, Recovering, Regrouping, Training, Draining, Paused, Finished, Stopped, Failed,
    ] {
        there_and_back::<_, wire::RunStatus>(&status(phase));
    }
    there_and_back::<_, wire::RunStatus>(&Status {
        machines: vec![],
        progress: None,
        checkpoint: None,
        evaluations: vec![],
        events: vec![],
        ..status(Gathering)
    });
}

fn field_of<T: std::fmt::Debug>(result: Result<T, WireError>) -> &'static str {
    match result.unwrap_err() {
        WireError::Missing { field } | WireError::Invalid { field, .. } => field,
    }
}

#[test]
fn an_empty_message_is_refused_by_its_field() {
    assert_eq!(
        field_of(FromMachine::try_from(wire::FromMachine::default())),
        "FromMachine.message"
    );
    assert_eq!(
        field_of(ToMachine::try_from(wire::ToMachine::default())),
        "ToMachine.message"
    );
    assert_eq!(field_of(News::try_from(wire::News::default())), "News.news");
    assert_eq!(
        field_of(Assignment::try_from(wire::Assignment::default())),
        "Assignment.work"
    );
    assert_eq!(
        field_of(Status::try_from(wire::RunStatus::default())),
        "RunStatus.phase"
    );
    assert_eq!(
        field_of(StepReport::try_from(wire::StepReport::default())),
        "StepReport.duration"
    );
    assert_eq!(
        field_of(Welcome::try_from(wire::Welcome::default())),
        "Welcome.recipe_json"
    );
    assert_eq!(
        field_of(Outcome::try_from(wire::Outcome::Unspecified)),
        "Dismiss.outcome"
    );
}

#[test]
fn what_would_become_a_path_or_a_name_is_checked() {
    let hello = wire::Hello {
        machine: "../etc".into(),
        address: "::1".into(),
        ..Default::default()
    };
    assert_eq!(field_of(Hello::try_from(hello.clone())), "Hello.machine");
    let homeless = wire::Hello {
        machine: "a".into(),
        address: "somewhere".into(),
        ..hello
    };
    assert_eq!(field_of(Hello::try_from(homeless)), "Hello.address");
    let outside = wire::Group {
        boundary: wire::Boundary::GoOn.into(),
        start_from: Some(wire::group::StartFrom::Checkpoint("../../secrets".into())),
        ..Default::default()
    };
    assert_eq!(field_of(Group::try_from(outside)), "Group.checkpoint");
    let lying = wire::CheckpointReport {
        name: "step-000000400".into(),
        step: 401,
        ..Default::default()
    };
    assert_eq!(
        field_of(CheckpointReport::try_from(lying)),
        "CheckpointReport.step"
    );
    let rankless = wire::DevicePlacement {
        machine: "a".into(),
        ..Default::default()
    };
    assert_eq!(
        field_of(DevicePlacement::try_from(rankless)),
        "DevicePlacement.ranks"
    );
}

#[test]
fn a_duration_must_be_one() {
    for (seconds, nanos) in [(-1, 0), (0, -1), (0, 1_000_000_000)] {
        let report = wire::StepReport {
            duration: Some(prost_types::Duration { seconds, nanos }),
            ..Default::default()
        };
        assert_eq!(field_of(StepReport::try_from(report)), "StepReport.duration");
    }
}
