//! Real processes with the real trainer on real photographs: equal bits in every placement and after a kill.
//!
//! The photographs are `datasets/clothing/train` below `M2T_SHARED` (default `../shared`); where they are absent the tests are
//! skipped with a line that says so, and fail with CI=true.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod evaluation;
mod regroup;

use std::path::PathBuf;

use m2t_common::Step;
use m2t_tests::harness::{Binaries, Cluster, ClusterSettings, photographs};
use rustix::process::Signal;

/// Small enough for seconds, and with all there is: several epochs' worth of order, all augmentations, float32, the exact sum.
const EXPERIMENT: &str = r#"
arch = "resnet18"
channels = 8
hidden_dim = 32
low_dim = 16
pixels = 64
batch = 16
steps = 16
warmup_epochs = 0
lr256 = 0.5
[run]
checkpoint_every = 5
"#;

/// What two runs are compared by: the digest of the final state, and every committed loss.
type Course = (String, Vec<(u64, Vec<f64>)>);

fn cluster(data: PathBuf, min_devices: Option<u32>) -> Cluster {
    let mut cluster = Cluster::new(ClusterSettings {
        world: 4,
        min_devices,
        experiment: EXPERIMENT.to_owned(),
        data: Some(data),
        trainer: Binaries::get().path("m2t-trainer"),
        log: None,
    });
    cluster.start_coordinator();
    cluster
}

fn run(data: PathBuf, daemons: &[(&str, &str)]) -> Course {
    let mut cluster = cluster(data, Some(1));
    // The devices of the last daemon must not come too late for the first generation: the course is to be its own.
    for (name, devices) in daemons {
        cluster.start_daemon(name, devices);
    }
    cluster.expect_exit(0);
    course(&cluster)
}

fn course(cluster: &Cluster) -> Course {
    let digest = cluster.trainer_output(&["digest", &cluster.output().display().to_string()]);
    let losses = cluster
        .metrics()
        .iter()
        .map(|line| {
            let losses = serde_json::from_value(line["loss_by_rank"].clone()).unwrap();
            (line["step"].as_u64().unwrap(), losses)
        })
        .collect();
    (digest, losses)
}

#[test]
fn photographs_train_to_the_same_bits_in_every_placement() {
    let Some(data) = photographs() else { return };
    let four_devices = run(data.clone(), &[("a", "cpu:2"), ("b", "cpu:2")]);
    assert_eq!(four_devices.1.len(), 16);
    assert_eq!(four_devices.0.len(), 64, "a digest: {:?}", four_devices.0);
    assert_ne!(four_devices.1[0].1, four_devices.1[15].1, "the losses move");
    assert_eq!(
        run(data.clone(), &[("a", "cpu:1")]),
        four_devices,
        "one device hosts all ranks"
    );
    assert_eq!(
        run(data, &[("a", "cpu:2"), ("b", "cpu:1")]),
        four_devices,
        "three devices"
    );
}

#[test]
fn a_run_killed_in_mid_epoch_goes_on_to_the_same_bits() {
    let Some(data) = photographs() else { return };
    let calm = run(data.clone(), &[("a", "cpu:2"), ("b", "cpu:2")]);
    let mut cluster = cluster(data, None);
    cluster.start_daemon("a", "cpu:2");
    cluster.start_daemon("b", "cpu:2");
    // Between the checkpoints of steps 5 and 10: step 7 is lost, and taken again.
    cluster.wait_for("step 7", |status| {
        status.progress.as_ref().is_some_and(|p| p.step >= Step(7))
    });
    for daemon in ["a", "b"] {
        cluster.daemon(daemon).signal(Signal::KILL);
    }
    cluster.coordinator().signal(Signal::KILL);
    for daemon in ["a", "b"] {
        cluster.daemon(daemon).wait();
    }
    cluster.coordinator().wait();
    cluster.start_coordinator();
    cluster.start_daemon("a", "cpu:2");
    cluster.start_daemon("b", "cpu:2");
    cluster.expect_exit(0);
    assert_eq!(course(&cluster), calm);
}
