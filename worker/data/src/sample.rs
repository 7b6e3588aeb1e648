//! Reads and decodes a few files of a data set, evenly spread over it, and tells how fast that went.
//!
//! It says whether a machine can read its data at all, before a run finds out; every file is looked at by [`check`](crate::check).

use std::time::{Duration, Instant};

use m2t_common::shard::Sample;

use crate::check::Damaged;
use crate::decode::{Decoder, Image};
use crate::index::Index;
use crate::parallel;

/// What a few files turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sampled {
    /// Files that were looked at.
    pub n_files: u64,
    /// Of those that could be read.
    pub bytes: u64,
    /// From the first to the last.
    pub took: Duration,
    /// Files that cannot be read or decoded, in the order of the index.
    pub damaged: Vec<Damaged>,
}

/// Reads and decodes `n_files` files, or all if there are fewer, on `threads` threads.
pub fn sample(index: &Index, n_files: u64, threads: usize) -> Sampled {
    let n_samples = index.n_samples();
    let n_files = n_files.min(n_samples);
    let start = Instant::now();
    let memory = || (Vec::new(), Decoder::default(), Image::default());
    let looked = parallel::map(threads.max(1), n_files, memory, |memory, number| {
        let (bytes, decoder, image) = memory;
        let sample = Sample(spread(number, n_files, n_samples));
        let damaged = |reason: String| Damaged {
            path: index.entry(sample).path(),
            reason,
        };
        if let Err(error) = index.read_file(sample, bytes) {
            return Err(damaged(format!("the file cannot be read: {error}")));
        }
        match decoder.decode(bytes, image) {
            Ok(()) => Ok(bytes.len() as u64),
            Err(error) => Err(damaged(error.with_causes())),
        }
    });
    let took = start.elapsed();
    Sampled {
        n_files,
        bytes: looked.iter().flatten().sum(),
        took,
        damaged: looked.into_iter().filter_map(Result::err).collect(),
    }
}

/// The place of the `number`-th of `n` among `of`: first, last, and evenly between.
fn spread(number: u64, n: u64, of: u64) -> u64 {
    match n {
        0 | 1 => 0,
        n => u64::try_from(u128::from(number) * u128::from(of - 1) / u128::from(n - 1)).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn a_spread_takes_the_first_the_last_and_none_twice() {
        for (n, of) in [(1, 1), (2, 2), (5, 9), (64, 1_281_167), (64, 64)] {
            let places: Vec<u64> = (0..n).map(|number| spread(number, n, of)).collect();
            assert!(places.windows(2).all(|pair| pair[0] < pair[1]), "{places:?}");
            assert_eq!(places[0], 0);
            assert!(n == 1 || places.last() == Some(&(of - 1)), "{places:?}");
        }
    }

    #[test]
    fn files_that_cannot_be_used_are_named_with_the_reason() {
        let (_dir, index) = fixtures::data_set(9);
        let all = sample(&index, 100, 3);
        let bytes: u64 = index.entries().map(|entry| entry.size).sum();
        assert_eq!((all.n_files, all.bytes, all.damaged), (9, bytes, vec![]));

        // Of nine, five are looked at: 0, 2, 4, 6, 8.
        let undecodable = fixtures::damage(&index, 4);
        let missing = index.entry(Sample(8)).path();
        std::fs::remove_file(index.locate(Sample(8))).unwrap();
        fixtures::damage(&index, 3);
        let some = sample(&index, 5, 2);
        let paths: Vec<_> = some.damaged.iter().map(|file| &file.path).collect();
        assert_eq!((some.n_files, paths), (5, vec![&undecodable, &missing]));
        assert!(
            some.damaged[0].reason.contains("neither JPEG nor PNG"),
            "{some:?}"
        );
        assert!(some.damaged[1].reason.contains("cannot be read"), "{some:?}");
    }
}
