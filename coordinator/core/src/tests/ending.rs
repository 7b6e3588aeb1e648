//! Leaving, stopping, finishing.

use super::*;
use m2t_common::status::PhaseName;

#[test]
fn a_machine_that_leaves_costs_nothing_where_enough_go_on() {
    let mut story = Story::training(2);
    story.step();
    story.say(2, FromMachine::Leaving);
    assert_eq!(
        story.effects(),
        ["to 1: train 1 meet then hold", "to 2: train 1 meet then hold"]
    );
    story.step();
    story.hold(&[(1, 0), (1, 1), (2, 0), (2, 1)], 2);
    assert_eq!(
        story.effects(),
        [
            "to 2: dismiss Stopped",
            "close 2",
            "to 1: hold 1",
            "persist committed 2",
            "persist generation 2 from 2 of a:0: a:0=0,1 a:1=2,3",
            "cut back to 2",
            "to 1: train 2"
        ]
    );
}

#[test]
fn a_machine_that_leaves_too_few_behind_drains_the_group_with_a_checkpoint() {
    let mut story = Story::training(3);
    story.step();
    story.say(2, FromMachine::Leaving);
    assert_eq!(story.effects()[0], "to 1: train 1 meet then stop");
    story.news(1, 0, News::Checkpointed(checkpoint(1)));
    story.news_of_all(&News::Stopped { step: Step(1) });
    assert_eq!(
        story.phase_and_reason(),
        "Draining: a machine leaves; 4 of 4 devices stopped; waiting for the checkpoint"
    );
    story.input(Input::CheckpointVerified(checkpoint(1)));
    assert_eq!(
        story.effects(),
        [
            "persist checkpoint 1",
            "persist committed 1",
            "persist ended",
            "to 2: dismiss Stopped",
            "close 2",
            "to 1: stand by 1"
        ]
    );
}

#[test]
fn the_last_that_keep_the_state_save_it_before_they_leave() {
    let mut story = Story::training(3);
    story.step();
    story.input(Input::StreamEnded { stream: StreamId(1) });
    story.wait(3_000, &[2]);
    story.hold(&[(2, 0), (2, 1)], 1);
    assert_eq!(story.core.status().phase, PhaseName::Regrouping);
    story.say(2, FromMachine::Leaving);
    assert_eq!(
        story.effects()[1..],
        [
            "persist committed 1",
            "persist generation 2 from 1 of b:0: b:0=0,1,2,3",
            "cut back to 1",
            "to 2: train 2",
            "to 2: train 2 then stop"
        ]
    );
}

#[test]
fn a_machine_that_trains_nothing_leaves_at_once() {
    let mut story = Story::training(4);
    story.join(3, "c");
    story.say(3, FromMachine::Leaving);
    assert_eq!(story.effects(), ["to 3: dismiss Stopped", "close 3"]);
    assert_eq!(story.core.status().phase, PhaseName::Training);
}

#[test]
fn a_machine_that_leaves_a_forming_generation_ends_it() {
    let mut story = Story::new(4);
    story.join(1, "a");
    story.join(2, "b");
    story.say(2, FromMachine::Leaving);
    assert_eq!(
        story.effects(),
        ["to 2: dismiss Stopped", "close 2", "to 1: hold 1"]
    );
    assert_eq!(
        story.phase_and_reason(),
        "Regrouping: generation 1 is over; asking a:0, a:1 for its state"
    );
    // They had none yet.
    story.warm(1, 2);
    assert_eq!(
        story.phase_and_reason(),
        "Gathering: 2 of 4 devices; waiting for 2"
    );
}

#[test]
fn a_stop_drains_then_dismisses() {
    let mut story = Story::training(4);
    story.step();
    story.input(Input::Stop);
    assert_eq!(
        story.effects(),
        ["to 1: train 1 meet then stop", "to 2: train 1 meet then stop"]
    );
    story.input(Input::Stop);
    assert!(story.effects().is_empty());
    story.news(1, 0, News::Checkpointed(checkpoint(1)));
    story.input(Input::CheckpointVerified(checkpoint(1)));
    story.news_of_all(&News::Stopped { step: Step(1) });
    assert_eq!(
        story.effects(),
        [
            "to 1: dismiss Stopped",
            "close 1",
            "to 2: dismiss Stopped",
            "close 2",
            "exit Stopped"
        ]
    );
    assert_eq!(
        story.phase_and_reason(),
        "Stopped: stopped by hand; the same command continues from step 1"
    );
}

