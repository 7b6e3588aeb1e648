//! Who takes part: Hello, Ready, reconnection, loss.

use super::*;
use m2t_common::status::PhaseName;

#[test]
fn a_machine_is_welcomed_and_told_to_stand_by() {
    let mut story = Story::new(4);
    assert_eq!(story.journal.len(), 1);
    story.hello(1, "a", 2);
    assert_eq!(story.effects(), ["to 1: welcome", "to 1: idle 0"]);
    assert_eq!(
        story.phase_and_reason(),
        "Gathering: 0 of 4 devices; waiting for 4 (a is checking its data)"
    );
    story.say(1, FromMachine::Ready(facts()));
    assert_eq!(story.effects(), ["to 1: stand by 0"]);
    assert_eq!(
        story.phase_and_reason(),
        "Gathering: 0 of 4 devices; waiting for 4 (starting the trainers of a:0, a:1)"
    );
    story.warm(1, 2);
    assert_eq!(
        story.phase_and_reason(),
        "Gathering: 2 of 4 devices; waiting for 2"
    );
    story.say(1, FromMachine::Heartbeat);
    assert_eq!(story.effects(), ["to 1: stand by 0"]);
}

#[test]
fn who_may_not_take_part_is_told_why() {
    let other_version = Hello {
        version: "2".into(),
        ..hello("b", 7, 1)
    };
    let mut twins = hello("b", 7, 2);
    twins.devices[1].index = DeviceIndex(0);
    for (stream, hello, expected) in [
        (
            2,
            other_version,
            "this daemon is version 2 and the coordinator is version 1",
        ),
        (2, hello("b", 7, 0), "offers no device"),
        (2, twins, "a device of the same number twice"),
        (2, hello("a", 8, 2), "a machine called a is already attached"),
        (1, hello("b", 7, 2), "this stream belongs to machine a"),
    ] {
        let mut story = Story::new(4);
        story.join(1, "a");
        story.say(stream, FromMachine::Hello(hello));
        let effects = story.effects();
        assert!(
            effects[0].contains(expected),
            "{effects:?} does not say {expected:?}"
        );
        assert_eq!(effects[1], format!("close {stream}"));
        assert_eq!(story.notices(), ["machine_refused"]);
        assert_eq!(story.core.status().machines.len(), 1);
    }
}

#[test]
fn a_machine_that_cannot_train_waits_and_its_devices_do_not_count() {
    let mut story = Story::new(4);
    story.hello(1, "a", 4);
    story.say(
        1,
        FromMachine::Unable {
            reason: "no such folder".into(),
        },
    );
    assert_eq!(
        story.core.status().machines[0].state,
        "cannot train: no such folder"
    );
    assert_eq!(
        story.phase_and_reason(),
        "Gathering: 0 of 4 devices; waiting for 4 (a cannot train)"
    );
}

#[test]
fn a_daemon_that_reconnects_in_time_keeps_its_generation() {
    let mut story = Story::training(4);
    story.input(Input::StreamEnded { stream: StreamId(2) });
    assert_eq!(
        story.core.status().machines[1].state,
        "connection lost; waited for another 3.0 s"
    );
    story.wait(2_999, &[1]);
    story.hello(3, "b", 2);
    assert_eq!(story.effects(), ["to 3: welcome", "to 3: train 1 meet"]);
    assert_eq!(story.notices(), ["machine_reconnected"]);
    story.wait(2_999, &[1, 3]);
    assert_eq!(story.core.status().phase, PhaseName::Training);
    assert_eq!(story.core.status().generation, Generation(1));
}

#[test]
fn the_same_daemon_on_a_new_stream_replaces_the_old_one() {
    let mut story = Story::training(4);
    story.hello(3, "b", 2);
    assert_eq!(
        story.effects(),
        ["close 2", "to 3: welcome", "to 3: train 1 meet"]
    );
    story.input(Input::StreamEnded { stream: StreamId(2) });
    assert_eq!(story.effects(), Vec::<String>::new());
    story.say(2, FromMachine::Heartbeat);
    assert_eq!(story.effects(), ["close 2"]);
}

#[test]
fn a_machine_is_lost_by_silence_or_when_it_does_not_come_back() {
    for ended in [false, true] {
        let mut story = Story::training(4);
        if ended {
            story.input(Input::StreamEnded { stream: StreamId(2) });
        }
        story.wait(2_999, &[1]);
        assert_eq!(story.core.status().phase, PhaseName::Training);
        story.wait(1, &[1]);
        let expected: &[&str] = if ended {
            &["to 1: hold 1"]
        } else {
            &["close 2", "to 1: hold 1"]
        };
        assert_eq!(story.effects(), expected);
        assert_eq!(story.notices(), ["machine_lost", "generation_ended"]);
        assert_eq!(
            story.phase_and_reason(),
            "Regrouping: generation 1 is over; asking a:0, a:1 for its state"
        );
        story.hold(&[(1, 0), (1, 1)], 0);
        assert_eq!(
            story.phase_and_reason(),
            "Regrouping: generation 1 is over; 2 of 4 devices; waiting for 2"
        );
    }
}

#[test]
fn another_daemon_of_a_name_takes_over_once_the_first_is_cut_off() {
    let mut story = Story::training(4);
    story.input(Input::StreamEnded { stream: StreamId(2) });
    story.say(3, FromMachine::Hello(hello("b", 8, 2)));
    assert_eq!(story.effects(), ["to 1: hold 1", "to 3: welcome", "to 3: hold 1"]);
    story.say(3, FromMachine::Ready(facts()));
    story.warm(3, 2);
    assert_eq!(story.core.status().generation, Generation(1));
    story.hold(&[(1, 0), (1, 1)], 0);
    assert_eq!(story.core.status().generation, Generation(2));
}

#[test]
fn a_stream_without_a_hello_is_closed() {
    let mut story = Story::new(4);
    story.say(9, FromMachine::Ready(facts()));
    assert_eq!(story.effects(), ["close 9"]);
}

#[test]
fn an_early_or_repeated_tick_is_a_no_op() {
    let mut story = Story::training(4);
    for _ in 0..3 {
        story.input(Input::Tick);
        assert!(story.last.is_empty());
    }
    assert_eq!(story.core.next_deadline(), Some(Timestamp(story.now + 3_000)));
}
