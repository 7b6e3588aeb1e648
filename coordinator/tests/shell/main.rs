//! The shell in this process, over real sockets, with model daemons: journal, output folder, streams, status, exit.
//!
//! Not here: processes and signals; the `cluster` tests have those.

#![allow(
    clippy::unwrap_used,
    reason = "tests; clippy knows only the functions marked as such"
)]

mod access;
mod page;
mod reflection;
mod support;

use std::fs;

use m2t_common::machine_link::{Boundary, DataFacts, FromMachine, Outcome, StartFrom, ToMachine};
use m2t_common::manifest::{CheckpointName, STATE_FILE};
use m2t_common::report::News;
use m2t_common::status::PhaseName;
use m2t_common::{Generation, Step};
use m2t_coordinator::{Refused, open};
use m2t_proto::wire;
use support::{Daemon, Pair, args, committed, facts, folder, lines, metric_steps, start, wait_until};
use tokio_stream::StreamExt;

#[tokio::test]
async fn a_run_is_stopped_continued_and_finished() {
    let (_folder, output) = folder();
    let running = start(&output).await;
    let mut pair = Pair::join(&running).await;
    assert_eq!(
        fs::read_to_string(pair.welcome.output.join(".probe")).unwrap(),
        pair.welcome.probe
    );
    pair.steps(1..=3).await;
    wait_until(&running, |status| committed(status) == Some(Step(3))).await;
    running.stop.send(()).await.unwrap();
    pair.a.group(|_, group| group.boundary == Boundary::Stop).await;
    pair.steps(4..=4).await;
    pair.checkpoint(4).await;
    pair.say(&News::Stopped { step: Step(4) }).await;
    assert_eq!(pair.a.dismissed().await, Outcome::Stopped);
    assert_eq!(pair.b.dismissed().await, Outcome::Stopped);
    assert_eq!(running.outcome().await, Outcome::Stopped);
    assert_eq!(metric_steps(&output), [1, 2, 3, 4]);

    let running = start(&output).await;
    let mut pair = Pair::join(&running).await;
    assert_eq!(pair.generation, Generation(2));
    assert_eq!(
        pair.group.start_from,
        StartFrom::Checkpoint(CheckpointName::new(Step(4)))
    );
    pair.steps(5..=6).await;
    pair.checkpoint(6).await;
    let state_digest = "d6".to_owned();
    pair.say(&News::Finished {
        step: Step(6),
        state_digest,
    })
    .await;
    assert_eq!(pair.a.dismissed().await, Outcome::Finished);
    assert_eq!(pair.b.dismissed().await, Outcome::Finished);
    assert_eq!(running.outcome().await, Outcome::Finished);
    assert_eq!(metric_steps(&output), [1, 2, 3, 4, 5, 6]);
    assert_eq!(lines(&output, "train_log.txt").len(), 6);
    assert!(
        lines(&output, "events.jsonl")
            .iter()
            .any(|line| line.contains("run_finished"))
    );
    assert_eq!(
        start(&output).await.outcome().await,
        Outcome::Finished,
        "a finished run is not begun again"
    );
}

/// Both daemons vanish in mid-step and the coordinator is stopped: the drain ends when they count as lost. What was
/// committed after the newest whole checkpoint is done again, and its lines are not doubled.
#[tokio::test]
async fn a_loss_costs_the_steps_since_the_newest_whole_checkpoint() {
    let (_folder, output) = folder();
    let running = start(&output).await;
    let pair = Pair::join(&running).await;
    pair.steps(1..=2).await;
    pair.checkpoint(2).await;
    pair.steps(3..=4).await;
    pair.checkpoint(4).await;
    pair.steps(5..=5).await;
    wait_until(&running, |status| {
        committed(status) == Some(Step(5)) && status.checkpoint.as_ref().map(|c| c.step) == Some(Step(4))
    })
    .await;
    let newest = pair.welcome.output.join("checkpoints/step-000000004");
    drop(pair);
    // The folder has one owner at a time.
    assert!(open(&args(&output, &[])).err().unwrap().is::<Refused>());
    running.stop.send(()).await.unwrap();
    assert_eq!(running.outcome().await, Outcome::Stopped);
    fs::write(newest.join(STATE_FILE), "STATE 4").unwrap();

    let running = start(&output).await;
    let pair = Pair::join(&running).await;
    assert_eq!(
        pair.group.start_from,
        StartFrom::Checkpoint(CheckpointName::new(Step(2))),
        "the newest is damaged"
    );
    assert!(!newest.exists() && newest.with_extension("damaged").exists());
    assert_eq!(metric_steps(&output), [1, 2]);
    let status = wait_until(&running, |status| status.phase == PhaseName::Training).await;
    assert_eq!(status.progress.unwrap().step, Step(2));
    assert!(
        status
            .events
            .iter()
            .any(|event| event.kind == "checkpoint_damaged")
    );
}

