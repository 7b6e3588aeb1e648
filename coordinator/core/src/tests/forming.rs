//! From devices to a group that trains.

use super::*;
use m2t_common::status::PhaseName;

#[test]
fn a_generation_forms_with_the_last_device_and_is_journalled_first() {
    let mut story = Story::new(4);
    story.join(1, "a");
    story.join(2, "b");
    assert_eq!(
        story.effects(),
        [
            "persist data 24",
            "persist generation 1 from 0: a:0=0 a:1=1 b:0=2 b:1=3",
            "cut back to 0",
            "to 1: train 1",
            "to 2: train 1"
        ]
    );
    assert_eq!(
        story.phase_and_reason(),
        "Forming: generation 1 from the beginning: 0 of 4 devices ready; waiting for a:0, a:1, b:0, b:1"
    );
}

#[test]
fn an_extra_machine_is_a_spare() {
    let mut story = Story::training(4);
    story.join(3, "c");
    story.say(3, FromMachine::Heartbeat);
    assert_eq!(story.effects(), ["to 3: stand by 1"]);
    assert_eq!(story.core.status().machines[2].state, "spare");
}

#[test]
fn the_meeting_point_is_handed_to_all_once_and_only_from_the_first_device() {
    let mut story = Story::new(4);
    story.join(1, "a");
    story.join(2, "b");
    let at = |text: &str| News::Rendezvous {
        rendezvous: Rendezvous(text.as_bytes().to_vec()),
    };
    story.news(2, 0, at("impostor"));
    assert!(story.effects().is_empty());
    story.news(1, 0, at("h:1"));
    assert_eq!(story.effects(), ["to 1: train 1 meet", "to 2: train 1 meet"]);
    story.news(1, 0, at("h:2"));
    assert!(story.effects().is_empty());
}

#[test]
fn training_begins_when_every_device_is_ready_or_steps() {
    let mut story = Story::new(4);
    story.join(1, "a");
    story.join(2, "b");
    for (stream, device) in [(1, 0), (1, 1), (2, 0)] {
        story.news(stream, device, News::Ready { step: Step(0) });
        assert_eq!(story.core.status().phase, PhaseName::Forming);
    }
    story.news(2, 1, News::Stepped(report(1)));
    assert_eq!(
        story.phase_and_reason(),
        "Training: generation 1 from the beginning on 4 devices"
    );
}

#[test]
fn trainers_that_do_not_come_up_end_the_generation() {
    let mut story = Story::new(4);
    story.join(1, "a");
    story.join(2, "b");
    story.news(1, 0, News::Ready { step: Step(0) });
    for _ in 0..60 {
        story.wait(2_000, &[1, 2]);
    }
    assert_eq!(story.core.status().phase, PhaseName::Regrouping);
    let events = story.core.status().events;
    let ended = events
        .iter()
        .find(|event| event.kind == "generation_ended")
        .unwrap();
    assert_eq!(
        ended.text,
        "generation 1 ended: after 120 s these devices were not ready: a:1, b:0, b:1"
    );
}

#[test]
fn fewer_devices_begin_after_a_moment_of_grace() {
    let mut story = Story::new(1);
    story.join(1, "a");
    assert_eq!(
        story.phase_and_reason(),
        "Gathering: 2 of 4 devices; enough to begin, waiting a moment for 2 more"
    );
    story.wait(2_000, &[1]);
    story.hello(3, "c", 1);
    story.wait(2_000, &[1, 3]);
    assert_eq!(
        story.core.status().phase,
        PhaseName::Gathering,
        "c is still checking"
    );
    story.say(3, FromMachine::Ready(facts()));
    story.wait(1_000, &[1, 3]);
    assert_eq!(
        story.core.status().phase,
        PhaseName::Gathering,
        "the trainer of c starts"
    );
    story.warm(3, 1);
    let deadline = story.core.next_deadline().unwrap();
    story.wait(2_999, &[1, 3]);
    assert!(deadline.0 - story.now <= 1 && story.core.status().phase == PhaseName::Gathering);
    story.wait(1, &[]);
    assert_eq!(
        story.effects(),
        [
            "persist data 24",
            "persist generation 1 from 0: a:0=0,1 a:1=2 c:0=3",
            "cut back to 0",
            "to 1: train 1",
            "to 3: train 1"
        ]
    );
    let status = story.core.status();
    assert_eq!(status.machines[0].devices[0].shard, 0..4);
    assert_eq!(status.machines[1].devices[0].shard, 6..8);
}

#[test]
fn at_least_so_many_are_waited_for() {
    let mut story = Story::new(3);
    story.join(1, "a");
    assert_eq!(
        story.phase_and_reason(),
        "Gathering: 2 of 4 devices; waiting for at least 1 more"
    );
    story.wait(60_000, &[]);
    assert_eq!(story.core.status().generation, Generation(0));
}

#[test]
fn a_device_that_comes_back_gets_its_ranks_back() {
    let mut story = Story::training(4);
    story.say(1, FromMachine::Heartbeat);
    story.input(Input::StreamEnded { stream: StreamId(1) });
    story.say(3, FromMachine::Hello(hello("a", 8, 2)));
    story.say(3, FromMachine::Ready(facts()));
    story.warm(3, 2);
    story.hold(&[(2, 0), (2, 1)], 0);
    assert_eq!(
        story.effects()[0],
        "persist generation 2 from 0 of b:0: a:0=0 a:1=1 b:0=2 b:1=3"
    );
}
