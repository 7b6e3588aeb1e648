//! Which data set binds the run, who is refused for another, and how much of it may be damaged.

use m2t_common::machine_link::{DataFacts, FromMachine, Outcome, ToMachine};
use m2t_common::report::{News, ReplacedFile};
use m2t_common::shard::Sample;
use m2t_common::status::PhaseName;

use super::{Story, checkpoint, facts, report};
use crate::{Effect, Input, Record};

fn other(n_samples: u64, fingerprint: &str) -> DataFacts {
    DataFacts {
        n_samples,
        fingerprint: fingerprint.into(),
    }
}

/// What the last effects tell the machine on `stream` that the run is bound to.
fn bound_in_welcome(story: &Story, stream: u64) -> Option<DataFacts> {
    story.last.iter().find_map(|effect| match effect {
        Effect::Send {
            stream: to,
            message: ToMachine::Welcome(welcome),
        } if to.0 == stream => welcome.bound.clone(),
        _ => None,
    })
}

#[test]
fn the_data_of_most_devices_bind_the_run_whoever_came_first() {
    let mut story = Story::new(4);
    story.hello(1, "a", 2);
    story.say(1, FromMachine::Ready(other(25, "g")));
    story.warm(1, 2);
    story.join(2, "b");
    assert_eq!(
        story.phase_and_reason(),
        "Gathering: 2 of 4 devices; waiting for 2 (the data set of b, of 24 images, is not that of most devices)"
    );
    story.join(3, "c");
    assert_eq!(story.core.status().phase, PhaseName::Forming);
    // The odd one is asked to compare, and refused by its own word.
    assert_eq!(bound_in_welcome(&story, 1), Some(facts()));
    story.say(
        1,
        FromMachine::OtherData {
            facts: other(25, "g"),
            difference: "n1/x.jpg is only here".into(),
        },
    );
    assert_eq!(
        story.effects(),
        [
            "to 1: refuse: its data set of 25 images is not the run's of 24: n1/x.jpg is only here; give the same data with --data on every machine",
            "close 1"
        ]
    );
    assert_eq!(story.notices(), ["machine_refused"]);
    assert_eq!(story.core.status().machines.len(), 2);
    assert_eq!(story.core.status().phase, PhaseName::Forming);
}

#[test]
fn a_machine_that_comes_later_is_told_at_once_what_binds() {
    let mut story = Story::training(4);
    story.hello(3, "c", 1);
    assert_eq!(bound_in_welcome(&story, 3), Some(facts()));
    // It ought to know better, and is refused all the same.
    story.say(3, FromMachine::Ready(other(24, "g")));
    assert_eq!(
        story.effects()[0],
        "to 3: refuse: its data set of 24 images is not the run's of 24: its fingerprint is g; give the same data with --data on every machine"
    );
    assert_eq!(story.core.status().phase, PhaseName::Training);
}

#[test]
fn equal_numbers_of_devices_are_decided_by_name() {
    let mut story = Story::new(2);
    story.hello(1, "b", 2);
    story.say(1, FromMachine::Ready(other(25, "g")));
    story.warm(1, 2);
    story.join(2, "a");
    story.wait(3_000, &[1, 2]);
    assert_eq!(story.core.status().phase, PhaseName::Forming);
    assert!(story.journal.contains(&Record::Data(facts())));
    assert_eq!(story.core.status().machines[1].state, "checking data");
}

#[test]
fn data_that_were_found_equal_after_all_are_taken() {
    let mut story = Story::training(4);
    story.hello(3, "c", 1);
    story.say(
        3,
        FromMachine::OtherData {
            facts: facts(),
            difference: "of another coordinator's run".into(),
        },
    );
    assert_eq!(story.core.status().machines[2].state, "spare");
}

#[test]
fn a_data_set_too_small_for_one_batch_binds_nobody() {
    let mut story = Story::new(4);
    story.hello(1, "a", 4);
    story.say(1, FromMachine::Ready(other(7, "s")));
    assert!(
        story.effects()[0].contains("7 images, fewer than one global batch of 8"),
        "{:?}",
        story.effects()
    );
    story.hello(2, "b", 4);
    story.say(2, FromMachine::Ready(facts()));
    story.warm(2, 4);
    assert_eq!(story.core.status().phase, PhaseName::Forming);
}

