//! Mutated messages of package m2t.v1: decoded, converted or refused; no panic, bounded memory. `M2T_MUTANTS` says how many.
//!
//! The allocator counts, so this is a program of its own with one test: another test's memory would count, too. A failure names
//! the mutant's number, which makes the same one again.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "a test prints what it measured")]

#[path = "../../common/tests/mutated/hold.rs"]
mod hold;
#[path = "../../common/tests/mutated/mutator.rs"]
mod mutator;
#[path = "mutated/wholes.rs"]
mod wholes;

use hold::read_all;
use m2t_common::machine_link::{FromMachine, ToMachine};
use m2t_common::status::Status;
use m2t_proto::wire;
use mutator::how_many;
use peak_alloc::PeakAlloc;
use prost::Message;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The most that may be held while one mutant is read, all of which are short.
const MOST: usize = 16 << 20;

/// Reads a mutant as everything that it might be; whether it is something. What is taken in can be said again.
fn read(bytes: &[u8]) -> bool {
    let from = wire::FromMachine::decode(bytes)
        .ok()
        .and_then(|wire| FromMachine::try_from(wire).ok());
    let to = wire::ToMachine::decode(bytes)
        .ok()
        .and_then(|wire| ToMachine::try_from(wire).ok());
    let status = wire::RunStatus::decode(bytes)
        .ok()
        .and_then(|wire| Status::try_from(wire).ok());
    let is_something = from.is_some() || to.is_some() || status.is_some();
    if let Some(from) = from {
        FromMachine::try_from(wire::FromMachine::from(from)).unwrap();
    }
    if let Some(to) = to {
        ToMachine::try_from(wire::ToMachine::from(to)).unwrap();
    }
    if let Some(status) = status {
        Status::try_from(wire::RunStatus::from(status)).unwrap();
    }
    let _ = (
        wire::DrainRequest::decode(bytes),
        wire::ReadmitRequest::decode(bytes),
    );
    is_something
}

#[test]
fn mutants_are_taken_in_or_refused_in_bounded_memory() {
    let n = how_many(50_000);
    let wholes = wholes::all();
    for (name, bytes) in &wholes {
        assert!(read(bytes), "{name}");
    }
    read_all(&MEMORY, MOST, (&wholes, n), read);
}
