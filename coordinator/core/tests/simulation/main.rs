//! A property test of the core: core, model machines, a network that loses, repeats, reorders and delays, machines and
//! coordinators that crash at any point, also between two effects. After everything that happens the invariants are
//! checked; at the end all is healed and the run must finish.
//!
//! `PROPTEST_CASES=20000` makes it a soak. Any subsequence of actions is valid (an action that means nothing now does nothing), so a failing case shrinks to a
//! short story. Not here: sockets and files; the `cluster` tests have those.

#![allow(
    clippy::unwrap_used,
    reason = "tests; clippy knows only the functions marked as such"
)]

mod invariants;
mod machine;
mod network;
mod trainer;
mod world;

use proptest::prelude::*;
use world::{Action, Seen, World};

fn action() -> impl Strategy<Value = Action> {
    let index = any::<u8>();
    prop_oneof![
        12 => Just(Action::Round),
        24 => index.prop_map(Action::Deliver),
        24 => index.prop_map(Action::Work),
        3 => index.prop_map(Action::Heartbeat),
        3 => index.prop_map(Action::Repeat),
        2 => index.prop_map(Action::Lose),
        4 => index.prop_map(Action::Attach),
        2 => index.prop_map(Action::BreakStream),
        1 => index.prop_map(Action::KillTrainer),
        1 => index.prop_map(Action::KillDaemon),
        1 => index.prop_map(Action::Leave),
        4 => Just(Action::Verify),
        4 => (1u64..2_000).prop_map(Action::Advance),
        1 => (0usize..6).prop_map(Action::CrashCoordinator),
        1 => Just(Action::StopCoordinator),
        2 => index.prop_map(Action::Order),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn the_run_survives_everything_and_finishes(
        n_machines in 2usize..5,
        min_devices in 1u32..=4,
        actions in prop::collection::vec(action(), 0..400),
    ) {
        let mut world = World::new(n_machines, min_devices, 12);
        for action in actions {
            world.act(action);
        }
        world.heal_and_finish();
    }
}

/// The property means something only if chaos gets far: that training happens, generations end, checkpoints are used.
#[test]
#[expect(clippy::print_stdout, reason = "the figures are for people")]
fn chaos_reaches_the_interesting_places() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let mut all = Seen::default();
    for _ in 0..60 {
        let actions = prop::collection::vec(action(), 300..400)
            .new_tree(&mut runner)
            .unwrap()
            .current();
        let mut world = World::new(3, 2, 12);
        for action in actions {
            world.act(action);
        }
        all.add(world.seen());
    }
    println!("chaos saw {all:?}");
    assert!(all.steps > 100, "{all:?}");
    assert!(all.generations > 60, "{all:?}");
    assert!(all.from_checkpoint > 10, "{all:?}");
    assert!(all.from_memory > 20, "{all:?}");
    assert!(all.went_on > 5, "{all:?}");
    assert!(all.crashes > 60, "{all:?}");
}

/// One fault at a time, and time to get over it.
fn gentle_fault() -> impl Strategy<Value = Action> {
    let index = any::<u8>();
    prop_oneof![
        3 => index.prop_map(Action::KillTrainer),
        3 => index.prop_map(Action::KillDaemon),
        2 => index.prop_map(Action::Leave),
        2 => index.prop_map(Action::BreakStream),
        2 => (0usize..6).prop_map(Action::CrashCoordinator),
    ]
}

proptest! {
    /// Of whatever else is left, one survivor is enough: no step that was committed is ever done again.
    #[test]
    fn one_fault_at_a_time_loses_no_step(
        faults in prop::collection::vec((gentle_fault(), 0u8..4), 1..4),
    ) {
        let mut world = World::new(3, 1, 70);
        for (fault, rounds) in faults {
            for _ in 0..20 + rounds {
                world.act(Action::Round);
            }
            world.act(fault);
        }
        world.heal_and_finish();
        prop_assert_eq!(world.seen().steps, 70);
    }
}