fn damaged(step: u64, sample: u64) -> News {
    let mut report = report(step);
    report.replaced = vec![ReplacedFile {
        sample: Sample(sample),
        by: Sample(sample + 1),
        path: format!("n1/{sample}.JPEG"),
        reason: "the file is empty".into(),
    }];
    News::Stepped(report)
}

#[test]
fn a_damaged_file_is_told_of_once_and_too_many_end_the_run_with_a_checkpoint() {
    let mut story = Story::new(4);
    story.core.settings.recipe.run.replaced_limit = 1.0 / 24.0;
    story.join(1, "a");
    story.join(2, "b");
    story.meet();
    story.news(1, 0, damaged(1, 5));
    assert_eq!(story.notices(), ["file_replaced"]);
    story.news(1, 1, damaged(1, 5));
    assert_eq!(story.notices(), [""; 0]);
    assert_eq!(story.core.status().progress.unwrap().replaced, 1);
    assert_eq!(story.core.status().phase, PhaseName::Training);

    story.news(2, 0, damaged(1, 6));
    assert_eq!(story.notices(), ["file_replaced", "draining"]);
    story.news(2, 1, News::Stepped(report(1)));
    story.news(1, 0, News::Checkpointed(checkpoint(1)));
    story.input(Input::CheckpointVerified(checkpoint(1)));
    let step = m2t_common::Step(1);
    story.news_of_all(&News::Stopped { step });
    let status = story.core.status();
    assert_eq!(status.phase, PhaseName::Failed);
    assert!(
        status
            .reason
            .starts_with("2 of 24 files cannot be decoded, more than run.replaced_limit = 0.0416"),
        "{}",
        status.reason
    );
    assert!(story.last.contains(&Effect::Exit(Outcome::Failed)));
    assert!(
        story
            .journal
            .iter()
            .any(|record| super::show_record(record) == "checkpoint 1")
    );
}

#[test]
fn a_checkpoint_that_cannot_be_written_ends_nothing_and_a_drain_waits_for_it() {
    let mut story = Story::training(4);
    story.step();
    let failed = News::CheckpointFailed {
        step: m2t_common::Step(1),
        reason: "no room".into(),
    };
    story.news(1, 0, failed.clone());
    assert_eq!(story.notices(), ["checkpoint_failed"]);
    assert_eq!(
        story.phase_and_reason(),
        "Training: generation 1 from the beginning on 4 devices; the checkpoint of step 1 could not be written: no room"
    );
    story.input(Input::Stop);
    // Far beyond the patience of a drain, as long as it is tried.
    for _ in 0..4 {
        for _ in 0..50 {
            story.wait(1_000, &[1, 2]);
        }
        story.news(1, 0, failed.clone());
        assert_eq!(story.notices(), [""; 0], "the same is not told twice");
    }
    assert_eq!(story.core.status().phase, PhaseName::Draining);
    story.news(1, 0, News::Checkpointed(checkpoint(1)));
    story.news_of_all(&News::Stopped {
        step: m2t_common::Step(1),
    });
    story.input(Input::CheckpointVerified(checkpoint(1)));
    assert_eq!(
        story.phase_and_reason(),
        "Stopped: stopped by hand; the same command continues from step 1"
    );
}

#[test]
fn a_slow_file_is_told_once_and_shown_until_it_is_read() {
    let mut story = Story::training(4);
    let slow = |files: &[&str]| News::SlowFiles {
        files: files.iter().map(|&file| file.to_owned()).collect(),
    };
    let shown = |story: &Story| -> Vec<String> {
        let machines = story.core.status().machines;
        let devices = machines.into_iter().flat_map(|machine| machine.devices);
        devices.flat_map(|device| device.slow_files).collect()
    };
    story.news(1, 0, slow(&["a/1.jpg"]));
    assert_eq!(story.notices(), ["file_slow"]);
    story.news(1, 0, slow(&["a/1.jpg", "b/2.jpg"]));
    assert_eq!(story.notices(), ["file_slow"], "only the second is new");
    assert_eq!(shown(&story), ["a/1.jpg", "b/2.jpg"]);
    story.news(1, 0, slow(&[]));
    assert_eq!(story.notices(), [""; 0]);
    assert!(shown(&story).is_empty());
}
