//! Steps, checkpoints, failures.

use super::*;
use m2t_common::status::PhaseName;

#[test]
fn a_step_is_committed_when_every_device_has_reported_it() {
    let mut story = Story::training(4);
    for (stream, device) in [(1, 0), (1, 1), (2, 0)] {
        story.news(stream, device, News::Stepped(report(1)));
        assert!(story.effects().is_empty());
    }
    story.news(1, 0, News::Stepped(report(2)));
    let slow = StepReport {
        duration: Duration::from_millis(200),
        data_wait: Duration::from_millis(100),
        ..report(1)
    };
    story.news(2, 1, News::Stepped(slow));
    assert_eq!(story.effects(), ["metrics 1"]);
    let Some(Effect::Metrics(step)) = story.last.first() else {
        panic!("{:?}", story.last)
    };
    assert_eq!((step.images_per_second, step.data_wait), (40.0, 0.5));
    assert_eq!(
        (step.epoch, step.step_in_epoch, step.generation),
        (0, 0, Generation(1))
    );
    let progress = story.core.status().progress.unwrap();
    assert_eq!((progress.step, progress.loss), (Step(1), Some(3.9)));
    assert_eq!(progress.remaining, Some(Duration::from_millis(2_200)));
}

#[test]
fn repeated_late_and_impossible_reports_count_nothing() {
    let mut story = Story::training(4);
    story.step();
    assert_eq!(story.effects(), ["metrics 1"]);
    story.news_of_all(&News::Stepped(report(1)));
    story.news_of_all(&News::Stepped(report(13)));
    assert!(story.effects().is_empty());
    story.news_of(0, 1, 0, News::Stepped(report(2)));
    story.news(1, 9, News::Stepped(report(2)));
    assert_eq!(story.core.status().progress.unwrap().step, Step(1));
    story.step();
    assert_eq!(story.effects(), ["metrics 2"]);
}

#[test]
fn a_report_lost_on_the_way_does_not_hold_back_the_others() {
    let mut story = Story::training(4);
    for (stream, device) in [(1, 1), (2, 0), (2, 1)] {
        story.news(stream, device, News::Stepped(report(1)));
        story.news(stream, device, News::Stepped(report(2)));
    }
    story.news(1, 0, News::Stepped(report(2)));
    assert_eq!(story.effects(), ["metrics 1", "metrics 2"]);
}

#[test]
fn a_checkpoint_counts_once_verified_and_the_newest_two_are_kept() {
    let mut story = Story::training(4);
    for step in 1..=3 {
        story.step();
        story.news(1, 0, News::Checkpointed(checkpoint(step)));
        assert_eq!(story.effects(), [format!("verify {step}")]);
        assert_eq!(
            story.core.status().checkpoint.map(|c| c.step.0),
            step.checked_sub(1).filter(|&s| s > 0)
        );
        story.news(1, 0, News::Checkpointed(checkpoint(step)));
        assert!(story.effects().is_empty());
        story.input(Input::CheckpointVerified(checkpoint(step)));
        assert_eq!(story.effects()[0], format!("persist checkpoint {step}"));
    }
    assert_eq!(
        story.effects()[1..],
        ["persist committed 3", "persist dropped 1 Superseded", "delete 1"]
    );
    story.news(2, 0, News::Checkpointed(checkpoint(3)));
    assert!(
        story.effects().is_empty(),
        "only the first device writes checkpoints"
    );
}

#[test]
fn a_checkpoint_commits_its_step() {
    let mut story = Story::training(4);
    story.news(1, 0, News::Stepped(report(1)));
    story.news(1, 0, News::Checkpointed(checkpoint(1)));
    assert_eq!(story.effects(), ["metrics 1", "verify 1"]);
    story.news(2, 1, News::Stepped(report(1)));
    assert!(story.effects().is_empty());
}

#[test]
fn a_broken_checkpoint_is_set_aside_and_does_not_count() {
    let mut story = Story::training(4);
    story.step();
    story.news(1, 0, News::Checkpointed(checkpoint(1)));
    story.input(Input::CheckpointBroken {
        name: CheckpointName::new(Step(1)),
        problem: "cut".into(),
    });
    assert_eq!(story.effects(), ["set aside 1"]);
    assert_eq!(story.core.status().checkpoint, None);
}

#[test]
fn a_failed_trainer_ends_the_generation_and_the_next_starts_from_the_newest_checkpoint() {
    let mut story = Story::training(4);
    story.step();
    story.checkpoint();
    story.step();
    let reason = "killed by signal 9".to_owned();
    story.news(2, 1, News::Failed { reason });
    assert_eq!(
        story.effects(),
        [
            "to 1: idle 1",
            "to 2: idle 1",
            "persist generation 2 from 1: a:0=0 a:1=1 b:0=2 b:1=3",
            "cut back to 1",
            "to 1: train 2",
            "to 2: train 2"
        ]
    );
    assert_eq!(story.core.status().progress.unwrap().step, Step(1));
    let reason = "connection reset".to_owned();
    story.news_of(1, 1, 0, News::Failed { reason });
    assert!(
        story.effects().is_empty(),
        "the peers' failures belong to the generation that is over"
    );
    story.meet();
    story.step();
    assert_eq!(story.effects(), ["metrics 2"]);
}

#[test]
fn the_next_generation_waits_for_a_checkpoint_that_is_being_verified() {
    let mut story = Story::training(4);
    story.step();
    story.news(1, 0, News::Checkpointed(checkpoint(1)));
    let reason = "oops".to_owned();
    story.news(1, 0, News::Failed { reason });
    assert_eq!(story.effects(), ["to 1: idle 1", "to 2: idle 1"]);
    assert_eq!(
        story.phase_and_reason(),
        "Gathering: 4 of 4 devices; about to form (verifying checkpoint step-000000001)"
    );
    story.input(Input::CheckpointVerified(checkpoint(1)));
    assert_eq!(
        story.effects()[2],
        "persist generation 2 from 1: a:0=0 a:1=1 b:0=2 b:1=3"
    );
}

#[test]
fn a_trainer_at_another_step_than_the_checkpoints_fails_its_generation() {
    let mut story = Story::training(4);
    story.step();
    story.checkpoint();
    let reason = "oops".to_owned();
    story.news(1, 0, News::Failed { reason });
    story.news(1, 0, News::Ready { step: Step(0) });
    assert_eq!(story.core.status().generation, Generation(3));
}

#[test]
fn three_generations_without_a_step_fail_the_run_with_the_last_reason() {
    let mut story = Story::training(4);
    for generation in 1..=2 {
        let reason = "no memory".to_owned();
        story.news(1, 1, News::Failed { reason });
        assert_eq!(story.core.status().generation, Generation(generation + 1));
    }
    let reason = "no memory".to_owned();
    story.news(1, 1, News::Failed { reason });
    assert_eq!(
        story.effects(),
        [
            "to 1: dismiss Failed",
            "close 1",
            "to 2: dismiss Failed",
            "close 2",
            "exit Failed"
        ]
    );
    assert_eq!(
        story.phase_and_reason(),
        "Failed: 3 generations in a row ended before a step was committed; the last because the trainer of device \
         a:1 failed: no memory"
    );
}

#[test]
fn a_committed_step_forgives_earlier_failures() {
    let mut story = Story::training(4);
    for _ in 0..5 {
        let reason = "flaky".to_owned();
        story.news(1, 1, News::Failed { reason });
        story.meet();
        story.step();
    }
    assert_eq!(story.core.status().phase, PhaseName::Training);
}
