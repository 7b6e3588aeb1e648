//! A coordinator that starts again.

use super::*;
use crate::{ResumeError, Ticket};
use m2t_common::order::Order;
use m2t_common::status::{PhaseName, Status};

/// What of a status is journalled.
fn journalled(status: &Status) -> (Generation, Option<CheckpointReport>, u32, Option<u64>) {
    let total = status.progress.as_ref().map(|progress| progress.total_steps);
    (status.generation, status.checkpoint.clone(), status.world, total)
}

#[test]
fn a_reload_knows_what_was_journalled_and_the_next_generation_is_higher() {
    let mut before = Story::training(4);
    before.step();
    before.checkpoint();
    before.step();
    let disk = DiskFacts {
        evaluations: vec![],
        found: vec![found(1)],
        damaged: vec![],
        metrics: Step(0),
        samples: Step(0),
    };
    let mut after = Story::resumed(4, before.journal.clone(), disk);
    assert_eq!(after.notices(), ["recovering", "run_continued"]);
    assert_eq!(
        journalled(&after.core.status()),
        journalled(&before.core.status())
    );
    assert_eq!(after.core.status().progress.unwrap().step, Step(1));
    // Everything died with it: the daemons that come have no trainers.
    after.join(1, "a");
    assert_eq!(after.core.status().phase, PhaseName::Regrouping);
    after.hello(2, "b", 2);
    assert_eq!(after.core.status().phase, PhaseName::Regrouping);
    after.say(2, FromMachine::Ready(facts()));
    after.warm(2, 2);
    assert_eq!(after.effects()[0], "persist ended", "nobody kept a state");
    assert_eq!(after.core.status().generation, Generation(2));
    after.news_of(1, 1, 0, News::Stepped(report(2)));
    assert!(after.effects().is_empty());
}

#[test]
fn what_a_checkpoint_holds_counts_also_where_the_coordinator_was_killed_before_it_said_so() {
    let mut before = Story::training(4);
    before.step();
    before.checkpoint();
    assert_eq!(before.effects(), ["persist checkpoint 1", "persist committed 1"]);
    before.journal.pop();
    let disk = DiskFacts {
        found: vec![found(1)],
        ..DiskFacts::default()
    };
    let after = Story::resumed(4, before.journal, disk);
    assert_eq!(after.effects(), ["persist committed 1"]);
    assert_eq!(after.core.account().ledger.spans[0].generation, Generation(1));
}

#[test]
fn a_drain_that_ended_while_no_coordinator_ran_is_over_at_once() {
    let mut before = Story::training(4);
    before.step();
    before.checkpoint();
    let (ticket, order) = (Ticket(0), Order::Pause);
    before.input(Input::Order { ticket, order });
    let disk = DiskFacts {
        found: vec![found(1)],
        ..DiskFacts::default()
    };
    let mut after = Story::resumed(4, before.journal, disk);
    for (stream, machine) in [(1, "a"), (2, "b")] {
        let trainers = [(DeviceIndex(0), Generation(1)), (DeviceIndex(1), Generation(1))];
        let trainers = trainers.into_iter().collect();
        let hello = hello(machine, 7, 2);
        after.say(stream, FromMachine::Hello(Hello { trainers, ..hello }));
        after.say(stream, FromMachine::Ready(facts()));
    }
    after.news_of_all(&News::Stopped { step: Step(1) });
    assert_eq!(after.core.status().phase, PhaseName::Paused);
}

#[test]
fn a_damaged_newest_checkpoint_gives_way_to_the_one_before() {
    let mut before = Story::training(4);
    before.step();
    before.checkpoint();
    before.step();
    before.checkpoint();
    let disk = DiskFacts {
        evaluations: vec![],
        found: vec![found(1)],
        damaged: vec![(CheckpointName::new(Step(2)), "cut".into())],
        metrics: Step(0),
        samples: Step(0),
    };
    let after = Story::resumed(4, before.journal, disk);
    assert_eq!(after.effects(), ["persist dropped 2 Damaged", "set aside 2"]);
    assert_eq!(
        after.notices(),
        ["checkpoint_damaged", "recovering", "run_continued"]
    );
    assert_eq!(after.core.status().checkpoint, Some(checkpoint(1)));
}

#[test]
fn the_registry_follows_the_disk() {
    let mut before = Story::training(4);
    before.step();
    before.checkpoint();
    let disk = DiskFacts {
        evaluations: vec![],
        found: vec![found(2), found(3), found(4)],
        damaged: vec![],
        metrics: Step(0),
        samples: Step(0),
    };
    let after = Story::resumed(4, before.journal, disk);
    assert_eq!(
        after.effects(),
        [
            "persist dropped 1 Missing",
            "persist checkpoint 2",
            "persist checkpoint 3",
            "persist checkpoint 4",
            "persist committed 4",
            "persist dropped 2 Superseded",
            "delete 2"
        ]
    );
    assert_eq!(after.core.status().progress.unwrap().step, Step(4));
}

#[test]
fn a_lost_journal_is_replaced_by_the_checkpoints_and_their_data_set_binds() {
    let disk = DiskFacts {
        evaluations: vec![],
        found: vec![found(3)],
        damaged: vec![],
        metrics: Step(0),
        samples: Step(0),
    };
    let mut story = Story::resumed(4, vec![], disk);
    story.hello(1, "a", 4);
    let other = DataFacts {
        n_samples: 32,
        fingerprint: "f".into(),
    };
    story.say(1, FromMachine::Ready(other));
    assert!(
        story.effects()[0].contains("has 32 images and the run's checkpoints were made with 24"),
        "{:?}",
        story.effects()
    );
    story.hello(2, "b", 4);
    story.say(2, FromMachine::Ready(facts()));
    story.warm(2, 4);
    assert_eq!(
        story.effects()[1],
        "persist generation 1 from 3: b:0=0 b:1=1 b:2=2 b:3=3"
    );
}

#[test]
fn another_recipe_is_refused_by_its_keys() {
    let journal = Story::new(4).journal;
    let mut other = settings(4);
    other.recipe.training.lr256 = 1.5;
    other.recipe.run.keep_checkpoints = 9;
    let error = Core::new(other.clone(), journal.clone()).unwrap_err();
    let differences = vec![("training.lr256".to_owned(), "1.5".to_owned(), "0.05".to_owned())];
    assert_eq!(error, ResumeError::OtherRecipe { differences });
    other.recipe.training.lr256 = 0.05;
    Core::new(other, journal).unwrap();
}

#[test]
fn a_finished_run_stays_finished() {
    let mut journal = Story::new(4).journal;
    journal.push(Record::Finished {
        step: Step(12),
        state_digest: "d12".into(),
    });
    let story = Story::resumed(4, journal, DiskFacts::default());
    assert_eq!(
        story.effects(),
        ["persist committed 12", "persist finished 12 d12", "exit Finished"]
    );
    assert_eq!(story.core.status().phase, PhaseName::Finished);
}

#[test]
fn a_run_whose_last_checkpoint_is_of_the_last_step_is_finished() {
    let disk = DiskFacts {
        evaluations: vec![],
        found: vec![found(12)],
        damaged: vec![],
        metrics: Step(0),
        samples: Step(0),
    };
    let mut story = Story::resumed(4, vec![], disk);
    story.hello(1, "a", 4);
    story.say(1, FromMachine::Ready(facts()));
    assert_eq!(story.effects().last().unwrap(), "exit Finished");
}
