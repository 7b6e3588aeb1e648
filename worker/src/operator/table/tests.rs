//! The table as an operator reads it.

use m2t_common::evaluation::{EvaluationLine, Method, Side};
use m2t_common::manifest::CheckpointName;
use m2t_common::report::{CheckpointCost, CheckpointReport};
use m2t_common::{DeviceIndex, Generation, Step};

use super::*;

fn device(index: u32, ranks: &[u32], shard: std::ops::Range<u64>) -> DeviceStatus {
    DeviceStatus {
        index: DeviceIndex(index),
        kind: "cpu".to_owned(),
        ranks: ranks.iter().copied().map(Rank).collect(),
        shard,
        step: Step(128),
        data_wait: 0.031,
        bottleneck: None,
        slow_files: vec![],
    }
}

fn machine(name: &str, state: &str, devices: Vec<DeviceStatus>) -> MachineStatus {
    MachineStatus {
        name: name.parse().unwrap(),
        address: "10.0.0.1".to_owned(),
        state: state.to_owned(),
        silent_for: Duration::from_millis(400),
        devices,
    }
}

fn status() -> Status {
    Status {
        experiment: "demo".to_owned(),
        at: Timestamp(0),
        phase: PhaseName::Training,
        reason: "4 of 4 devices".to_owned(),
        generation: Generation(2),
        world: 4,
        batch_per_rank: 16,
        min_devices: 2,
        waits: vec![],
        machines: vec![
            machine(
                "a",
                "training",
                vec![device(0, &[0, 1], 0..32), device(1, &[2, 3], 32..64)],
            ),
            machine("spare-machine", "spare", vec![device(0, &[], 0..0)]),
        ],
        progress: Some(Progress {
            step: Step(128),
            total_steps: 1_240,
            epoch: 2,
            step_in_epoch: 4,
            steps_per_epoch: 62,
            loss: Some(3.214_56),
            learning_rate: 0.037_5,
            parameter_momentum: 0.991_2,
            statistics_momentum: 0.973,
            images_per_second: 212.34,
            data_wait: 0.031,
            bottleneck: None,
            remaining: Some(Duration::from_secs(751)),
            replaced: 0,
        }),
        checkpoint: Some(CheckpointReport {
            name: CheckpointName::new(Step(124)),
            step: Step(124),
            state_digest: "0123456789abcdef0123456789abcdef".to_owned(),
            cost: CheckpointCost::default(),
        }),
        evaluations: vec![EvaluationLine {
            step: Step(124),
            epoch: 2,
            generation: Generation(1),
            encoder: Side::Teacher,
            method: Method::Knn,
            top1: 0.5625,
            top5: 0.9,
            n_correct: 225,
            n_correct5: 360,
            n_images: 400,
            n_memory: 4000,
            seconds: 1.5,
            settings: None,
        }],
        events: vec![Event {
            at: Timestamp(45_296_000),
            kind: "generation_formed".to_owned(),
            text: "generation 2 formed\x1b[2J".to_owned(),
        }],
    }
}

#[test]
fn a_training_run_is_shown_whole() {
    let expected = "\
run           demo
phase         training: 4 of 4 devices
generation    2
world         4 ranks of 16 images (batch 64), on at least 2 devices

[####------------------------------------] 10.3 %
epoch         3 of 20, step 4 of 62 in it
step          128 of 1240
loss          3.2146
learning rate 0.037500
momenta       parameters 0.991200, statistics 0.973000
speed         212.3 images/s, 3.1 % of a step waiting for data
remaining     12 min 31 s
checkpoint    step-000000124  digest 0123456789abcdef
worth         teacher knn 56.25 % (225 of 400 images), after epoch 2

MACHINE        ADDRESS   DEVICE  KIND  RANKS  IMAGES  STEP  DATA WAIT  STATE
a              10.0.0.1  0       cpu   0-1    0..32   128   3.1 %      training (heard 0.4 s ago)
                         1       cpu   2-3    32..64  128   3.1 %
spare-machine  10.0.0.1  0       cpu   -      -       128   3.1 %      spare (heard 0.4 s ago)

12:34:56 UTC  generation 2 formed\u{fffd}[2J";
    assert_eq!(render(&status()), expected);
}

#[test]
fn a_run_that_has_not_begun_says_what_is_missing() {
    let status = Status {
        machines: vec![],
        progress: None,
        checkpoint: None,
        evaluations: vec![],
        events: vec![],
        ..status()
    };
    let text = render(&status);
    assert!(
        text.contains("none yet") && text.contains("checkpoint    none yet"),
        "{text}"
    );
}

#[test]
fn spans_are_read_at_a_glance() {
    for (seconds, expected) in [
        (0.42, "0.4 s"),
        (75.0, "1 min 15 s"),
        (7_260.0, "2 h 1 min"),
        (200_000.0, "2 d 7 h"),
    ] {
        assert_eq!(span(Duration::from_secs_f64(seconds)), expected);
    }
}

#[test]
fn what_a_run_waits_for_is_named() {
    let mut status = status();
    status.progress.as_mut().unwrap().bottleneck = Some(Stage::Read);
    let device = &mut status.machines[0].devices[1];
    device.bottleneck = Some(Stage::Read);
    device.slow_files = vec!["n01/a.JPEG".to_owned()];
    let text = render(&status);
    for expected in [
        "3.1 % of a step waiting for data, for reading (the storage)\n",
        "3.1 % read",
        "slow file     n01/a.JPEG, read by device a/1\n",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
}
