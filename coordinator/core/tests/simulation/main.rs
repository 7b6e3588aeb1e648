//! Random histories of the core: core, model machines, a network that loses, repeats, reorders and delays, machines and
//! coordinators that crash at any point, also between two effects. Everything that happens is looked at by the
//! invariants (a table in `invariants`); at the end all is healed and the run must finish.
//!
//! A history is made from its seed. The 10,000 of the gate are always the same ones; whoever wants others, or more, asks for
//! a soak: `M2T_HISTORIES=1000000 cargo nextest run --release -p m2t-coordinator-core --test simulation`.
//!
//! A history that fails prints its seed, its actions shortened to those that matter (any part of a history is one), and
//! the command that replays it: `M2T_SEED=chaos:4711 cargo test --release -p m2t-coordinator-core --test simulation one_history`.
//!
//! Why no proptest here: its value trees cost more than the worlds, and its seeds are of no use in another test. Not here:
//! sockets and files; the `cluster` tests have those.

#![allow(
    clippy::unwrap_used,
    reason = "tests; clippy knows only the functions marked as such"
)]

mod action;
mod history;
mod invariants;
mod machine;
mod mutations;
mod network;
mod observed;
mod shell;
mod trainer;
mod world;

use history::{History, Kind};
use world::Seen;

/// Chaotic histories of the gate, over all parts.
const CHAOTIC: u64 = 10_000;
/// Gentle ones: each is longer than a chaotic one.
const GENTLE: u64 = 1_000;
/// Tests run in parallel; each has every fourth seed.
const PARTS: u64 = 4;

/// How many of a kind: fewer or more if asked to.
fn n_histories(usual: u64) -> u64 {
    match std::env::var("M2T_HISTORIES") {
        Ok(number) => number.parse().unwrap(),
        Err(_) => usual,
    }
}

#[expect(clippy::print_stdout, reason = "the figures are for people")]
fn live_through(kind: Kind, seeds: impl Iterator<Item = u64>) -> Seen {
    let begun = std::time::Instant::now();
    let (mut all, mut n) = (Seen::default(), 0);
    for seed in seeds {
        all.add(History::new(kind, seed).check());
        n += 1;
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("{n} histories, {:.0} a second: {all:?}", f64::from(n) / seconds);
    all
}

/// The run survives everything and finishes. That means something only if chaos gets far: training happens, generations end,
/// checkpoints are used, machines are set aside.
fn chaos(part: u64) {
    let n = n_histories(CHAOTIC);
    let seen = live_through(Kind::Chaos, (0..n).filter(|seed| seed % PARTS == part));
    let n = n / PARTS;
    assert!(seen.steps > 10 * n, "{seen:?}");
    assert!(seen.generations > 2 * n, "{seen:?}");
    assert!(seen.from_checkpoint > n / 4, "{seen:?}");
    assert!(seen.from_memory > n / 4, "{seen:?}");
    assert!(seen.went_on > n / 10, "{seen:?}");
    assert!(seen.crashes > n, "{seen:?}");
    assert!(seen.set_aside > n / 100, "{seen:?}");
}

#[test]
fn the_run_survives_everything_and_finishes_part_1() {
    chaos(0);
}

#[test]
fn the_run_survives_everything_and_finishes_part_2() {
    chaos(1);
}

#[test]
fn the_run_survives_everything_and_finishes_part_3() {
    chaos(2);
}

#[test]
fn the_run_survives_everything_and_finishes_part_4() {
    chaos(3);
}

#[test]
fn one_fault_at_a_time_loses_no_step() {
    live_through(Kind::Gentle, 0..n_histories(GENTLE));
}

/// The one of `M2T_SEED`; the first one where nobody asks.
#[test]
fn one_history() {
    let asked = std::env::var("M2T_SEED").unwrap_or_else(|_| "chaos:0".to_owned());
    let history: History = asked.parse().unwrap();
    history.check();
}
