//! What encoders are worth: told once, by the device that speaks for all, and again where steps are done again.

use std::time::Duration;

use m2t_common::Step;
use m2t_common::evaluation::{Evaluation, EvaluationLine, Method, Side};
use m2t_common::report::News;
use m2t_common::status::PhaseName;

use super::{Story, found};
use crate::DiskFacts;

fn evaluation(step: u64, method: Method, n_correct: u64) -> Evaluation {
    Evaluation {
        step: Step(step),
        encoder: Side::Teacher,
        method,
        n_images: 10,
        n_correct,
        n_correct5: 9,
        n_memory: 24,
        duration: Duration::from_secs(1),
    }
}

fn evaluating(done: u64) -> News {
    News::Evaluating {
        step: Step(1),
        done,
        of: 4,
    }
}

#[test]
fn a_figure_counts_once_and_from_the_first_device() {
    let mut story = Story::training(4);
    for _ in 0..3 {
        story.step();
    }
    story.news(2, 0, News::Evaluated(evaluation(3, Method::Knn, 4)));
    assert_eq!(story.effects(), [""; 0], "it does not speak for all");
    story.news(1, 0, News::Evaluated(evaluation(3, Method::Knn, 4)));
    assert_eq!(story.effects(), ["evaluated 3"]);
    assert_eq!(story.notices(), ["evaluated"]);
    story.news(1, 0, News::Evaluated(evaluation(3, Method::Probe, 5)));
    assert_eq!(story.effects(), ["evaluated 3"]);
    // The daemon was away and says all of it again.
    story.news(1, 0, News::Evaluated(evaluation(3, Method::Knn, 4)));
    assert_eq!((story.effects().len(), story.notices().len()), (0, 0));
    // Beyond the run.
    story.news(1, 0, News::Evaluated(evaluation(1_000, Method::Knn, 4)));
    assert_eq!(story.effects(), [""; 0]);
    let shown = story.core.status().evaluations;
    let shown: Vec<_> = shown
        .iter()
        .map(|line| (line.method, line.n_correct, line.epoch))
        .collect();
    // Two steps an epoch of 24 images.
    assert_eq!(shown, [(Method::Knn, 4, 1), (Method::Probe, 5, 1)]);
}

#[test]
fn what_could_not_be_found_out_is_told_and_ends_nothing() {
    let mut story = Story::training(4);
    story.step();
    let failed = News::EvaluationFailed {
        step: Step(1),
        reason: "val/x.png cannot be decoded".to_owned(),
    };
    story.news(1, 0, failed);
    assert_eq!(story.notices(), ["evaluation_failed"]);
    assert_eq!(story.core.status().phase, PhaseName::Training);
}

#[test]
fn an_evaluation_is_progress_and_its_silence_is_none() {
    let mut story = Story::training(4);
    story.step();
    for done in 1..4 {
        story.wait(100_000, &[1, 2]);
        story.news(1, 0, evaluating(done));
        let told = format!("evaluating the state of step 1: {done} of 4 rounds done");
        assert!(
            story.phase_and_reason().ends_with(&told),
            "{}",
            story.phase_and_reason()
        );
    }
    assert_eq!(story.core.status().phase, PhaseName::Training);
    story.news(1, 0, evaluating(4));
    assert!(!story.phase_and_reason().contains("evaluating"), "it is over");
    story.news(2, 1, evaluating(2));
    assert!(
        !story.phase_and_reason().contains("evaluating"),
        "it does not speak for all"
    );
    // A round that hangs is found as a step that hangs.
    story.wait(130_000, &[1, 2]);
    assert_ne!(story.core.status().phase, PhaseName::Training);
}

#[test]
fn steps_that_are_done_again_are_evaluated_again() {
    let line = |step: u64| {
        let settings = super::settings(4).recipe.run.neighbours();
        EvaluationLine::new(
            &evaluation(step, Method::Knn, step),
            (step, Default::default()),
            settings,
        )
    };
    let journal = Story::training(4).journal;
    let disk = DiskFacts {
        found: vec![found(2)],
        evaluations: vec![line(2), line(4)],
        metrics: Step(4),
        ..DiskFacts::default()
    };
    let mut story = Story::resumed(4, journal, disk);
    let newest = |story: &Story| {
        story
            .core
            .status()
            .evaluations
            .iter()
            .map(|line| line.step.0)
            .collect::<Vec<_>>()
    };
    assert_eq!(newest(&story), [4]);
    story.wait(60_000, &[]);
    story.input(crate::Input::CheckpointVerified(super::checkpoint(2)));
    story.join(1, "a");
    story.join(2, "b");
    assert_eq!(story.core.status().phase, PhaseName::Forming);
    assert_eq!(
        newest(&story),
        [2],
        "what was measured at step 4 is measured again"
    );
    story.meet();
    story.step();
    story.step();
    story.news(1, 0, News::Evaluated(evaluation(4, Method::Knn, 7)));
    assert_eq!(story.effects(), ["evaluated 4"]);
    assert_eq!(story.core.status().evaluations[0].n_correct, 7);
}
