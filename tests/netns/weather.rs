//! A slow and a lossy network are borne: nothing is taken for dead, and no generation ends.

use std::time::Duration;

use m2t_common::Step;
use m2t_tests::harness::Cluster;

use crate::{HELD, event_kinds, finish, four_machines_held};

/// Steps taken in bad weather.
const N_SLOW: u64 = 12;

/// Goes [`N_SLOW`] steps on in this weather, then to the end in a calm one.
fn bear(mut cluster: Cluster) {
    let until = HELD + N_SLOW;
    cluster.control.hold(until);
    let status = cluster.wait_for("some steps in bad weather", |status| {
        status
            .progress
            .as_ref()
            .is_some_and(|progress| progress.step == Step(until))
    });
    assert_eq!(status.generation.0, 1, "{:#?}", status.events);
    cluster.network().delay(Duration::ZERO);
    cluster.network().loss(0.0);
    finish(&mut cluster);
    let kinds = event_kinds(&cluster);
    for bad in ["machine_lost", "generation_ended"] {
        assert!(!kinds.iter().any(|kind| kind == bad), "{kinds:?}");
    }
}

#[test]
fn a_delay_of_200_ms_each_way_is_borne() {
    let Some(cluster) = four_machines_held() else {
        return;
    };
    cluster.network().delay(Duration::from_millis(200));
    bear(cluster);
}

#[test]
fn a_loss_of_5_percent_is_borne() {
    let Some(cluster) = four_machines_held() else {
        return;
    };
    cluster.network().loss(5.0);
    bear(cluster);
}
