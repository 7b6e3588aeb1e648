//! Devices die, are replaced, go and come back while real trainers train: no committed step is done again, and the run ends with
//! the bits of one that nothing happened to.

use m2t_common::Step;
use m2t_common::random::Stream;
use m2t_common::status::{PhaseName, Status};
use m2t_tests::harness::{Cluster, photographs};
use rustix::process::{Pid, Signal, kill_process};

use crate::{cluster, course, run};

/// Waits until the run stands at `step`, at least.
fn wait_for_step(cluster: &Cluster, step: u64) {
    cluster.wait_for("the step", |status| {
        status.progress.as_ref().is_some_and(|p| p.step >= Step(step))
    });
}

/// Waits until so many devices train.
fn wait_for_devices(cluster: &Cluster, n: usize) -> Status {
    cluster.wait_for("the devices training", |status| {
        let devices = status.machines.iter().flat_map(|machine| &machine.devices);
        let placed = devices.filter(|device| !device.ranks.is_empty());
        status.phase == PhaseName::Training && placed.count() == n
    })
}

/// What happened to a run whose events tell of steps that were lost.
fn assert_nothing_lost(cluster: &Cluster) {
    let events = std::fs::read_to_string(cluster.output().join("events.jsonl")).unwrap();
    let from_memory = events
        .lines()
        .filter(|line| line.contains("\"generation_formed\""))
        .skip(1);
    for line in from_memory {
        assert!(line.contains("in memory"), "{line}\n{events}");
    }
    cluster.audit();
}

#[test]
fn a_device_killed_at_any_time_is_replaced_and_the_bits_are_the_calm_ones() {
    let Some(data) = photographs() else { return };
    let calm = run(data.clone(), &[("a", "cpu:2"), ("b", "cpu:2")]);
    for seed in 0..10 {
        let mut times = Stream::new("kill times", &[seed]);
        let mut cluster = cluster(data.clone(), Some(1));
        cluster.start_daemon("a", "cpu:2");
        cluster.start_daemon("b", "cpu:2");
        wait_for_devices(&cluster, 4);
        wait_for_step(&cluster, times.below(10));
        std::thread::sleep(std::time::Duration::from_millis(times.below(150)));
        let machine = if seed % 2 == 0 { "a" } else { "b" };
        if seed % 3 == 2 {
            cluster.daemon(machine).kill();
            cluster.start_daemon(machine, "cpu:2");
        } else {
            let victim = cluster.daemon(machine).children()[times.below(2) as usize];
            // It may have finished: then nothing is lost either.
            let _ = kill_process(Pid::from_raw(victim).unwrap(), Signal::KILL);
        }
        cluster.expect_exit(0);
        assert_nothing_lost(&cluster);
        assert_eq!(course(&cluster), calm, "kill times of seed {seed}");
    }
}

#[test]
fn a_group_shrinks_and_grows_in_mid_epoch_without_a_trace_in_the_bits() {
    let Some(data) = photographs() else { return };
    let calm = run(data.clone(), &[("a", "cpu:2"), ("b", "cpu:2")]);
    let mut cluster = cluster(data, Some(1));
    for (name, devices) in [("a", "cpu:2"), ("b", "cpu:1"), ("c", "cpu:1")] {
        cluster.start_daemon(name, devices);
    }
    wait_for_devices(&cluster, 4);
    wait_for_step(&cluster, 2);
    cluster.daemon("c").kill();
    wait_for_devices(&cluster, 3);
    wait_for_step(&cluster, 4);
    cluster.daemon("b").kill();
    wait_for_devices(&cluster, 2);
    for name in ["b", "c"] {
        cluster.start_daemon(name, "cpu:1");
    }
    wait_for_devices(&cluster, 4);
    cluster.expect_exit(0);
    assert_nothing_lost(&cluster);
    assert_eq!(course(&cluster), calm);
}

#[test]
fn a_coordinator_that_is_killed_stops_no_trainer() {
    let Some(data) = photographs() else { return };
    let calm = run(data.clone(), &[("a", "cpu:2"), ("b", "cpu:2")]);
    let mut cluster = cluster(data, None);
    cluster.start_daemon("a", "cpu:2");
    cluster.start_daemon("b", "cpu:2");
    wait_for_step(&cluster, 3);
    cluster.coordinator().kill();
    // The run finishes while nobody coordinates it, and the one who comes back learns so.
    let last = cluster.output().join("checkpoints/step-000000016/manifest.json");
    let deadline = std::time::Instant::now() + m2t_tests::harness::PATIENCE;
    while !last.exists() {
        assert!(std::time::Instant::now() < deadline, "the trainers stopped");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    cluster.start_coordinator();
    cluster.expect_exit(0);
    assert_nothing_lost(&cluster);
    let audit = cluster.audit();
    assert!(audit.contains("1 generation"), "{audit}");
    assert_eq!(course(&cluster), calm);
}
