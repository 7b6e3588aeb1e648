//! Keyed random streams: what is drawn depends on *what it is for*, never on who draws it or when.
//!
//! A stream is ChaCha8 (whose output is fixed by its definition) under a key made by BLAKE3 from a purpose and
//! numbers. So the augmentation of view 2 of sample 17 in epoch 3 is the same on every device, in every thread and
//! after every restart, and no generator state has to be saved.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// A stream of random numbers for one purpose.
#[derive(Clone, Debug)]
pub struct Stream(ChaCha8Rng);

impl Stream {
    /// The stream for `purpose` (a constant text, such as `"augment"`) and the numbers that single out its use.
    pub fn new(purpose: &str, key: &[u64]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("m2t 2026 random stream");
        hasher.update(&(purpose.len() as u64).to_le_bytes());
        hasher.update(purpose.as_bytes());
        for number in key {
            hasher.update(&number.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(*hasher.finalize().as_bytes()))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in `[0, 1)`, 53 bits.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * 2f64.powi(-53)
    }

    /// Uniform in `[low, high)`.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Uniform in `0..n` by widening multiplication (bias below n/2⁶⁴). `n` is at least 1.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(n)) >> 64) as u64
    }

    /// True with probability `p`. Always draws, so that what follows does not depend on `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// Standard normal (Box–Muller, one of the pair).
    pub fn normal(&mut self) -> f64 {
        let (u, v) = (1.0 - self.unit(), self.unit());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    /// A uniformly random order of `items`, in place (Fisher–Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_fixed_and_apart() {
        // Written down once: a change here changes every run, and must be a new purpose instead.
        assert_eq!(
            Stream::new("test", &[1, 2, 3]).bits(),
            Stream::new("test", &[1, 2, 3]).bits()
        );
        assert_ne!(
            Stream::new("test", &[1, 2, 3]).bits(),
            Stream::new("test", &[1, 3, 2]).bits()
        );
        assert_ne!(Stream::new("test", &[1]).bits(), Stream::new("tes", &[1]).bits());
    }

    #[test]
    fn draws_are_uniform() {
        let mut stream = Stream::new("uniform", &[]);
        let mut counts = [0u32; 7];
        for _ in 0..70_000 {
            counts[stream.below(7) as usize] += 1;
        }
        assert!(counts.iter().all(|&n| (9_500..10_500).contains(&n)), "{counts:?}");
        let mean: f64 = (0..10_000).map(|_| stream.unit()).sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
        let square: f64 = (0..10_000).map(|_| stream.normal().powi(2)).sum::<f64>() / 10_000.0;
        assert!((square - 1.0).abs() < 0.06, "{square}");
    }
}
