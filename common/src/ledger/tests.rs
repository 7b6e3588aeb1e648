//! What an audit proves, and each way in which it fails.

use std::collections::BTreeMap;

use super::*;
use crate::ids::{DeviceId, DeviceIndex};

/// 4 ranks of 2 images on 43 images: 5 steps an epoch, 40 positions, 3 images left over.
const SHARDS: Shards = Shards {
    seed: 7,
    n_samples: 43,
    world: 4,
    batch_per_rank: 2,
};

fn on(n_devices: u32) -> Placement {
    let devices: Vec<DeviceId> = (0..n_devices)
        .map(|index| DeviceId {
            machine: "a".parse().unwrap(),
            index: DeviceIndex(index),
        })
        .collect();
    Placement::place(4, &devices, &BTreeMap::new()).unwrap()
}

/// A run that lost a device in its second epoch, did two steps again, and got it back.
fn eventful() -> Ledger {
    let mut ledger = Ledger::default();
    ledger.extend(Generation(1), &on(4), Step(5));
    ledger.extend(Generation(1), &on(4), Step(8));
    ledger.cut(Step(6));
    ledger.extend(Generation(2), &on(3), Step(9));
    ledger.extend(Generation(4), &on(4), Step(12));
    ledger
}

#[test]
fn every_position_of_an_eventful_run_counted_once() {
    let ledger = eventful();
    let spans: Vec<_> = ledger
        .spans
        .iter()
        .map(|span| (span.generation.0, span.from.0, span.upto.0))
        .collect();
    assert_eq!(spans, [(1, 0, 6), (2, 6, 9), (4, 9, 12)]);
    let audit = audit(&ledger, &SHARDS).unwrap();
    assert_eq!(
        audit.to_string(),
        "12 steps by 3 generations: 2 whole epochs, each of their 40 positions exactly once, and 16 positions of the next, each once"
    );
}

#[test]
fn nothing_done_and_a_whole_run_are_both_clean() {
    assert_eq!(audit(&Ledger::default(), &SHARDS).unwrap().steps, 0);
    let mut ledger = Ledger::default();
    ledger.extend(Generation(1), &on(1), Step(10));
    let audit = audit(&ledger, &SHARDS).unwrap();
    assert_eq!((audit.whole_epochs, audit.positions_of_last_epoch), (2, 0));
}

#[test]
fn steps_that_counted_are_not_counted_again_and_a_cut_to_nothing_leaves_nothing() {
    let mut ledger = eventful();
    let before = ledger.clone();
    ledger.extend(Generation(9), &on(4), Step(12));
    assert_eq!(ledger, before);
    ledger.cut(Step(0));
    assert_eq!(ledger, Ledger::default());
}

#[test]
fn each_fault_is_found_and_named() {
    type Spoil = fn(&mut Ledger);
    let spoils: [(Spoil, &str); 7] = [
        (|ledger| drop(ledger.spans.remove(1)), "steps 6 to 9 are missing"),
        (
            |ledger| ledger.spans[1].from = Step(5),
            "step 6 counts twice, the second time in generation 2",
        ),
        (
            |ledger| ledger.spans[1].upto = Step(4),
            "generation 2 goes from step 6 back to step 4",
        ),
        (
            |ledger| ledger.spans[2].generation = Generation(1),
            "generation 1 comes after a later one",
        ),
        (
            |ledger| drop(ledger.spans[0].placement.devices.pop()),
            "rank 3 of 4 is hosted by 0 devices",
        ),
        (
            |ledger| ledger.spans[0].placement.devices[1].ranks = vec![Rank(0)],
            "rank 0 of 4 is hosted by 2 devices",
        ),
        (|ledger| ledger.spans[0].upto = Step(7), "step 7 counts twice"),
    ];
    for (spoil, expected) in spoils {
        let mut ledger = eventful();
        spoil(&mut ledger);
        let fault = audit(&ledger, &SHARDS).unwrap_err().to_string();
        assert!(fault.contains(expected), "{fault}, and not {expected}");
    }
}

#[test]
fn an_epoch_counts_by_itself_what_the_spans_claim() {
    // The counting does not rely on the checks of spans: positions beyond and beside are seen.
    let mut epoch = Epoch::new(&SHARDS, 0);
    for position in 0..8 {
        epoch.count(position).unwrap();
    }
    assert_eq!(epoch.check(8), Ok(()));
    assert!(
        epoch
            .check(9)
            .unwrap_err()
            .to_string()
            .contains("position 8 of epoch 0 counted 0 times")
    );
    assert!(
        epoch
            .count(3)
            .unwrap_err()
            .to_string()
            .contains("position 3 of epoch 0 counted 2 times")
    );
}
