//! What strangers may send: mutated messages into the core, and mutated calls over real sockets to a coordinator in this process.
//!
//! No panic, bounded memory, and whoever means well is served meanwhile. `M2T_MUTANTS` says how many. The allocator counts, so this is a
//! program of its own, and its two tests take turns. A failure names the mutant's number, which makes the same one again.

#![allow(
    clippy::unwrap_used,
    reason = "tests; clippy knows only the functions marked as such"
)]
#![expect(clippy::print_stdout, reason = "a test prints what it measured")]

mod calls;
mod core;
#[path = "../../../common/tests/mutated/mutator.rs"]
mod mutator;
#[expect(dead_code, reason = "the shell's tests use all of it")]
#[path = "../shell/support.rs"]
mod support;
#[expect(dead_code, reason = "the tests of the messages use all of it")]
#[path = "../../../proto/tests/mutated/wholes.rs"]
mod wholes;

use std::sync::Mutex;

use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// One test at a time: the other's memory would count, too.
static TURN: Mutex<()> = Mutex::new(());
