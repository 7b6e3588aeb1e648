//! The full ledger: every sample of every step, through a killed trainer, a killed coordinator and a resume; and what an audit says of
//! a line that was tampered with.

use std::process::Command;

use m2t_tests::fake::Fault;
use m2t_tests::harness::{Binaries, Cluster, ClusterSettings, Process};

use crate::{N_STEPS, assert_finished, wait_held_at};

fn full() -> Cluster {
    let mut settings = ClusterSettings {
        min_devices: Some(1),
        ..ClusterSettings::fake()
    };
    settings.experiment.push_str("ledger = \"full\"\n");
    let mut cluster = Cluster::new(settings);
    cluster.control.hold(13);
    cluster.control.fault("b:1", 7, Fault::Die);
    cluster.start_coordinator();
    cluster.start_daemon("a", "cpu:2");
    cluster.start_daemon("b", "cpu:2");
    cluster
}

/// What the audit says, with its exit code.
fn audit(cluster: &Cluster, code: i32) -> String {
    let mut command = Command::new(Binaries::get().path("m2t"));
    let mut audit = Process::start("m2t audit", command.arg("audit").arg(cluster.output()));
    audit.expect_exit(code);
    audit.output()
}

#[test]
fn every_sample_is_told_once_through_faults_and_a_tampered_line_is_named() {
    let mut cluster = full();
    wait_held_at(&cluster, 13);
    cluster.coordinator().kill();
    cluster.start_coordinator();
    cluster.control.release();
    assert_finished(&mut cluster);
    let said = audit(&cluster, 0);
    assert!(
        said.contains(&format!(
            "samples of {N_STEPS} steps: each rank consumed those of the plan"
        )),
        "{said}"
    );

    let path = cluster.output().join("samples.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let without = |skipped: usize| -> String {
        let kept = lines.iter().enumerate().filter(|(i, _)| *i != skipped);
        kept.map(|(_, line)| format!("{line}\n")).collect()
    };
    let mut line: serde_json::Value = serde_json::from_str(lines[40]).unwrap();
    let ranks = line["ranks"].as_array_mut().unwrap();
    ranks[2][1] = ranks[2][0].clone();
    let tampered = text.replace(lines[40], &line.to_string());
    for (content, fault) in [
        (tampered, "in step 41 rank 2 consumed sample"),
        (without(9), "the samples of step 10 are missing"),
        (
            format!("{text}{}\n", lines[0]),
            "the samples of step 1 are there twice",
        ),
        (without(59), "the samples of step 60 are missing"),
    ] {
        std::fs::write(&path, content).unwrap();
        let said = audit(&cluster, 1);
        assert!(
            said.contains("NOT CLEAN") && said.contains(fault),
            "{said}, and not {fault}"
        );
    }
}
