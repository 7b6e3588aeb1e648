//! Stops by hand: at one common step, with a checkpoint, and gone on with later.

use m2t_common::status::PhaseName;
use m2t_tests::harness::{Cluster, ClusterSettings, wait_until_gone};
use rustix::process::Signal;

use crate::{assert_finished, ranks_of, two_daemons_of_two, wait_held_at};

#[test]
fn a_stopped_run_goes_on_at_the_exact_step() {
    let mut cluster = two_daemons_of_two();
    // 13 is neither the end of an epoch nor a step of `checkpoint_every`.
    cluster.control.hold(13);
    wait_held_at(&cluster, 13);
    cluster.coordinator().signal(Signal::TERM);
    cluster.expect_exit(4);
    assert!(
        cluster
            .output()
            .join("checkpoints/step-000000013/manifest.json")
            .is_file()
    );
    cluster.control.release();
    cluster.start_coordinator();
    cluster.start_daemon("a", "cpu:2");
    cluster.start_daemon("b", "cpu:2");
    assert_finished(&mut cluster);
}

#[test]
fn a_damaged_checkpoint_is_passed_over_for_the_one_before() {
    let mut cluster = two_daemons_of_two();
    cluster.control.hold(13);
    wait_held_at(&cluster, 13);
    cluster.coordinator().signal(Signal::TERM);
    cluster.expect_exit(4);
    let state = cluster
        .output()
        .join("checkpoints/step-000000013/state.safetensors");
    let mut bytes = std::fs::read(&state).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&state, bytes).unwrap();
    cluster.start_coordinator();
    cluster.coordinator().wait_for_text("step-000000013");
    cluster.control.hold(9);
    cluster.start_daemon("a", "cpu:2");
    cluster.start_daemon("b", "cpu:2");
    // It went on from step 8, so step 9 is taken again.
    wait_held_at(&cluster, 9);
    cluster.control.release();
    assert_finished(&mut cluster);
}

#[test]
fn a_run_nobody_joined_stops_at_once() {
    let mut cluster = Cluster::new(ClusterSettings::fake());
    cluster.start_coordinator();
    cluster.coordinator().signal(Signal::INT);
    cluster.expect_exit(4);
}

#[test]
fn a_daemon_that_is_stopped_leaves_after_a_drain_and_the_rest_goes_on() {
    let mut cluster = Cluster::new(ClusterSettings {
        min_devices: Some(2),
        ..ClusterSettings::fake()
    });
    cluster.start_coordinator();
    cluster.start_daemon("a", "cpu:2");
    cluster.start_daemon("b", "cpu:2");
    cluster.control.hold(13);
    let first = wait_held_at(&cluster, 13).generation;
    cluster.daemon("b").signal(Signal::TERM);
    cluster.daemon("b").expect_exit(4);
    let status = cluster.wait_for("the rest training", |status| {
        status.phase == PhaseName::Training && status.generation > first
    });
    assert_eq!(
        ranks_of(&status, "a").iter().map(Vec::len).collect::<Vec<_>>(),
        [2, 2]
    );
    cluster.control.release();
    cluster.forget_daemon("b");
    assert_finished(&mut cluster);
}

#[test]
fn a_second_signal_ends_a_daemon_at_once() {
    let mut cluster = two_daemons_of_two();
    cluster.control.hold(5);
    wait_held_at(&cluster, 5);
    let trainers = ["a:0", "a:1"].map(|device| cluster.control.pid(device).unwrap());
    // With the coordinator silent nobody drains the group.
    cluster.coordinator().signal(Signal::STOP);
    cluster.daemon("a").signal(Signal::TERM);
    cluster
        .daemon("a")
        .wait_for_text("leaving: waiting for the group");
    cluster.daemon("a").signal(Signal::TERM);
    cluster.daemon("a").expect_exit(4);
    for trainer in trainers {
        wait_until_gone(trainer);
    }
}

#[test]
fn a_daemon_without_a_coordinator_stops_at_once() {
    let mut cluster = Cluster::new(ClusterSettings::fake());
    cluster.start_coordinator();
    cluster.coordinator().kill();
    cluster.start_daemon("a", "cpu:1");
    cluster
        .daemon("a")
        .wait_for_text("waiting for the coordinator at");
    cluster.daemon("a").signal(Signal::TERM);
    cluster.daemon("a").expect_exit(4);
}
