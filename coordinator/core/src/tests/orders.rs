//! What operators ask, in every phase; and a step that does not come.

use m2t_common::Step;
use m2t_common::order::{Accepted, Answer, Order, Refused};
use m2t_common::report::News;
use m2t_common::status::PhaseName;

use super::{Story, checkpoint};
use crate::{Core, DiskFacts, Effect, Input, Record, Ticket};

/// Asks, and expects the answer before anything that may end the run.
fn ask(story: &mut Story, order: Order) -> Answer {
    let ticket = Ticket(7);
    story.input(Input::Order { ticket, order });
    let position = |wanted: fn(&Effect) -> bool| story.last.iter().position(wanted);
    let answered = position(|effect| matches!(effect, Effect::Answer { .. })).expect("an answer");
    assert!(position(|effect| matches!(effect, Effect::Exit(_))).is_none_or(|exit| exit > answered));
    match &story.last[answered] {
        Effect::Answer { answer, .. } => answer.clone(),
        other => panic!("{other:?}"),
    }
}

/// The devices drain at step 1, which is checkpointed.
fn drain(story: &mut Story) {
    story.news(1, 0, News::Checkpointed(checkpoint(1)));
    story.news_of_all(&News::Stopped { step: Step(1) });
    story.input(Input::CheckpointVerified(checkpoint(1)));
}

#[test]
fn a_run_pauses_at_a_step_boundary_and_goes_on_from_there() {
    let mut story = Story::training(4);
    story.step();
    let answer = ask(&mut story, Order::Pause);
    assert_eq!(answer, Answer::Accepted(Accepted::WillPause));
    assert_eq!(
        story.effects()[..3],
        ["persist paused", "answer", "to 1: train 1 meet then stop"]
    );
    drain(&mut story);
    assert_eq!(
        story.phase_and_reason(),
        "Paused: paused at step 1, with 4 devices ready; m2t resume goes on"
    );
    assert!(story.notices().contains(&"paused"), "{:?}", story.notices());
    assert_eq!(story.effects().last().unwrap(), "to 2: idle 1");
    assert_eq!(story.core.next_deadline(), Some(story.now_after(3_000)));
    let answer = ask(&mut story, Order::Pause);
    assert_eq!(answer, Answer::Accepted(Accepted::Paused { at: Step(1) }));
    let answer = ask(&mut story, Order::Resume);
    assert_eq!(answer, Answer::Accepted(Accepted::Resumed));
    assert_eq!(story.effects()[2..], ["to 1: stand by 1", "to 2: stand by 1"]);
    story.warm(1, 2);
    story.warm(2, 2);
    assert_eq!(
        story.phase_and_reason(),
        "Forming: generation 2 from step 1: 0 of 4 devices ready; waiting for a:0, a:1, b:0, b:1"
    );
    assert_eq!(
        ask(&mut story, Order::Resume),
        Answer::Refused(Refused::NotPaused)
    );
}

#[test]
fn a_paused_run_stays_paused_over_a_crash_and_until_it_is_resumed() {
    let mut story = Story::new(4);
    ask(&mut story, Order::Pause);
    story.join(1, "a");
    story.join(2, "b");
    assert_eq!(story.core.status().phase, PhaseName::Paused);
    let mut again = Story::resumed(4, story.journal.clone(), DiskFacts::default());
    // Whoever starts it again is told why nothing begins.
    assert!(again.notices().contains(&"paused"), "{:?}", again.notices());
    again.join(1, "a");
    again.join(2, "b");
    assert!(!again.notices().contains(&"paused"), "{:?}", again.notices());
    assert_eq!(again.core.status().phase, PhaseName::Paused);
    ask(&mut again, Order::Resume);
    again.warm(1, 2);
    again.warm(2, 2);
    assert_eq!(again.core.status().phase, PhaseName::Forming);
    assert!(Core::new(super::settings(4), again.journal).is_ok());
}

#[test]
fn a_forming_generation_is_given_up_for_a_pause_and_a_pause_for_a_stop() {
    let mut story = Story::new(4);
    story.join(1, "a");
    story.join(2, "b");
    ask(&mut story, Order::Pause);
    assert_eq!(story.core.status().phase, PhaseName::Paused);
    let answer = ask(&mut story, Order::Stop);
    assert_eq!(answer, Answer::Accepted(Accepted::WillStop));
    assert_eq!(story.core.status().phase, PhaseName::Stopped);

    let mut story = Story::training(4);
    story.step();
    ask(&mut story, Order::Pause);
    ask(&mut story, Order::Stop);
    drain(&mut story);
    assert_eq!(story.core.status().phase, PhaseName::Stopped);
}

#[test]
fn a_machine_is_drained_by_name_and_only_if_it_is_there() {
    let mut story = Story::training(2);
    story.step();
    let (b, c) = ("b".parse().unwrap(), "c".parse().unwrap());
    let attached = vec!["a".parse().unwrap(), "b".parse().unwrap()];
    assert_eq!(
        ask(&mut story, Order::Drain("c".parse().unwrap())),
        Answer::Refused(Refused::NoSuchMachine { machine: c, attached })
    );
    assert_eq!(
        ask(&mut story, Order::Drain("b".parse().unwrap())),
        Answer::Accepted(Accepted::WillDrain { machine: b })
    );
    assert_eq!(story.core.status().phase, PhaseName::Draining);
    story.hold(&[(1, 0), (1, 1), (2, 0), (2, 1)], 1);
    assert_eq!(story.core.status().machines.len(), 1);
    assert_eq!(story.core.status().phase, PhaseName::Forming);
}

#[test]
fn a_run_that_ends_is_asked_nothing_more() {
    let mut journal = Story::new(4).journal;
    journal.push(Record::Finished {
        step: Step(12),
        state_digest: "d12".into(),
    });
    let mut story = Story::resumed(4, journal, DiskFacts::default());
    for order in [Order::Pause, Order::Resume, Order::Stop] {
        assert_eq!(ask(&mut story, order), Answer::Refused(Refused::Over));
    }
}

#[test]
fn a_step_that_does_not_come_ends_the_generation_long_after_steps_are_measured() {
    let mut story = Story::training(3);
    // Unmeasured, there is much time: 120 s.
    for _ in 0..59 {
        story.wait(2_000, &[1, 2]);
    }
    assert_eq!(story.core.status().phase, PhaseName::Training);
    for _ in 0..5 {
        story.step();
    }
    // Steps of 100 ms: ten heartbeat timeouts are more than ten times that.
    for _ in 0..14 {
        story.wait(2_000, &[1, 2]);
    }
    assert_eq!(story.core.status().phase, PhaseName::Training);
    story.wait(1_999, &[1, 2]);
    assert_eq!(story.core.status().phase, PhaseName::Training);
    story.wait(1, &[1, 2]);
    assert_eq!(story.core.status().phase, PhaseName::Regrouping);
    // The one that hangs is killed by its daemon; the others go on without it.
    story.hold(&[(1, 0), (1, 1), (2, 0)], 5);
    story.fail(2, 1, "it did not answer");
    assert_eq!(
        story.effects()[1],
        "persist generation 2 from 5 of a:0: a:0=0,1 b:0=2 a:1=3"
    );
    let events = story.core.status().events;
    assert!(
        events.iter().any(|event| event.text
            == "generation 1 ended: step 6 was not committed within 30 s: a trainer hangs, or its network or disk does"),
        "{events:#?}"
    );
}
