//! Devices say the digests of their states, and one differs.

use m2t_common::status::PhaseName;

use super::*;

const ALL: [(u64, u32); 4] = [(1, 0), (1, 1), (2, 0), (2, 1)];

fn digested(step: u64, digest: &str) -> News {
    News::Stepped(StepReport {
        state_digest: Some(digest.to_owned()),
        ..report(step)
    })
}

/// The next step, with the digests of the four devices; the effects of all four reports.
fn check(story: &mut Story, digests: [&str; 4]) -> Vec<String> {
    let next = story.core.status().progress.unwrap().step.next().0;
    let mut effects = Vec::new();
    for ((stream, device), digest) in ALL.into_iter().zip(digests) {
        story.news(stream, device, digested(next, digest));
        effects.extend(story.effects());
    }
    effects
}

#[test]
fn equal_states_are_vouched_for_once() {
    let mut story = Story::training(4);
    assert_eq!(check(&mut story, ["x"; 4]), ["metrics 1", "persist vouched 1"]);
    story.news_of_all(&digested(1, "y"));
    assert!(
        story.effects().is_empty(),
        "what is repeated is not compared again"
    );
    story.step();
    assert_eq!(story.effects(), ["metrics 2"]);
    // One word was lost on the way; the next comparison does not wait for it.
    story.news(1, 0, digested(3, "x"));
    story.news(1, 0, digested(4, "z"));
    for (stream, device) in [(1, 1), (2, 0), (2, 1)] {
        story.news(stream, device, digested(4, "z"));
    }
    assert!(story.effects().contains(&"persist vouched 4".to_owned()));
}

#[test]
fn a_device_that_differs_is_named_and_takes_the_state_of_the_others() {
    let mut story = Story::training(4);
    story.step();
    assert_eq!(
        check(&mut story, ["x", "x", "y", "x"]),
        [
            "metrics 2",
            "persist differ 2 b:0",
            "to 1: hold 1",
            "to 2: hold 1"
        ]
    );
    assert_eq!(story.notices(), ["replica_differs", "generation_ended"]);
    // It is the farthest, and no donor.
    story.hold(&[(2, 0)], 3);
    story.hold(&[(1, 1), (2, 1)], 2);
    story.hold(&[(1, 0)], 2);
    assert_eq!(
        story.effects(),
        [
            "persist committed 2",
            "persist generation 2 from 2 of a:0, not of b:0: a:0=0 a:1=1 b:0=2 b:1=3",
            "cut back to 2",
            "to 1: train 2",
            "to 2: train 2"
        ]
    );
    story.meet();
    // Until all agree again it is no survivor either.
    story.fail(1, 0, "killed");
    story.hold(&ALL[1..], 2);
    story.news_of(0, 1, 0, News::Warm);
    let formed = story.effects();
    assert!(
        formed
            .iter()
            .any(|effect| effect.contains("from 2 of a:1, not of b:0")),
        "{formed:?}"
    );
}

#[test]
fn who_agreed_again_is_trusted_again() {
    let mut story = Story::training(4);
    check(&mut story, ["x", "x", "y", "x"]);
    story.hold(&ALL, 1);
    story.meet();
    assert_eq!(check(&mut story, ["x"; 4]), ["metrics 2", "persist vouched 2"]);
    story.fail(1, 0, "killed");
    story.hold(&ALL[1..], 2);
    story.warm(1, 1);
    let formed = story.effects().join("\n");
    assert!(formed.contains("from 2 of a:1: "), "{formed}");
}

#[test]
fn a_checkpoint_of_the_device_that_differs_is_set_aside_and_an_agreed_one_is_there() {
    let mut story = Story::training(4);
    story.step();
    story.checkpoint();
    check(&mut story, ["x"; 4]);
    for _ in 0..3 {
        story.step();
        story.checkpoint();
    }
    let kept: Vec<u64> = story
        .core
        .history
        .checkpoints
        .keys()
        .map(|name| name.step().0)
        .collect();
    assert_eq!(
        kept,
        [1, 4, 5],
        "the newest two, and the one of before the agreement at step 2"
    );
    let effects = check(&mut story, ["y", "x", "x", "x"]);
    assert_eq!(
        effects[1..6],
        [
            "persist differ 6 a:0",
            "persist dropped 4 Suspect",
            "set aside 4",
            "persist dropped 5 Suspect",
            "set aside 5"
        ]
    );
    // What it was still writing.
    story.news(1, 0, News::Checkpointed(checkpoint(6)));
    assert!(
        story.effects().contains(&"set aside 6".to_owned()),
        "{:?}",
        story.effects()
    );
}

#[test]
fn a_checkpoint_of_the_majority_stays() {
    let mut story = Story::training(4);
    story.step();
    story.checkpoint();
    let effects = check(&mut story, ["x", "x", "x", "y"]);
    assert!(
        effects.iter().all(|effect| !effect.contains("aside")),
        "{effects:?}"
    );
    assert_eq!(story.core.status().checkpoint.unwrap().step, Step(1));
}

#[test]
fn without_a_majority_the_run_pauses_and_goes_on_from_before() {
    let mut story = Story::training(4);
    story.step();
    story.checkpoint();
    check(&mut story, ["x"; 4]);
    story.step();
    story.checkpoint();
    let effects = check(&mut story, ["x", "x", "y", "y"]);
    assert_eq!(
        effects[1..5],
        [
            "persist dropped 3 Suspect",
            "set aside 3",
            "persist no majority 4",
            "persist ended"
        ]
    );
    assert_eq!(
        story.notices()[1..],
        ["replicas_without_majority", "generation_ended", "paused"]
    );
    let reason = story.phase_and_reason();
    assert!(
        reason.starts_with("Paused: paused at step 1, with 4 devices ready because at step 4 the states of the devices differed"),
        "{reason}"
    );

    // The same after a restart, until an operator resumes it.
    let mut story = Story::resumed(
        4,
        story.journal.clone(),
        DiskFacts {
            found: vec![found(1)],
            ..DiskFacts::default()
        },
    );
    assert!(
        story.phase_and_reason().contains("differed"),
        "{}",
        story.phase_and_reason()
    );
    for (stream, machine) in [(1, "a"), (2, "b")] {
        story.hello(stream, machine, 2);
        story.say(stream, FromMachine::Ready(facts()));
    }
    assert_eq!(story.core.status().phase, PhaseName::Paused);
    story.input(Input::Order {
        ticket: crate::Ticket(1),
        order: m2t_common::order::Order::Resume,
    });
    story.warm(1, 2);
    story.warm(2, 2);
    let formed = story.effects().join("\n");
    assert!(formed.contains("persist generation 2 from 1: "), "{formed}");
    assert!(formed.contains("cut back to 1"), "{formed}");
}

#[test]
fn a_difference_that_is_told_when_the_generation_is_over_counts() {
    let mut story = Story::training(4);
    for ((stream, device), digest) in ALL.into_iter().zip(["x", "x", "x", "y"]).skip(1) {
        story.news(stream, device, digested(1, digest));
    }
    story.fail(1, 1, "killed");
    story.news(1, 0, digested(1, "x"));
    assert!(
        story.effects().contains(&"persist differ 1 b:1".to_owned()),
        "{:?}",
        story.effects()
    );
    story.hold(&[(1, 0), (2, 0), (2, 1)], 1);
    story.news_of(0, 1, 1, News::Warm);
    let formed = story.effects().join("\n");
    assert!(formed.contains("from 1 of a:0, not of b:1"), "{formed}");
}
