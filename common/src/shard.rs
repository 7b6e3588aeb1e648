//! Which samples a rank trains on in which step: a pure function of seed, step and rank.
//!
//! Epoch e visits a permutation of `0..N` made by (seed, e). With global batch B, step s of the epoch takes positions
//! `[s·B, (s+1)·B)` and rank r of it the slice `[s·B + r·b, s·B + (r+1)·b)`; the last `N mod B` positions are
//! dropped, as published. So (epoch, step) says exactly which samples are done, in any placement, and a resume in
//! mid-epoch is exact.
//!
//! Why a Feistel network: the sample at any position is computed without building the permutation, in constant memory,
//! so that a device that joins at step 4,000 of an epoch of 1,281,167 starts at once.

use serde::{Deserialize, Serialize};

use crate::ids::{Rank, Step};
use crate::random::Stream;

/// A file's place in the sorted index of the data set, `0..N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sample(pub u64);

/// A pseudo-random permutation of `0..n`, evaluated at any point.
#[derive(Clone, Debug)]
pub struct Permutation {
    n: u64,
    half_bits: u32,
    keys: [u64; Self::ROUNDS],
}

impl Permutation {
    const ROUNDS: usize = 6;

    /// The permutation of `0..n` that belongs to (seed, epoch).
    pub fn new(n: u64, seed: u64, epoch: u64) -> Self {
        let mut stream = Stream::new("epoch permutation", &[seed, epoch]);
        let bits = (u64::BITS - n.saturating_sub(1).leading_zeros()).max(2);
        Self {
            n,
            half_bits: bits.div_ceil(2),
            keys: std::array::from_fn(|_| stream.bits()),
        }
    }

    /// Where position `i < n` goes. Cycle-walking: the network permutes a power of four of at most 4n, and is applied
    /// again until the result is below n.
    pub fn at(&self, i: u64) -> u64 {
        assert!(i < self.n, "position {i} is outside a permutation of {}", self.n);
        let mut value = self.network(i);
        while value >= self.n {
            value = self.network(value);
        }
        value
    }

    fn network(&self, value: u64) -> u64 {
        let mask = (1u64 << self.half_bits) - 1;
        let (mut left, mut right) = (value >> self.half_bits, value & mask);
        for key in self.keys {
            (left, right) = (right, left ^ (mix(right ^ key) & mask));
        }
        (left << self.half_bits) | right
    }
}

/// The finaliser of splitmix64.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Whose views an epoch sees: its own, or, after so many epochs, those of the first again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Draws(pub u32);

impl Draws {
    /// The epoch whose views are seen in `epoch`. Of 0 draws each epoch sees its own.
    pub fn of(self, epoch: u64) -> u64 {
        match u64::from(self.0) {
            0 => epoch,
            n => epoch % n,
        }
    }
}

/// The arithmetic of epochs, steps, ranks and samples of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shards {
    /// Seed of the run.
    pub seed: u64,
    /// Images in the data set (N).
    pub n_samples: u64,
    /// Ranks.
    pub world: u32,
    /// Images of a rank in a step (b). The global batch is B = world · b.
    pub batch_per_rank: u32,
}

impl Shards {
    /// B, the images of a step over all ranks.
    pub fn global_batch(&self) -> u64 {
        u64::from(self.world) * u64::from(self.batch_per_rank)
    }

    /// ⌊N / B⌋; none of no batch.
    pub fn steps_per_epoch(&self) -> u64 {
        self.n_samples.checked_div(self.global_batch()).unwrap_or(0)
    }

    /// The epoch in which `step` (0-based, the one about to be taken) lies.
    pub fn epoch(&self, step: Step) -> u64 {
        step.0 / self.steps_per_epoch()
    }

    /// The step's number within its epoch.
    pub fn step_in_epoch(&self, step: Step) -> u64 {
        step.0 % self.steps_per_epoch()
    }

    /// The positions of `rank` within the global batch of any step, `[r·b, (r+1)·b)`.
    pub fn positions_in_batch(&self, rank: Rank) -> std::ops::Range<u64> {
        let b = u64::from(self.batch_per_rank);
        u64::from(rank.0) * b..(u64::from(rank.0) + 1) * b
    }

    /// The samples of `rank` in `step`, in order, with the epoch they belong to.
    pub fn samples(&self, step: Step, rank: Rank) -> (u64, Vec<Sample>) {
        let epoch = self.epoch(step);
        let permutation = Permutation::new(self.n_samples, self.seed, epoch);
        let first = self.step_in_epoch(step) * self.global_batch();
        let samples = self
            .positions_in_batch(rank)
            .map(|i| Sample(permutation.at(first + i)))
            .collect();
        (epoch, samples)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn views_come_again_after_as_many_epochs_as_draw_their_own() {
        let seen = |draws| [0, 1, 2, 3, 4].map(|epoch| Draws(draws).of(epoch));
        assert_eq!(seen(0), [0, 1, 2, 3, 4]);
        assert_eq!(seen(1), [0; 5]);
        assert_eq!(seen(3), [0, 1, 2, 0, 1]);
    }

    proptest! {
        #[test]
        fn every_size_is_permuted(n in 1u64..2_000, seed: u64, epoch in 0u64..5) {
            let permutation = Permutation::new(n, seed, epoch);
            let seen: BTreeSet<u64> = (0..n).map(|i| permutation.at(i)).collect();
            prop_assert_eq!(seen.len() as u64, n);
            prop_assert_eq!(seen.last().copied(), Some(n - 1));
        }

        #[test]
        fn an_epoch_takes_each_position_once(world in 1u32..9, batch_per_rank in 1u32..5, spare in 0u64..20, seed: u64) {
            let b = u64::from(world * batch_per_rank);
            let shards = Shards { seed, n_samples: b * 3 + spare % b, world, batch_per_rank };
            prop_assert_eq!(shards.steps_per_epoch(), 3);
            for epoch in 0..2u64 {
                let mut seen = BTreeSet::new();
                for (step, rank) in (0..3).flat_map(|s| (0..world).map(move |r| (Step(epoch * 3 + s), Rank(r)))) {
                    let (its_epoch, samples) = shards.samples(step, rank);
                    prop_assert_eq!(its_epoch, epoch);
                    for sample in samples {
                        prop_assert!(sample.0 < shards.n_samples);
                        prop_assert!(seen.insert(sample), "{:?} twice", sample);
                    }
                }
                prop_assert_eq!(seen.len() as u64, 3 * b);
            }
        }
    }

    #[test]
    fn the_ranks_of_two_worlds_cut_the_same_batch() {
        // 4 ranks of 6 and 2 ranks of 12 see the same 24 images in a step, in the same order.
        let all = |world, batch_per_rank| -> Vec<Sample> {
            let shards = Shards {
                seed: 7,
                n_samples: 1_000,
                world,
                batch_per_rank,
            };
            (0..world)
                .flat_map(|r| shards.samples(Step(43), Rank(r)).1)
                .collect()
        };
        assert_eq!(all(4, 6), all(2, 12));
    }

    #[test]
    fn epochs_and_neighbours_are_unalike() {
        let n = 10_000;
        let (first, second) = (Permutation::new(n, 1, 0), Permutation::new(n, 1, 1));
        assert!((0..n).filter(|&i| first.at(i) == second.at(i)).count() < 20);
        // Mean distance of neighbours in a random order is n/3.
        let mean = (1..n).map(|i| first.at(i).abs_diff(first.at(i - 1))).sum::<u64>() / (n - 1);
        assert!((3_100..3_550).contains(&mean), "{mean}");
    }
}
