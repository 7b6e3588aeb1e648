//! Holds a reader against mutants: no panic, and bounded memory.
//!
//! Tests of other crates take this file in by its path, beside the mutator.

use std::panic::RefUnwindSafe;

use peak_alloc::PeakAlloc;

use super::mutator::{Whole, mutant};

/// Reads the first `n` mutants of `wholes`, none of which may hold more than `most` bytes; `read` says whether one is something.
pub(crate) fn read_all(
    memory: &PeakAlloc,
    most: usize,
    (wholes, n): (&[Whole], u64),
    read: impl Fn(&[u8]) -> bool + RefUnwindSafe,
) {
    let (mut n_read, mut largest) = (0, (0, String::new()));
    for number in 0..n {
        let (name, bytes) = mutant(wholes, number);
        let before = memory.current_usage();
        memory.reset_peak_usage();
        let is_something = std::panic::catch_unwind(|| read(&bytes))
            .unwrap_or_else(|_| panic!("{name} makes a reader panic: {}", bytes.escape_ascii()));
        let peak = memory.peak_usage().saturating_sub(before);
        assert!(peak <= most, "{name}, {} bytes, holds {peak}", bytes.len());
        n_read += u64::from(is_something);
        if peak > largest.0 {
            largest = (peak, name);
        }
    }
    println!(
        "{n} mutants: {n_read} are read; at most {} bytes ({})",
        largest.0, largest.1
    );
    // It is no test if nothing is read, or everything.
    assert!(n_read > n / 100 && n_read < n * 99 / 100, "{n_read} of {n}");
}
