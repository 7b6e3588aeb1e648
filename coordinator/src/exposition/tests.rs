//! What is scraped of a run in mid-training, and of one that waits for its first device.

use std::time::Duration;

use m2t_common::report::CheckpointReport;
use m2t_common::status::DeviceStatus;
use m2t_common::{DeviceIndex, Generation, Rank, Step, Timestamp};
use m2t_coordinator_core::{DiskFacts, Effect, Notice, Record, Recovery};

use super::*;

fn device(index: u32, ranks: Vec<Rank>) -> DeviceStatus {
    DeviceStatus {
        index: DeviceIndex(index),
        kind: "cpu".into(),
        ranks,
        shard: 0..4,
        step: Step(9),
        data_wait: 0.125,
        bottleneck: None,
        slow_files: vec![],
    }
}

fn status() -> Status {
    Status {
        experiment: "a \"b\"".into(),
        at: Timestamp(1_000),
        phase: PhaseName::Training,
        reason: String::new(),
        generation: Generation(3),
        world: 2,
        batch_per_rank: 4,
        min_devices: 1,
        waits: vec![],
        machines: vec![
            MachineStatus {
                name: "a".parse().unwrap(),
                address: "10.0.0.1".into(),
                state: "training".into(),
                silent_for: Duration::from_millis(250),
                devices: vec![device(0, vec![Rank(0)]), device(1, vec![Rank(1)])],
            },
            MachineStatus {
                name: "b".parse().unwrap(),
                address: "10.0.0.2".into(),
                state: "connection lost; waited for another 2.0 s".into(),
                silent_for: Duration::from_secs(1),
                devices: vec![device(0, vec![])],
            },
        ],
        progress: Some(Progress {
            step: Step(9),
            total_steps: 100,
            epoch: 1,
            step_in_epoch: 1,
            steps_per_epoch: 8,
            loss: Some(-0.5),
            learning_rate: 0.05,
            parameter_momentum: 0.99,
            statistics_momentum: 1.0,
            images_per_second: 64.5,
            data_wait: 0.125,
            bottleneck: None,
            remaining: Some(Duration::from_millis(90_500)),
            replaced: 0,
        }),
        checkpoint: None,
        evaluations: vec![],
        events: vec![],
    }
}

fn chronicle(folder: &std::path::Path) -> Chronicle {
    let chronicle = Chronicle::new(folder, &DiskFacts::default());
    let report: CheckpointReport = serde_json::from_str(
        "{\"name\":\"step-000000008\",\"step\":8,\"state_digest\":\"d\",\"cost\":{\"stall\":{\"secs\":0,\"nanos\":5000000},\"writing\":{\"secs\":2,\"nanos\":0},\"n_bytes\":700}}",
    )
    .unwrap();
    let (name, cost) = (report.name.clone(), report.cost);
    let recovery = Recovery {
        first_step: Duration::from_millis(750),
        ..Recovery::default()
    };
    let generation = Generation(3);
    chronicle.witness(&Effect::Persist(Record::Checkpoint(report)));
    for notice in [
        Notice::Checkpoint { name, cost },
        Notice::Recovered { generation, recovery },
    ] {
        let at = Timestamp(2_500);
        chronicle.witness(&Effect::Notice { at, notice });
    }
    chronicle
}

/// Of the teacher at two steps.
fn write_evaluations(folder: &std::path::Path) {
    let line = |step: u64, top1: f64| {
        format!(
            "{{\"step\":{step},\"epoch\":1,\"generation\":1,\"encoder\":\"teacher\",\"method\":\"knn\",\"top1\":{top1},\"top5\":0.875,\"n_correct\":5,\"n_correct5\":7,\"n_images\":8,\"n_memory\":9,\"seconds\":1.5}}\n"
        )
    };
    std::fs::write(folder.join("evaluations.jsonl"), line(4, 0.5) + &line(8, 0.625)).unwrap();
}

#[test]
fn a_run_in_training_is_told_in_base_units() {
    let folder = tempfile::tempdir().unwrap();
    write_evaluations(folder.path());
    let text = render(&status(), &chronicle(folder.path()));
    for line in [
        "m2t_run_info{experiment=\"a \\\"b\\\"\"} 1",
        "m2t_phase{phase=\"training\"} 1",
        "m2t_phase{phase=\"paused\"} 0",
        "m2t_step 9",
        "m2t_loss -0.5",
        "m2t_remaining_seconds 90.5",
        "m2t_devices{state=\"training\"} 2",
        "m2t_devices{state=\"connection_lost\"} 1",
        "m2t_devices{state=\"set_aside\"} 0",
        "m2t_devices_with_ranks 2",
        "m2t_machine_silent_seconds{machine=\"a\"} 0.25",
        "m2t_device_data_wait_ratio{machine=\"a\",device=\"1\"} 0.125",
        "m2t_recovery_seconds_bucket{le=\"0.5\"} 0",
        "m2t_recovery_seconds_bucket{le=\"1\"} 1",
        "m2t_recovery_seconds_sum 0.75",
        "m2t_checkpoints_total 1",
        "m2t_checkpoint_last_step 8",
        "m2t_checkpoint_last_seconds 2",
        "m2t_checkpoint_last_stall_seconds 0.005",
        "m2t_checkpoint_last_bytes 700",
        "m2t_checkpoint_last_timestamp_seconds 2.5",
        "m2t_evaluation_top1_ratio{encoder=\"teacher\",method=\"knn\"} 0.625",
        "m2t_evaluation_top5_ratio{encoder=\"teacher\",method=\"knn\"} 0.875",
        "m2t_evaluation_step{encoder=\"teacher\",method=\"knn\"} 8",
    ] {
        assert!(text.lines().any(|said| said == line), "{line} is not in\n{text}");
    }
}

#[test]
fn what_is_not_known_has_no_sample_and_every_family_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let waiting = Status {
        progress: None,
        machines: vec![],
        ..status()
    };
    let text = render(&waiting, &Chronicle::new(folder.path(), &DiskFacts::default()));
    for absent in ["m2t_loss", "m2t_step ", "m2t_checkpoint_last", "m2t_evaluation"] {
        assert!(!text.contains(absent), "{text}");
    }
    let mut families: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
    let n_families = families.len();
    families.sort_unstable();
    families.dedup();
    assert_eq!(families.len(), n_families);
}

/// Dashboard and alert rules ask for nothing that is not served.
#[test]
fn what_is_shipped_for_prometheus_and_grafana_asks_for_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    write_evaluations(folder.path());
    let text = render(&status(), &chronicle(folder.path()));
    let served: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let mut n_asked = 0;
    for file in ["grafana/m2t.json", "prometheus/alerts.yml"] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../deploy")
            .join(file);
        let shipped = std::fs::read_to_string(path).unwrap();
        let words = shipped.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for word in words.filter(|word| word.starts_with("m2t_")) {
            let parts = ["_bucket", "_sum", "_count"];
            let family = parts
                .iter()
                .find_map(|part| word.strip_suffix(part))
                .unwrap_or(word);
            assert!(served.contains(&family), "{file} asks for {word}");
            n_asked += 1;
        }
    }
    assert!(n_asked > 30, "{n_asked}");
}
