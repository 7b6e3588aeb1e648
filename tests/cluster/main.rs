//! Clusters of real coordinators and daemons with fake trainers: whole runs, faults, stops and refusals.
//!
//! Each run that ends well is held against the same yardstick ([`assert_finished`]): the final state is that of an
//! uninterrupted run, and every step was recorded exactly once, whatever happened on the way.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod clients;
mod faults;
mod introductions;
mod logs;
mod operator;
mod orders;
mod refusals;
mod replicas;
mod runs;
mod samples;
mod stops;
mod watch;

use m2t_common::status::{PhaseName, Status};
use m2t_common::{MachineName, Rank, Step};
use m2t_tests::fake::{State, losses};
use m2t_tests::harness::{Cluster, ClusterSettings};

/// Steps of the tests' experiment.
const N_STEPS: u64 = 60;

/// A coordinator, and two daemons of two devices each.
fn two_daemons_of_two() -> Cluster {
    two_daemons(ClusterSettings::fake())
}

/// The same, content with fewer devices.
fn two_daemons_of_two_on_at_least(min_devices: u32) -> Cluster {
    two_daemons(ClusterSettings {
        min_devices: Some(min_devices),
        ..ClusterSettings::fake()
    })
}

fn two_daemons(settings: ClusterSettings) -> Cluster {
    let mut cluster = Cluster::new(settings);
    cluster.start_coordinator();
    cluster.start_daemon("a", "cpu:2");
    cluster.start_daemon("b", "cpu:2");
    cluster
}

/// Waits until `step` is committed and the devices hold before the next.
fn wait_held_at(cluster: &Cluster, step: u64) -> Status {
    cluster.wait_for(&format!("step {step} committed"), |status| {
        status
            .progress
            .as_ref()
            .is_some_and(|progress| progress.step == Step(step))
            && status.phase == PhaseName::Training
    })
}

/// Waits for the good end of a run, and checks that nothing was lost or repeated on the way to it.
fn assert_finished(cluster: &mut Cluster) {
    cluster.expect_exit(0);
    let said = cluster.audit();
    assert!(
        said.contains("3 whole epochs, each of their 320 positions exactly once"),
        "{said}"
    );
    let recipe = cluster.recipe();
    let newest = cluster
        .output()
        .join(format!("checkpoints/step-{N_STEPS:09}/manifest.json"));
    let manifest: m2t_common::manifest::Manifest =
        serde_json::from_slice(&std::fs::read(newest).unwrap()).unwrap();
    assert_eq!(manifest.state_digest, State::at(&recipe, N_STEPS).digest());
    let metrics = cluster.metrics();
    let steps: Vec<u64> = metrics
        .iter()
        .map(|line| line["step"].as_u64().unwrap())
        .collect();
    assert_eq!(steps, (1..=N_STEPS).collect::<Vec<_>>());
    for line in &metrics {
        let taken = Step(line["step"].as_u64().unwrap() - 1);
        let (by_rank, mean) = losses(taken, recipe.training.world);
        assert_eq!(line["loss"].as_f64().unwrap(), mean, "step {taken}");
        assert_eq!(
            line["loss_by_rank"],
            serde_json::to_value(by_rank).unwrap(),
            "step {taken}"
        );
    }
}

/// The ranks of each device of a machine.
fn ranks_of(status: &Status, machine: &str) -> Vec<Vec<Rank>> {
    let name: MachineName = machine.parse().unwrap();
    let machine = status
        .machines
        .iter()
        .find(|machine| machine.name == name)
        .expect("the machine is known");
    machine
        .devices
        .iter()
        .map(|device| device.ranks.clone())
        .collect()
}
