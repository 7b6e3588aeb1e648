//! What is refused, with the sentence that says why.

use m2t_tests::harness::{Cluster, ClusterSettings, pretend_data};

use crate::{assert_finished, two_daemons_of_two, wait_held_at};

#[test]
fn a_second_daemon_of_a_name_is_refused_and_the_run_goes_on() {
    let mut cluster = two_daemons_of_two();
    cluster.control.hold(5);
    wait_held_at(&cluster, 5);
    let mut second = cluster.daemon_process("a", "cpu:2", &[]);
    second.expect_exit(2);
    let said = second.output();
    assert!(
        said.contains("called a is already attached") && said.contains("--name"),
        "{said}"
    );
    cluster.control.release();
    assert_finished(&mut cluster);
}

#[test]
fn a_machine_with_other_data_is_refused() {
    let mut cluster = two_daemons_of_two();
    cluster.control.hold(5);
    wait_held_at(&cluster, 5);
    let other = cluster.path("other-data");
    pretend_data(&other, 322);
    let mut stranger = cluster.daemon_process("c", "cpu:1", &["--data", other.to_str().unwrap()]);
    stranger.expect_exit(2);
    let said = stranger.output();
    assert!(said.contains("322") && said.contains("323"), "{said}");
    cluster.control.release();
    assert_finished(&mut cluster);
}

#[test]
fn a_machine_without_the_data_says_so_and_waits() {
    let mut cluster = two_daemons_of_two();
    cluster.control.hold(5);
    wait_held_at(&cluster, 5);
    let stranger = cluster.daemon_process("c", "cpu:1", &["--data", "/nowhere"]);
    stranger.wait_for_text("/nowhere");
    cluster.wait_for("the reason in the status", |status| {
        status.events.iter().any(|event| event.text.contains("/nowhere"))
    });
    cluster.control.release();
    assert_finished(&mut cluster);
}

#[test]
fn bad_options_are_refused_in_a_sentence() {
    let mut cluster = Cluster::new(ClusterSettings::fake());
    cluster.start_coordinator();
    for (devices, more, expected) in [
        ("gpu", &[][..], "cpu:2"),
        ("0-3", &[], "--devices 0,1,2,3: no NVIDIA driver on this machine"),
        ("cpu:1", &["--name", "two words"], "--name"),
        ("cpu:1", &["--trainer", "/nowhere/m2t-trainer"], "--trainer"),
    ] {
        let mut daemon = cluster.daemon_process("a", devices, more);
        daemon.expect_exit(2);
        let said = daemon.output();
        assert!(
            said.contains(expected) && !said.contains("panicked"),
            "{devices} {more:?}: {said}"
        );
    }
}

#[test]
fn a_status_that_cannot_be_had_is_one_sentence() {
    let mut cluster = Cluster::new(ClusterSettings::fake());
    cluster.start_coordinator();
    cluster.coordinator().kill();
    let mut status = cluster.m2t(&["status"]);
    status.expect_exit(1);
    let said = status.output();
    assert!(
        said.starts_with("m2t: no coordinator answers at 127.0.0.1:"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
}
