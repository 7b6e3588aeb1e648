//! Steps, checkpoints, failures.

use super::*;
use m2t_common::report::Stage;
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
        bottleneck: Some(Stage::Decode),
        ..report(1)
    };
    story.news(2, 1, News::Stepped(slow));
    assert_eq!(story.effects(), ["metrics 1"]);
    let Some(Effect::Metrics(step)) = story.last.first() else {
        panic!("{:?}", story.last)
    };
    assert_eq!((step.images_per_second, step.data_wait), (40.0, 0.5));
    assert_eq!(step.bottleneck, Some(Stage::Decode), "the worst device's");
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
fn a_failed_trainer_costs_no_step_and_is_back_when_another_stands_by() {
    let mut story = Story::training(1);
    story.step();
    story.checkpoint();
    story.step();
    story.fail(2, 1, "killed by signal 9");
    assert_eq!(story.effects(), ["to 1: hold 1", "to 2: hold 1"]);
    // One had not heard the last of step 3 and one had: that step is whole.
    story.news(1, 1, News::Stepped(report(3)));
    story.hold(&[(1, 0)], 2);
    story.hold(&[(1, 1)], 3);
    assert_eq!(
        story.phase_and_reason(),
        "Regrouping: generation 1 is over; asking b:0 for its state"
    );
    story.hold(&[(2, 0)], 2);
    assert_eq!(
        story.effects(),
        [
            "metrics 3",
            "persist committed 3",
            "persist generation 2 from 3 of a:1: a:0=0,1 b:0=2 a:1=3",
            "cut back to 3",
            "to 1: train 2",
            "to 2: train 2"
        ]
    );
    let rendezvous = Rendezvous(b"h:2".to_vec());
    story.news(1, 0, News::Rendezvous { rendezvous });
    let three = [(1, 0), (1, 1), (2, 0)];
    for (stream, device) in three {
        story.news(stream, device, News::Ready { step: Step(3) });
    }
    story.news_of(0, 2, 1, News::Warm);
    assert_eq!(
        story.core.status().phase,
        PhaseName::Training,
        "not before a step is done"
    );
    for (stream, device) in three {
        story.news(stream, device, News::Stepped(report(4)));
    }
    assert_eq!(
        story.effects(),
        [
            "metrics 4",
            "to 1: train 2 meet then hold",
            "to 2: train 2 meet then hold"
        ]
    );
    story.hold(&three, 5);
    assert!(
        story
            .effects()
            .contains(&"persist generation 3 from 5 of a:0: a:0=0 a:1=1 b:0=2 b:1=3".to_owned()),
        "{:?}",
        story.effects()
    );
}

#[test]
fn a_broken_group_is_known_by_the_first_who_says_so_and_the_cause_is_told_when_it_comes() {
    let mut story = Story::training(4);
    story.step();
    let broken = Some("a peer is gone".to_owned());
    story.news(
        1,
        0,
        News::Held {
            step: Step(1),
            broken,
        },
    );
    assert_eq!(story.effects(), ["to 1: hold 1", "to 2: hold 1"]);
    assert_eq!(story.notices(), ["generation_ended"]);
    story.fail(2, 1, "killed by signal 9");
    assert_eq!(story.notices(), ["device_failed_too"]);
    // The whole machine is gone: nobody waits for it.
    story.hold(&[(1, 1)], 1);
    story.input(Input::StreamEnded { stream: StreamId(2) });
    assert_eq!(
        story.phase_and_reason(),
        "Regrouping: generation 1 is over; 2 of 4 devices; waiting for 2 (b lost its connection)"
    );
}

#[test]
fn who_does_not_answer_in_time_is_done_without() {
    let mut story = Story::training(2);
    story.step();
    story.fail(2, 1, "killed by signal 9");
    story.hold(&[(1, 0), (1, 1)], 1);
    for _ in 0..16 {
        story.wait(2_000, &[1, 2]);
    }
    assert_eq!(story.core.status().phase, PhaseName::Regrouping);
    story.wait(1_000, &[1, 2]);
    assert_eq!(
        show_record(story.journal.last().unwrap()),
        "generation 2 from 1 of a:0: a:0=0,1 a:1=2,3"
    );
}

#[test]
fn replacements_are_waited_for_if_asked_to() {
    for replacement_comes in [false, true] {
        let mut story = Story::training(1);
        story.core.settings.replace_wait = Duration::from_secs(5);
        story.step();
        story.fail(2, 1, "killed by signal 9");
        story.hold(&[(1, 0), (1, 1), (2, 0)], 1);
        story.wait(2_500, &[1, 2]);
        assert_eq!(story.core.status().phase, PhaseName::Regrouping);
        let expected = if replacement_comes {
            story.news_of(0, 2, 1, News::Warm);
            "generation 2 from 1 of a:0: a:0=0 a:1=1 b:0=2 b:1=3"
        } else {
            assert!(story.core.next_deadline() <= Some(story.now_after(2_500)));
            story.wait(2_500, &[1, 2]);
            "generation 2 from 1 of a:0: a:0=0,1 b:0=2 a:1=3"
        };
        assert_eq!(show_record(story.journal.last().unwrap()), expected);
    }
}

#[test]
fn the_next_generation_waits_for_a_checkpoint_that_is_ahead_of_all_who_are_left() {
    let mut story = Story::training(4);
    story.step();
    story.news(1, 0, News::Checkpointed(checkpoint(2)));
    story.fail(1, 0, "oops");
    story.hold(&[(1, 1), (2, 0), (2, 1)], 1);
    assert_eq!(story.core.status().phase, PhaseName::Regrouping);
    story.news_of(0, 1, 0, News::Warm);
    assert_eq!(story.core.status().phase, PhaseName::Regrouping);
    story.input(Input::CheckpointVerified(checkpoint(2)));
    assert!(
        story
            .effects()
            .contains(&"persist generation 2 from 2: a:0=0 a:1=1 b:0=2 b:1=3".to_owned()),
        "{:?}",
        story.effects()
    );
}

#[test]
fn a_donor_whose_trainer_died_meanwhile_ends_the_generation_that_counts_on_it() {
    let mut story = Story::training(1);
    story.step();
    story.fail(2, 1, "killed by signal 9");
    story.hold(&[(1, 0), (1, 1), (2, 0)], 1);
    assert_eq!(story.core.status().generation, Generation(2));
    // It said so before it heard of generation 2.
    let reason = "killed by signal 9".to_owned();
    story.news_of(1, 1, 0, News::Failed { reason });
    assert_eq!(story.core.status().phase, PhaseName::Regrouping);
}

#[test]
fn three_generations_without_a_step_fail_the_run_with_the_last_reason() {
    let mut story = Story::training(1);
    story.fail(1, 1, "no memory");
    story.hold(&[(1, 0), (2, 0), (2, 1)], 0);
    assert_eq!(story.core.status().generation, Generation(2));
    story.fail(1, 0, "no memory");
    story.hold(&[(2, 0), (2, 1)], 0);
    assert_eq!(story.core.status().generation, Generation(3));
    story.fail(2, 0, "no memory");
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
         b:0 failed: no memory"
    );
}
