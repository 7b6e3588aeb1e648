//! What operators ask of a run: pause, resume, stop, drain; and a trainer that hangs without anybody asking.

use m2t_common::status::PhaseName;
use m2t_tests::harness::wait_until_gone;
use rustix::process::{Pid, Signal, kill_process};

use crate::{assert_finished, two_daemons_of_two, wait_held_at};

#[test]
fn a_run_is_paused_and_resumed_and_ends_as_if_nothing_had_been() {
    let mut cluster = two_daemons_of_two();
    cluster.control.hold(13);
    wait_held_at(&cluster, 13);
    let mut pause = cluster.m2t(&["pause"]);
    pause.expect_exit(0);
    assert!(pause.output().starts_with("pausing: "), "it says what will be");
    let paused = cluster.wait_for("the pause", |status| status.phase == PhaseName::Paused);
    assert!(
        paused.reason.contains("with 4 devices ready"),
        "{}",
        paused.reason
    );
    let at = paused.progress.unwrap().step;
    cluster.control.release();

    // A coordinator that is killed comes back paused.
    cluster.coordinator().kill();
    cluster.start_coordinator();
    let paused = cluster.wait_for("the pause again", |status| {
        status.phase == PhaseName::Paused && status.reason.contains("with 4 devices ready")
    });
    assert_eq!(paused.progress.unwrap().step, at);

    let mut resume = cluster.m2t(&["resume"]);
    resume.expect_exit(0);
    let mut again = cluster.m2t(&["resume"]);
    again.expect_exit(2);
    assert_eq!(
        again.output(),
        "m2t: the run is not paused; m2t status shows where it stands"
    );
    assert_finished(&mut cluster);
}

#[test]
fn a_drained_machine_leaves_and_the_others_go_on() {
    let mut cluster = crate::two_daemons_of_two_on_at_least(2);
    cluster.control.hold(13);
    wait_held_at(&cluster, 13);
    let mut unknown = cluster.m2t(&["drain", "c"]);
    unknown.expect_exit(2);
    assert_eq!(unknown.output(), "m2t: no machine is called c; attached are a, b");
    cluster.m2t(&["drain", "b"]).expect_exit(0);
    cluster.daemon("b").expect_exit(4);
    cluster.forget_daemon("b");
    cluster.control.release();
    assert_finished(&mut cluster);
}

#[test]
fn a_run_is_stopped_by_the_operator() {
    let mut cluster = two_daemons_of_two();
    cluster.control.hold(13);
    wait_held_at(&cluster, 13);
    cluster.m2t(&["stop"]).expect_exit(0);
    cluster.expect_exit(4);
    cluster.control.release();
    cluster.start_coordinator();
    cluster.start_daemon("a", "cpu:2");
    cluster.start_daemon("b", "cpu:2");
    assert_finished(&mut cluster);
}

#[test]
fn a_trainer_that_stands_still_is_replaced_by_deadline() {
    let mut cluster = two_daemons_of_two();
    cluster.control.hold(13);
    wait_held_at(&cluster, 13);
    let stopped = cluster.control.pid("b:1").unwrap();
    kill_process(Pid::from_raw(stopped).unwrap(), Signal::STOP).unwrap();
    // Far enough for the deadline, not to the end of the run: the status is to be seen.
    cluster.control.hold(40);
    let status = cluster.wait_for("a new generation", |status| status.generation.0 == 2);
    assert!(
        status
            .events
            .iter()
            .any(|event| event.text.contains("was not committed within 10 s")),
        "{:#?}",
        status.events
    );
    // It never wakes: its daemon killed it.
    wait_until_gone(stopped);
    cluster.control.release();
    assert_finished(&mut cluster);
}
