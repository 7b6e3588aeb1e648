//! The three ways to normalise: the student's, the teacher's with momentum statistics, and with fixed statistics.
//!
//! None of them writes state: what a forward finds out stays with the caller until the step commits.

use tch::{Device, Kind, Tensor};

use super::layout::{Extent, Layout, NormId, ParameterId};

/// ε of every normalisation.
pub const EPSILON: f64 = 1e-5;
/// Momentum of the student's running statistics.
pub const RUNNING_MOMENTUM: f64 = 0.1;

/// Normalises one layer's input.
pub trait Normalise {
    /// `x` is `[B, C]` or `[B, C, H, W]`; weight and bias are `[C]`.
    fn normalise(&mut self, layer: NormId, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor;
}

/// A normalisation layer: its affine parameters and its statistics.
#[derive(Clone, Copy, Debug)]
pub struct Norm {
    weight: ParameterId,
    bias: ParameterId,
    layer: NormId,
}

impl Norm {
    /// Adds the layer called `name`.
    pub fn new(layout: &mut Layout, name: &str, channels: i64) -> Self {
        use super::layout::Role::{NormBias, NormWeight};
        Self {
            weight: layout.parameter(format!("{name}.weight"), &[channels], NormWeight),
            bias: layout.parameter(format!("{name}.bias"), &[channels], NormBias),
            layer: layout.norm(name.to_owned(), channels),
        }
    }

    /// Applies it.
    pub fn forward(&self, x: &Tensor, weights: &[Tensor], norm: &mut impl Normalise) -> Tensor {
        norm.normalise(self.layer, x, &weights[self.weight.0], &weights[self.bias.0])
    }
}

/// Mean and variance of every channel of a network, as two flat vectors.
#[derive(Debug)]
pub struct Statistics {
    /// `[ΣC]`.
    pub mean: Tensor,
    /// `[ΣC]`.
    pub var: Tensor,
    layers: Vec<(i64, i64)>,
}

impl Statistics {
    /// Mean 0 and variance 1 for the layers of `extent`, a prefix of `layout`.
    pub fn new(layout: &Layout, extent: Extent, (kind, device): (Kind, Device)) -> Self {
        let layers = layout.norms[..extent.n_norms]
            .iter()
            .map(|layer| (layer.offset, layer.channels))
            .collect();
        Self {
            mean: Tensor::zeros([extent.n_channels], (kind, device)),
            var: Tensor::ones([extent.n_channels], (kind, device)),
            layers,
        }
    }

    /// A copy with memory of its own.
    pub fn copy(&self) -> Self {
        Self {
            mean: self.mean.copy(),
            var: self.var.copy(),
            layers: self.layers.clone(),
        }
    }

    /// Channels of each layer, in order.
    pub fn channels(&self) -> impl Iterator<Item = usize> {
        self.layers
            .iter()
            .map(|&(_, channels)| usize::try_from(channels).unwrap_or_default())
    }

    /// Views of one layer's mean and variance.
    pub fn layer(&self, layer: NormId) -> (Tensor, Tensor) {
        let (offset, channels) = self.layers[layer.0];
        (
            self.mean.narrow(0, offset, channels),
            self.var.narrow(0, offset, channels),
        )
    }
}

/// The student's: statistics of the rank's own images; its running statistics take them in (they are pending, too).
pub struct StudentNorm<'a> {
    /// The rank's pending running statistics.
    pub running: &'a Statistics,
}

impl Normalise for StudentNorm<'_> {
    fn normalise(&mut self, layer: NormId, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
        let (mean, var) = self.running.layer(layer);
        x.batch_norm(
            Some(weight),
            Some(bias),
            Some(&mean),
            Some(&var),
            true,
            RUNNING_MOMENTUM,
            EPSILON,
            true,
        )
    }
}

/// What one view's images gave a rank's teacher, for the commit.
#[derive(Debug)]
pub struct Moments {
    /// Mean and *biased* variance of each channel.
    pub batch: Statistics,
    /// Values a channel, of each layer.
    pub counts: Vec<i64>,
}

/// The teacher's momentum statistics: the batch's moments blended with the history. Section 3.2 of the paper.
///
/// Normalises with α·m + (1−α)·μ and α·v·n/(n−1) + (1−α)·σ², v unbiased: the second n/(n−1) is the published
/// behaviour.
pub struct TeacherNorm<'a> {
    /// (μ, σ²).
    pub history: &'a Statistics,
    /// α(i).
    pub alpha: f64,
    /// What this forward's images gave.
    pub moments: Moments,
    zero_and_one: Statistics,
}

impl<'a> TeacherNorm<'a> {
    /// For one forward of one rank.
    pub fn new(history: &'a Statistics, alpha: f64) -> Self {
        let blank = || Statistics {
            mean: history.mean.zeros_like(),
            var: history.var.ones_like(),
            layers: history.layers.clone(),
        };
        let moments = Moments {
            batch: blank(),
            counts: vec![0; history.layers.len()],
        };
        Self {
            history,
            alpha,
            moments,
            zero_and_one: blank(),
        }
    }
}

impl Normalise for TeacherNorm<'_> {
    fn normalise(&mut self, layer: NormId, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
        let n = values_a_channel(x);
        let (zeros, ones) = self.zero_and_one.layer(layer);
        // One pass over x, the fastest that libtorch has; it gives the biased variance.
        let (mean, biased) = x.batch_norm_update_stats(Some(&zeros), Some(&ones), 1.0);
        let (mut mean_of_batch, mut var_of_batch) = self.moments.batch.layer(layer);
        mean_of_batch.copy_(&mean);
        var_of_batch.copy_(&biased);
        self.moments.counts[layer.0] = n;

        let (history_mean, history_var) = self.history.layer(layer);
        let mean = mean * self.alpha + history_mean * (1.0 - self.alpha);
        let var = biased * (self.alpha * twice_unbiased(n)) + history_var * (1.0 - self.alpha);
        with_statistics(x, [weight, bias], [&mean, &var])
    }
}

/// With fixed statistics, for evaluation.
pub struct FrozenNorm<'a> {
    /// What to normalise with.
    pub statistics: &'a Statistics,
}

impl Normalise for FrozenNorm<'_> {
    fn normalise(&mut self, layer: NormId, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
        let (mean, var) = self.statistics.layer(layer);
        with_statistics(x, [weight, bias], [&mean, &var])
    }
}

/// (x − mean)/√(var + ε)·weight + bias, a channel.
fn with_statistics(x: &Tensor, [weight, bias]: [&Tensor; 2], [mean, var]: [&Tensor; 2]) -> Tensor {
    x.batch_norm(
        Some(weight),
        Some(bias),
        Some(mean),
        Some(var),
        false,
        0.0,
        EPSILON,
        true,
    )
}

/// (n/(n−1))²: from a biased variance to the unbiased one, times n/(n−1) as published.
pub fn twice_unbiased(n: i64) -> f64 {
    (n as f64 / (n - 1) as f64).powi(2)
}

/// B·H·W of [B, C, H, W], B of [B, C].
fn values_a_channel(x: &Tensor) -> i64 {
    let size = x.size();
    size.iter().product::<i64>() / size[1]
}
