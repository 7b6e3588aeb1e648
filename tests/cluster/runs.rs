//! Runs to which nothing happens, in different placements.

use m2t_common::Rank;
use m2t_common::status::PhaseName;
use m2t_tests::harness::{Cluster, ClusterSettings};

use crate::{N_STEPS, assert_finished, ranks_of, two_daemons_of_two, wait_held_at};

#[test]
fn gpus_are_devices_by_their_own_numbers() {
    let mut cluster = Cluster::new(ClusterSettings::fake());
    cluster.control.give_gpus(4);
    cluster.start_coordinator();
    let mut wrong = cluster.daemon_process("c", "gpu:8", &[]);
    wrong.expect_exit(2);
    let said = wrong.output();
    assert!(
        said.contains("there is no GPU 4 here; this machine has 4"),
        "{said}"
    );
    cluster.control.hold(5);
    cluster.start_daemon("a", "1,3");
    cluster.start_daemon("b", "gpu:2");
    let status = wait_held_at(&cluster, 5);
    let devices: Vec<(String, u32, &str)> = status
        .machines
        .iter()
        .flat_map(|machine| {
            machine
                .devices
                .iter()
                .map(|device| (machine.name.to_string(), device))
        })
        .map(|(machine, device)| (machine, device.index.0, device.kind.as_str()))
        .collect();
    let expected = [("a", 1), ("a", 3), ("b", 0), ("b", 1)];
    assert_eq!(
        devices,
        expected.map(|(machine, index)| (machine.to_owned(), index, "Fake GPU"))
    );
    cluster
        .daemon("a")
        .wait_for_text("[device 3] this would be GPU 3");
    cluster.control.release();
    assert_finished(&mut cluster);
}

#[test]
fn four_devices_run_to_the_end_and_the_status_shows_them() {
    let mut cluster = two_daemons_of_two();
    cluster.control.hold(5);
    let status = wait_held_at(&cluster, 5);
    assert_eq!(
        (status.phase, status.generation.0, status.world),
        (PhaseName::Training, 1, 4)
    );
    // Which machine came first is a matter of names, not of time: placement sorts them.
    assert_eq!(ranks_of(&status, "a"), [vec![Rank(0)], vec![Rank(1)]]);
    assert_eq!(ranks_of(&status, "b"), [vec![Rank(2)], vec![Rank(3)]]);
    let shards: Vec<_> = status
        .machines
        .iter()
        .flat_map(|machine| &machine.devices)
        .map(|device| device.shard.clone())
        .collect();
    assert_eq!(shards, [0..4, 4..8, 8..12, 12..16]);
    let progress = status.progress.unwrap();
    assert_eq!(
        (progress.total_steps, progress.steps_per_epoch, progress.epoch),
        (N_STEPS, 20, 0)
    );
    assert!(progress.loss.is_some() && progress.images_per_second > 0.0);
    let table = cluster.m2t(&["status"]).output();
    for shown in ["training", "cpu", "4..8", "5 of 60", "momenta"] {
        assert!(table.contains(shown), "{shown:?} is missing in\n{table}");
    }
    cluster.control.release();
    assert_finished(&mut cluster);
}

#[test]
fn one_device_hosts_all_ranks() {
    let mut cluster = Cluster::new(ClusterSettings {
        min_devices: Some(1),
        ..ClusterSettings::fake()
    });
    cluster.start_coordinator();
    cluster.start_daemon("a", "cpu:1");
    cluster.control.hold(5);
    let status = wait_held_at(&cluster, 5);
    assert_eq!(ranks_of(&status, "a"), [(0..4).map(Rank).collect::<Vec<_>>()]);
    cluster.control.release();
    assert_finished(&mut cluster);
}

#[test]
fn three_devices_share_four_ranks() {
    let mut cluster = Cluster::new(ClusterSettings {
        min_devices: Some(3),
        ..ClusterSettings::fake()
    });
    cluster.start_coordinator();
    cluster.start_daemon("a", "cpu:1");
    cluster.start_daemon("b", "cpu:2");
    cluster.control.hold(5);
    let status = wait_held_at(&cluster, 5);
    assert_eq!(ranks_of(&status, "a"), [vec![Rank(0), Rank(1)]]);
    assert_eq!(ranks_of(&status, "b"), [vec![Rank(2)], vec![Rank(3)]]);
    cluster.control.release();
    assert_finished(&mut cluster);
}

#[test]
fn one_machine_more_is_a_spare() {
    let mut cluster = two_daemons_of_two();
    cluster.control.hold(5);
    wait_held_at(&cluster, 5);
    cluster.start_daemon("c", "cpu:1");
    let status = cluster.wait_for("the spare", |status| {
        status
            .machines
            .iter()
            .any(|machine| machine.name.as_str() == "c" && machine.state.contains("spare"))
    });
    assert_eq!(ranks_of(&status, "c"), [vec![]]);
    assert_eq!(status.generation.0, 1);
    cluster.control.release();
    assert_finished(&mut cluster);
}

#[test]
fn a_watched_status_ends_with_the_run() {
    let mut cluster = two_daemons_of_two();
    cluster.control.hold(5);
    wait_held_at(&cluster, 5);
    let mut watch = cluster.m2t(&["status", "--watch", "--json"]);
    watch.wait_for_text("\"training\"");
    cluster.control.release();
    assert_finished(&mut cluster);
    assert!(watch.output().lines().last().unwrap().contains("\"finished\""));
    watch.expect_exit(0);
}
