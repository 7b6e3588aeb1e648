//! Processes die, hang and fail; the run ends as if nothing had happened.

use m2t_common::status::{PhaseName, Status};
use m2t_tests::fake::Fault;
use m2t_tests::harness::{Cluster, ClusterSettings, wait_until_gone};
use rustix::process::Signal;

use crate::{assert_finished, ranks_of, two_daemons_of_two, wait_held_at};

/// The generation ends by whoever is heard first: the daemon of the trainer that failed, or a peer under which the group broke.
fn assert_ended_by_a_trainer(status: &Status) {
    assert!(status.generation.0 >= 2);
    let ended = |text: &str| {
        text.starts_with("generation 1 ended: the trainer of device")
            || text.starts_with("generation 1 ended: the group broke under device")
    };
    assert!(
        status.events.iter().any(|event| ended(&event.text)),
        "{:#?}",
        status.events
    );
}

#[test]
fn a_killed_trainer_costs_a_generation_and_nothing_else() {
    let mut cluster = two_daemons_of_two();
    cluster.control.fault("b:1", 13, Fault::Die);
    cluster.control.hold(14);
    assert_ended_by_a_trainer(&wait_held_at(&cluster, 14));
    let said = "the trainer of device 1 was killed by signal 9";
    cluster.daemon("b").wait_for_text(said);
    cluster.control.release();
    assert_finished(&mut cluster);
}

#[test]
fn what_a_trainer_said_last_is_reported_with_its_exit_status() {
    let mut cluster = two_daemons_of_two();
    cluster.control.fault("a:0", 3, Fault::Exit(9));
    cluster.control.hold(4);
    assert_ended_by_a_trainer(&wait_held_at(&cluster, 4));
    let said = "the trainer of device 0 ended with exit status 9: told to fail before step 3";
    cluster.daemon("a").wait_for_text(said);
    cluster.control.release();
    assert_finished(&mut cluster);
}

#[test]
fn a_trainer_that_hangs_holds_up_no_new_generation() {
    let mut cluster = two_daemons_of_two();
    // One hangs; another dies, which ends the generation. The one that hangs must be out of the way for the next.
    cluster.control.fault("a:1", 13, Fault::Hang);
    cluster.control.fault("b:1", 13, Fault::Die);
    assert_finished(&mut cluster);
    cluster
        .daemon("a")
        .wait_for_text("killed the trainer of device 1 (generation 1)");
}

#[test]
fn trainers_that_fail_again_and_again_end_the_run() {
    let mut cluster = Cluster::new(ClusterSettings {
        min_devices: Some(1),
        ..ClusterSettings::fake()
    });
    // Without its steering folder a fake trainer fails at once.
    std::fs::remove_dir_all(cluster.control.folder()).unwrap();
    cluster.start_coordinator();
    cluster.start_daemon("a", "cpu:1");
    cluster.expect_exit(3);
}

#[test]
fn a_trainer_that_cannot_be_started_ends_the_run_with_the_reason() {
    let mut cluster = Cluster::new(ClusterSettings {
        min_devices: Some(1),
        ..ClusterSettings::fake()
    });
    let trainer = cluster.path("small.toml"); // A file, but no program.
    cluster.start_coordinator();
    let mut daemon = cluster.daemon_process("a", "cpu:1", &["--trainer", trainer.to_str().unwrap()]);
    daemon.expect_exit(3);
    let said = daemon.output();
    assert!(
        said.contains("could not be started") && said.contains("small.toml"),
        "{said}"
    );
    cluster.expect_exit(3);
}

#[test]
fn a_killed_daemon_takes_its_trainers_along_and_may_come_back() {
    let mut cluster = two_daemons_of_two();
    cluster.control.hold(13);
    wait_held_at(&cluster, 13);
    let trainers = ["b:0", "b:1"].map(|device| cluster.control.pid(device).unwrap());
    cluster.daemon("b").kill();
    for trainer in trainers {
        wait_until_gone(trainer);
    }
    let status = cluster.wait_for("the run waiting", |status| {
        status.phase == PhaseName::Regrouping && status.reason.contains(" of 4 devices")
    });
    let status = if status.reason.contains("waiting for 2") {
        status
    } else {
        cluster.wait_for("what it waits for", |status| {
            status.reason.contains("waiting for 2")
        })
    };
    assert!(status.reason.contains("2 of 4 devices"), "{}", status.reason);
    cluster.start_daemon("b", "cpu:2");
    let status = wait_held_at(&cluster, 13);
    assert_eq!(ranks_of(&status, "b").len(), 2);
    cluster.control.release();
    assert_finished(&mut cluster);
}

#[test]
fn a_killed_coordinator_finds_its_generation_at_work() {
    let mut cluster = two_daemons_of_two();
    cluster.control.hold(13);
    let before = wait_held_at(&cluster, 13).generation;
    cluster.coordinator().kill();
    cluster
        .daemon("a")
        .wait_for_text("waiting for the coordinator at");
    cluster.start_coordinator();
    let after = wait_held_at(&cluster, 13).generation;
    assert_eq!(after, before, "its trainers never stopped");
    cluster.control.release();
    assert_finished(&mut cluster);
}

#[test]
fn all_killed_at_once_go_on_from_the_newest_checkpoint() {
    let mut cluster = two_daemons_of_two();
    // In mid-epoch, five steps after the checkpoint of step 8.
    cluster.control.hold(13);
    wait_held_at(&cluster, 13);
    for name in ["a", "b"] {
        cluster.daemon(name).signal(Signal::KILL);
    }
    cluster.coordinator().kill();
    cluster.control.release();
    cluster.start_coordinator();
    cluster.start_daemon("a", "cpu:2");
    cluster.start_daemon("b", "cpu:2");
    assert_finished(&mut cluster);
}

#[test]
fn a_silent_daemon_is_lost_and_its_successor_takes_over() {
    let mut cluster = two_daemons_of_two();
    cluster.control.hold(13);
    wait_held_at(&cluster, 13);
    cluster.daemon("b").signal(Signal::STOP);
    cluster.wait_for("the silent machine lost", |status| {
        status.phase == PhaseName::Regrouping && status.reason.contains("waiting for 2")
    });
    cluster.daemon("b").signal(Signal::CONT);
    let status = wait_held_at(&cluster, 13);
    assert_eq!(ranks_of(&status, "b").len(), 2);
    cluster.control.release();
    assert_finished(&mut cluster);
}
