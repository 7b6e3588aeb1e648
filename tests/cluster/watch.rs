//! `m2t status --watch` in a terminal: what it shows, the orders it gives, and the terminal as it was afterwards.

use m2t_common::status::PhaseName;
use m2t_tests::harness::Terminal;
use rustix::process::{Pid, Signal, kill_process};

use crate::{two_daemons_of_two_on_at_least, wait_held_at};

const SIZE: (u16, u16) = (100, 30);

#[test]
fn a_run_is_watched_steered_and_left_and_the_terminal_is_as_it_was() {
    let mut cluster = two_daemons_of_two_on_at_least(2);
    cluster.control.hold(13);
    wait_held_at(&cluster, 13);
    let mut view = Terminal::start(cluster.command(&["status", "--watch"]), SIZE);
    view.wait_for("● training");
    view.wait_for("step 13 of 60");
    view.wait_for("2 machines, 4 of 4 devices host the 4 ranks");
    assert!(!view.is_cooked(), "keys come one by one");

    let lost = cluster.control.pid("b:1").unwrap();
    kill_process(Pid::from_raw(lost).unwrap(), Signal::KILL).unwrap();
    view.wait_for("generation 1 ended: the trainer of device b:1 failed");

    // Nothing happens before the answer, and what is refused is said.
    view.press("r");
    view.wait_for("Resume the run?");
    view.press("y");
    view.wait_for("not done: ");
    view.press("p");
    view.wait_for("Pause the run?");
    view.press("y");
    view.wait_for("paused");
    cluster.wait_for("the pause", |status| status.phase == PhaseName::Paused);

    // Another size is another view, also while it waits.
    view.resize((60, 20));
    view.wait_for("paused");

    cluster.coordinator().kill();
    view.wait_for("NO COORDINATOR");
    cluster.start_coordinator();
    view.wait_for("4 ranks of 4 images");
    view.wait_for("○ paused");

    view.press("q");
    view.expect_exit(0);
    assert!(view.is_cooked(), "the terminal is as it was");
    assert!(view.has_left_its_screen());
    assert_eq!(cluster.status().unwrap().phase, PhaseName::Paused);
}

#[test]
fn a_view_that_is_ended_gives_the_terminal_back_and_so_does_the_end_of_the_run() {
    let mut cluster = two_daemons_of_two_on_at_least(2);
    cluster.control.hold(13);
    wait_held_at(&cluster, 13);
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129)] {
        let mut view = Terminal::start(cluster.command(&["status", "--watch"]), SIZE);
        view.wait_for("● training");
        view.signal(signal);
        view.expect_exit(code);
        assert!(view.is_cooked() && view.has_left_its_screen());
    }
    let mut view = Terminal::start(cluster.command(&["status", "--watch"]), SIZE);
    view.wait_for("● training");
    cluster.control.release();
    cluster.expect_exit(0);
    view.expect_exit(0);
    assert!(view.is_cooked() && view.has_left_its_screen());
    // The last status stays.
    view.wait_for("phase         finished");
}
