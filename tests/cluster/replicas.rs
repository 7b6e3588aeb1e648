//! A bit flips in a device's memory: the replica check finds it.

use m2t_common::Step;
use m2t_common::status::PhaseName;
use m2t_tests::harness::{Cluster, ClusterSettings};

use crate::assert_finished;

/// The tests' experiment, with the states compared at steps 20, 40 and 60.
fn checked() -> ClusterSettings {
    let mut settings = ClusterSettings::fake();
    settings.experiment.push_str("replica_check = 20\n");
    settings
}

/// The events of a kind.
fn events(cluster: &Cluster, kind: &str) -> Vec<String> {
    let text = std::fs::read_to_string(cluster.output().join("events.jsonl")).unwrap();
    let events = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let of_kind = events.filter(|event: &serde_json::Value| event["kind"] == kind);
    of_kind
        .map(|event| event["text"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_corrupted_device_is_named_and_takes_the_state_of_the_others() {
    let mut cluster = Cluster::new(checked());
    cluster.control.corrupt("b:1", 27);
    // The whole run takes milliseconds: it is not to be over before its coordinator has compared.
    cluster.control.hold(41);
    cluster.start_coordinator();
    cluster.start_daemon("a", "cpu:2");
    cluster.start_daemon("b", "cpu:2");
    cluster.wait_for("the next generation", |status| status.generation.0 == 2);
    cluster.control.release();
    assert_finished(&mut cluster);
    let named = events(&cluster, "replica_differs");
    assert!(
        matches!(&named[..], [one] if one.starts_with("at step 40 the state of b:1 is not that of the other devices")),
        "{named:?}"
    );
}

#[test]
fn the_checkpoints_of_a_corrupted_first_device_count_no_more() {
    let mut cluster = Cluster::new(checked());
    cluster.control.corrupt("a:0", 30);
    // The whole run takes milliseconds: it is not to be over before its coordinator has compared.
    cluster.control.hold(41);
    cluster.start_coordinator();
    cluster.start_daemon("a", "cpu:2");
    cluster.start_daemon("b", "cpu:2");
    cluster.wait_for("the next generation", |status| status.generation.0 == 2);
    cluster.control.release();
    assert_finished(&mut cluster);
    assert_eq!(events(&cluster, "replica_differs").len(), 1);
    // Those of steps 32 and 40, of which the latter may never have been reported in time.
    let suspects = events(&cluster, "checkpoint_suspect");
    assert!(
        suspects.iter().any(|text| text.contains("step-000000032")),
        "{suspects:?}"
    );
}

#[test]
fn two_devices_that_differ_pause_the_run_and_it_goes_on_from_before() {
    let mut cluster = two_daemons_of_one();
    // On a slow disk the checkpoints would come after the comparison of step 40, and that of step 20 would be none yet.
    let last = Step(32);
    cluster.wait_for("the checkpoints before", |status| {
        status
            .checkpoint
            .as_ref()
            .is_some_and(|newest| newest.step >= last)
    });
    cluster.control.hold(41);
    let paused = cluster.wait_for("the pause", |status| status.phase == PhaseName::Paused);
    // Steps 24 and 32 were checkpointed since all agreed at step 20, and the run kept that of step 20.
    let said = "paused at step 20";
    assert!(
        paused.reason.starts_with(said)
            && paused
                .reason
                .contains("at step 40 the states of the devices differed"),
        "{}",
        paused.reason
    );
    cluster.control.release();
    cluster.m2t(&["resume"]).expect_exit(0);
    assert_finished(&mut cluster);
    let told = events(&cluster, "replicas_without_majority");
    assert!(
        matches!(&told[..], [one] if one.contains("m2t resume goes on from step 20")),
        "{told:?}"
    );
}

fn two_daemons_of_one() -> Cluster {
    let mut cluster = Cluster::new(ClusterSettings {
        min_devices: Some(2),
        ..checked()
    });
    cluster.control.corrupt("b:0", 30);
    cluster.control.hold(39);
    cluster.start_coordinator();
    cluster.start_daemon("a", "cpu:1");
    cluster.start_daemon("b", "cpu:1");
    cluster
}