#[tokio::test]
async fn what_a_daemon_may_not_do_is_answered_in_a_sentence() {
    let (_folder, output) = folder();
    let running = start(&output).await;
    let (_a, _) = Daemon::join(&running, "a").await;
    let mut other = Daemon::attach(&running, "b").await;
    other.next().await;
    let n_samples = 99;
    other
        .say(FromMachine::Ready(DataFacts { n_samples, ..facts() }))
        .await;
    let mut garbled = Daemon::attach(&running, "c").await;
    garbled.next().await;
    garbled.say.send(wire::FromMachine::default()).await.unwrap();
    let error = loop {
        match garbled.hear.next().await.unwrap() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), tonic::Code::InvalidArgument);
    assert!(error.message().contains("FromMachine.message"), "{error}");
    assert_eq!(
        running.status().await.reason,
        "1 of 2 devices; waiting for 1 (the data set of b, of 99 images, is not that of most devices; c lost its connection)"
    );
    let (_d, _) = Daemon::join(&running, "d").await;
    let bound = loop {
        if let ToMachine::Welcome(welcome) = other.next().await.unwrap()
            && welcome.bound.is_some()
        {
            break welcome.bound;
        }
    };
    assert_eq!(bound, Some(facts()));
    let facts = DataFacts { n_samples, ..facts() };
    let difference = "a/x.jpg is only here".to_owned();
    other.say(FromMachine::OtherData { facts, difference }).await;
    let refusal = loop {
        match other.next().await {
            Some(ToMachine::Refuse { reason }) => break reason,
            Some(_) => {}
            None => panic!("no refusal"),
        }
    };
    assert!(
        refusal.contains("99 images is not the run's of 24: a/x.jpg is only here"),
        "{refusal}"
    );
}

#[tokio::test]
async fn a_daemon_of_another_version_is_refused_and_told_what_to_do() {
    let (_folder, output) = folder();
    let running = start(&output).await;
    let mut other = Daemon::attach_as(&running, "a", "9.9.9").await;
    let ours = env!("CARGO_PKG_VERSION");
    let reason = format!(
        "this daemon is version 9.9.9 and the coordinator is version {ours}; install the same version on every machine"
    );
    assert_eq!(other.next().await, Some(ToMachine::Refuse { reason }));
    assert_eq!(other.next().await, None);
}

#[tokio::test]
async fn another_recipe_on_the_same_output_is_refused() {
    let (_folder, output) = folder();
    let running = start(&output).await;
    running.stop.send(()).await.unwrap();
    assert_eq!(running.outcome().await, Outcome::Stopped);
    let error = open(&args(&output, &["--set", "lr256=0.5"])).err().unwrap();
    assert!(
        error.is::<Refused>() && error.to_string().contains("training.lr256 (now 0.5, then 0.05)"),
        "{error}"
    );
    open(&args(&output, &["--set", "run.checkpoint_every=5"])).unwrap();
}

#[test]
fn arguments_that_mean_nothing_are_refused() {
    let (_folder, output) = folder();
    for (more, expected) in [
        (vec!["--min-devices", "3"], "more than the world of 2 ranks"),
        (vec!["--set", "batch=7"], "batch = 7 does not divide by world"),
        (vec!["--set", "learning=7"], "learning"),
    ] {
        let error = open(&args(&output, &more)).err().unwrap();
        assert!(
            error.is::<Refused>() && error.to_string().contains(expected),
            "{error}"
        );
    }
}
