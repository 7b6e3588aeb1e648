//! The past comes before what happened while it was read, and a run that goes on reads on.

use super::*;

fn metrics_line(step: u64, loss: f64) -> String {
    format!(
        "{{\"step\":{step},\"epoch\":0,\"loss\":{loss},\"loss_by_rank\":[1.0],\"learning_rate\":0.1,\"images_per_second\":64.0,\"data_wait\":0.01,\"generation\":1}}\n"
    )
}

fn losses(chronicle: &Chronicle) -> serde_json::Value {
    serde_json::to_value(chronicle.history(Step(0))).unwrap()["loss"].clone()
}

#[test]
fn what_happens_while_the_past_is_read_follows_it() {
    let folder = tempfile::tempdir().unwrap();
    let metrics: String = (1..=5).map(|step| metrics_line(step, step as f64)).collect();
    std::fs::write(folder.path().join("metrics.jsonl"), metrics + "{\"step\":6,").unwrap();
    let old = "{\"at\":5,\"kind\":\"generation_formed\",\"text\":\"formed\",\"generation\":1}\n{\"at\":6,\"kind\":\"run_begun\",\"text\":\"older version\"}\n";
    std::fs::write(folder.path().join("events.jsonl"), old).unwrap();
    let chronicle = Chronicle::new(folder.path(), &DiskFacts::default());
    let past = Past::of(folder.path());
    chronicle.story().queued = Some(Vec::new());
    // What is written from here on is heard, and must not be read as well.
    let mut more = std::fs::File::options()
        .append(true)
        .open(folder.path().join("events.jsonl"))
        .unwrap();
    std::io::Write::write_all(&mut more, old.as_bytes()).unwrap();
    chronicle.witness(&Effect::CutBack { after: Step(3) });
    let notice = Notice::Training {
        generation: m2t_common::Generation(1),
    };
    chronicle.witness(&Effect::Notice {
        at: Timestamp(9),
        notice,
    });
    assert_eq!(losses(&chronicle), serde_json::json!([]));
    assert!(chronicle.annals().reading);
    chronicle.remember(past);
    assert_eq!(losses(&chronicle), serde_json::json!([1.0, 2.0, 3.0]));
    let annals = serde_json::to_value(chronicle.annals()).unwrap();
    assert_eq!(annals["reading"], false);
    assert_eq!(annals["log"].as_array().unwrap().len(), 3);
    assert_eq!(annals["generations"][0]["trains"], 9);
}

#[test]
fn checkpoints_come_and_go_with_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let chronicle = Chronicle::new(folder.path(), &DiskFacts::default());
    for step in [8, 16] {
        let name = CheckpointName::new(Step(step));
        chronicle.witness(&Effect::Persist(Record::Checkpoint(CheckpointReport {
            name,
            step: Step(step),
            state_digest: format!("d{step}"),
            cost: CheckpointCost {
                n_bytes: 7,
                ..CheckpointCost::default()
            },
        })));
    }
    chronicle.witness(&Effect::Persist(Record::CheckpointDropped {
        name: CheckpointName::new(Step(8)),
        why: m2t_coordinator_core::Dropped::Superseded,
    }));
    let annals = serde_json::to_value(chronicle.annals()).unwrap();
    let checkpoints = annals["checkpoints"].as_array().unwrap();
    assert_eq!(checkpoints.len(), 1);
    assert_eq!(
        (&checkpoints[0]["step"], &checkpoints[0]["bytes"]),
        (&16.into(), &7.into())
    );
    assert_eq!(chronicle.newest_checkpoint().unwrap().step, Step(16));
}

#[test]
fn a_checkpoint_of_before_this_start_is_as_old_as_its_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let name = CheckpointName::new(Step(8));
    let path = folder.path().join("checkpoints").join(name.as_str());
    std::fs::create_dir_all(&path).unwrap();
    let manifest = std::fs::File::create(path.join(MANIFEST_FILE)).unwrap();
    let written = UNIX_EPOCH + std::time::Duration::from_millis(1_700_000_000_250);
    manifest.set_modified(written).unwrap();
    let report = CheckpointReport {
        name,
        step: Step(8),
        state_digest: "d8".into(),
        cost: CheckpointCost::default(),
    };
    let found = m2t_coordinator_core::FoundCheckpoint { report, n_samples: 9 };
    let disk = DiskFacts {
        found: vec![found],
        ..DiskFacts::default()
    };
    let newest = Chronicle::new(folder.path(), &disk).newest_checkpoint().unwrap();
    assert_eq!(newest.at, Some(Timestamp(1_700_000_000_250)));
}
