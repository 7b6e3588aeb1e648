//! Machines with addresses of their own, cut off, slowed and killed: four network namespaces of two fake devices each.
//!
//! Whatever happens, the run ends with the state of an uninterrupted one and every step was recorded once. Where namespaces
//! cannot be made the tests are skipped with a line that says so; with CI=true they fail.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cuts;
mod deaths;
mod launch;
mod weather;

use m2t_common::manifest::Manifest;
use m2t_common::status::{MachineStatus, PhaseName, Status};
use m2t_common::{Generation, Step};
use m2t_tests::fake::State;
use m2t_tests::harness::{Cluster, ClusterSettings, Network};

/// Steps of the tests' experiment.
const N_STEPS: u64 = 60;
/// The step at which something happens: in mid-epoch, and between two checkpoints.
const HELD: u64 = 13;
/// The machine to which it happens: not the first, where the trainers meet.
const VICTIM: usize = 3;

/// World 8 on four machines of two devices, content with three of them, held at [`HELD`].
fn four_machines_held() -> Option<Cluster> {
    let settings = ClusterSettings {
        world: 8,
        min_devices: Some(6),
        ..ClusterSettings::fake()
    };
    let mut cluster = Cluster::new(settings).within(Network::new(4)?);
    cluster.control.hold(HELD);
    cluster.start_coordinator();
    for i in 0..4 {
        start(&mut cluster, i);
    }
    let status = cluster.wait_for("all machines at the held step", |status| {
        is_held(status) && n_training(status) == 8
    });
    for (i, machine) in status.machines.iter().enumerate() {
        let ours = cluster.network().machine(i);
        assert_eq!(machine.name.as_str(), ours.name());
        assert_eq!(machine.address, ours.address().to_string(), "{}", machine.name);
    }
    Some(cluster)
}

fn start(cluster: &mut Cluster, i: usize) {
    let name = cluster.network().machine(i).name().to_owned();
    cluster.start_daemon(&name, "cpu:2");
}

fn is_held(status: &Status) -> bool {
    let at = |progress: &m2t_common::status::Progress| progress.step == Step(HELD);
    status.phase == PhaseName::Training && status.progress.as_ref().is_some_and(at)
}

/// Devices that host ranks.
fn n_training(status: &Status) -> usize {
    let devices = status.machines.iter().flat_map(|machine| &machine.devices);
    devices.filter(|device| !device.ranks.is_empty()).count()
}

/// Waits until the others train on without the victim; the generation in which they do.
fn goes_on_without(cluster: &Cluster) -> Generation {
    let without = cluster.wait_for("the six devices left at the held step", |status| {
        is_held(status) && n_training(status) == 6
    });
    let victim = cluster.network().machine(VICTIM).name();
    let hosts = |machine: &MachineStatus| machine.devices.iter().any(|device| !device.ranks.is_empty());
    let trains = without
        .machines
        .iter()
        .any(|machine| machine.name.as_str() == victim && hosts(machine));
    assert!(!trains, "{:#?}", without.machines);
    without.generation
}

/// Waits until all eight devices train again, in a generation after `before`; then lets the run end.
fn takes_part_again(cluster: &mut Cluster, before: Generation) {
    // A group that has committed no step does not grow.
    cluster.control.hold(HELD + 2);
    let whole = cluster.wait_for("all eight devices again", |status| {
        status.phase == PhaseName::Training && n_training(status) == 8
    });
    assert!(
        whole.generation > before,
        "{} is not after {before}",
        whole.generation
    );
    finish(cluster);
}

/// Lets the run end, which must be well, with the calm run's state and every step recorded once.
fn finish(cluster: &mut Cluster) {
    cluster.control.release();
    cluster.expect_exit(0);
    let said = cluster.audit();
    assert!(
        said.contains("3 whole epochs, each of their 320 positions exactly once"),
        "{said}"
    );
    let newest = cluster
        .output()
        .join(format!("checkpoints/step-{N_STEPS:09}/manifest.json"));
    let manifest: Manifest = serde_json::from_slice(&std::fs::read(newest).unwrap()).unwrap();
    assert_eq!(
        manifest.state_digest,
        State::at(&cluster.recipe(), N_STEPS).digest()
    );
    let steps: Vec<u64> = cluster
        .metrics()
        .iter()
        .map(|line| line["step"].as_u64().unwrap())
        .collect();
    assert_eq!(steps, (1..=N_STEPS).collect::<Vec<_>>());
}

/// The kinds of the run's events.
fn event_kinds(cluster: &Cluster) -> Vec<String> {
    let text = std::fs::read_to_string(cluster.output().join("events.jsonl")).unwrap();
    text.lines()
        .map(|line| {
            let event: m2t_common::status::Event = serde_json::from_str(line).unwrap();
            event.kind
        })
        .collect()
}