#[test]
fn a_stop_while_nothing_trains_is_immediate() {
    let mut story = Story::new(4);
    story.input(Input::Stop);
    assert_eq!(story.effects(), ["exit Stopped"]);
    let mut story = Story::new(4);
    story.join(1, "a");
    story.join(2, "b");
    story.input(Input::Stop);
    assert_eq!(story.effects().last().unwrap(), "exit Stopped");
}

#[test]
fn a_stop_during_a_drain_turns_it_into_a_stop() {
    let mut story = Story::training(4);
    story.say(2, FromMachine::Leaving);
    story.input(Input::Stop);
    story.news_of_all(&News::Stopped { step: Step(0) });
    assert_eq!(story.effects().last().unwrap(), "exit Stopped");
}

#[test]
fn a_drain_that_never_ends_is_bounded() {
    let mut story = Story::training(4);
    story.input(Input::Stop);
    for _ in 0..59 {
        story.wait(2_000, &[1, 2]);
        assert_eq!(story.core.status().phase, PhaseName::Draining);
    }
    story.wait(2_000, &[1, 2]);
    assert_eq!(story.core.status().phase, PhaseName::Regrouping);
    for (stream, device) in [(1, 0), (1, 1), (2, 0), (2, 1)] {
        story.fail(stream, device, "it did not answer");
    }
    assert_eq!(story.effects().last().unwrap(), "exit Stopped");
}

#[test]
fn a_failure_while_stopping_loses_nothing() {
    let mut story = Story::training(4);
    story.step();
    story.input(Input::Stop);
    story.fail(2, 0, "oops");
    story.hold(&[(1, 0), (1, 1), (2, 1)], 1);
    assert_eq!(
        story.phase_and_reason(),
        "Draining: the coordinator was asked to stop; 0 of 3 devices stopped; waiting for a:0, a:1, b:1"
    );
    story.news(1, 0, News::Checkpointed(checkpoint(2)));
    story.input(Input::CheckpointVerified(checkpoint(2)));
    for (stream, device) in [(1, 0), (1, 1), (2, 1)] {
        story.news(stream, device, News::Stopped { step: Step(2) });
    }
    assert_eq!(story.effects().last().unwrap(), "exit Stopped");
}

#[test]
fn the_run_finishes_when_every_device_has() {
    let mut story = Story::training(4);
    for _ in 0..12 {
        story.step();
    }
    let finished = News::Finished {
        step: Step(12),
        state_digest: "d12".into(),
    };
    story.news(2, 0, finished.clone());
    assert_eq!(story.effects(), ["to 1: train 1 meet", "to 2: train 1 meet"]);
    let reason = "exit code 1".to_owned();
    story.news(2, 0, News::Failed { reason });
    assert!(story.effects().is_empty(), "it has done its work");
    story.news(1, 0, News::Checkpointed(checkpoint(12)));
    story.news_of_all(&finished);
    assert_eq!(story.core.status().phase, PhaseName::Draining);
    story.input(Input::CheckpointVerified(checkpoint(12)));
    assert_eq!(
        story.effects(),
        [
            "persist checkpoint 12",
            "persist committed 12",
            "persist finished 12 d12",
            "to 1: dismiss Finished",
            "close 1",
            "to 2: dismiss Finished",
            "close 2",
            "exit Finished"
        ]
    );
    assert_eq!(story.phase_and_reason(), "Finished: all 12 steps are done");
    story.hello(3, "a", 2);
    assert_eq!(story.effects(), ["to 3: dismiss Finished", "close 3"]);
}

#[test]
fn a_machine_that_has_done_its_work_may_go_before_the_others() {
    let mut story = Story::training(4);
    for _ in 0..12 {
        story.step();
    }
    let finished = || News::Finished {
        step: Step(12),
        state_digest: "d12".into(),
    };
    story.news(2, 0, finished());
    story.news(2, 1, finished());
    story.input(Input::StreamEnded { stream: StreamId(2) });
    story.wait(3_000, &[1]);
    story.news(1, 0, finished());
    story.news(1, 1, finished());
    assert_eq!(story.effects().last().unwrap(), "exit Finished");
}
