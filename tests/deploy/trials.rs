//! The trials that `deploy/*/try.sh` make: units, jobs and containers that train, are killed, and come back into their run. Each takes
//! a minute or two, and what it cannot find on this machine it says itself, with exit code 77.

use std::process::Command;

use m2t_tests::harness::{Binaries, photographs};

use crate::deploy;

/// What a trial says it with that it cannot be made here.
const SKIPPED: i32 = 77;

/// Runs a trial, which must say that all is as it should be, or why it cannot be made.
fn make(script: &str) {
    let Some(data) = photographs() else { return };
    let programs = Binaries::get().path("m2t");
    let made = Command::new(deploy(script))
        .arg(data)
        .env("M2T_BIN", programs.parent().unwrap())
        .output()
        .unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&made.stdout),
        String::from_utf8_lossy(&made.stderr)
    );
    println!("{said}");
    match made.status.code() {
        Some(0) => assert!(said.contains("all as it should be"), "{said}"),
        Some(SKIPPED) => assert!(said.contains("skipped: "), "{said}"),
        code => panic!("{script} ended with {code:?}\n{said}"),
    }
}

#[test]
fn a_unit_that_is_killed_is_started_again_and_rejoins() {
    make("systemd/try.sh");
}

#[test]
fn a_job_that_is_requeued_resumes_at_its_step() {
    make("slurm/try.sh");
}
