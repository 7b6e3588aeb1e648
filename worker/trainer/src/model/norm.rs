//! The three ways to normalise: the student's, the teacher's with momentum statistics, and with fixed statistics.
//!
//! None of them writes state: what a forward finds out stays with the caller until the step commits.

use m2t_torch::norm::{self, Learnt, Then};
use tch::{Device, Kind, Tensor};

use super::layout::{Extent, Layout, NormId, ParameterId};

/// ε of every normalisation.
pub const EPSILON: f64 = 1e-5;
/// Momentum of the student's running statistics.
pub const RUNNING_MOMENTUM: f64 = 0.1;

/// Normalises one layer's input.
pub trait Normalise {
    /// `x` is `[B, C]` or `[B, C, H, W]`; weight and bias are `[C]`. Does what follows, too.
    fn normalise(&mut self, layer: NormId, x: Tensor, learnt: Learnt<'_>, then: Then<'_>) -> Tensor;
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

    /// Applies it, and what follows.
    pub fn forward(
        &self,
        x: Tensor,
        weights: &[Tensor],
        norm: &mut impl Normalise,
        then: Then<'_>,
    ) -> Tensor {
        let learnt = Learnt {
            weight: &weights[self.weight.0],
            bias: &weights[self.bias.0],
        };
        norm.normalise(self.layer, x, learnt, then)
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

    /// The same, sharing its memory.
    pub fn share(&self) -> Self {
        self.holding(self.mean.shallow_clone(), self.var.shallow_clone())
    }

    /// Others of the same layers.
    pub fn holding(&self, mean: Tensor, var: Tensor) -> Self {
        Self {
            mean,
            var,
            layers: self.layers.clone(),
        }
    }

    /// The same on a device.
    pub fn on(self, device: Device) -> Self {
        Self {
            mean: self.mean.to_device(device),
            var: self.var.to_device(device),
            layers: self.layers,
        }
    }

    /// The same in another kind.
    pub fn to_kind(&self, kind: Kind) -> Self {
        Self {
            mean: self.mean.to_kind(kind),
            var: self.var.to_kind(kind),
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
    fn normalise(&mut self, layer: NormId, x: Tensor, learnt: Learnt<'_>, then: Then<'_>) -> Tensor {
        let (mean, var) = self.running.layer(layer);
        norm::batch_norm(
            &x,
            learnt,
            statistics(&mean, &var),
            (RUNNING_MOMENTUM, EPSILON),
            then,
        )
        .expect(SHAPES)
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

impl Moments {
    /// Before a forward, of the layers that `like` has.
    pub fn none(like: &Statistics) -> Self {
        Self {
            batch: Statistics {
                mean: like.mean.zeros_like(),
                var: like.var.ones_like(),
                layers: like.layers.clone(),
            },
            counts: vec![0; like.layers.len()],
        }
    }
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
}

impl<'a> TeacherNorm<'a> {
    /// For one forward of one rank.
    pub fn new(history: &'a Statistics, alpha: f64) -> Self {
        Self {
            history,
            alpha,
            moments: Moments::none(history),
        }
    }
}

impl Normalise for TeacherNorm<'_> {
    fn normalise(&mut self, layer: NormId, x: Tensor, learnt: Learnt<'_>, then: Then<'_>) -> Tensor {
        let n = values_a_channel(&x);
        let (of_batch, biased) = self.moments.batch.layer(layer);
        norm::moments(&x, statistics(&of_batch, &biased)).expect(SHAPES);
        self.moments.counts[layer.0] = n;

        let (history_mean, history_var) = self.history.layer(layer);
        let mean = of_batch * self.alpha + history_mean * (1.0 - self.alpha);
        let var = biased * (self.alpha * twice_unbiased(n)) + history_var * (1.0 - self.alpha);
        norm::normalise(x, learnt, statistics(&mean, &var), EPSILON, then).expect(SHAPES)
    }
}

/// With fixed statistics, for evaluation.
pub struct FrozenNorm<'a> {
    /// What to normalise with.
    pub statistics: &'a Statistics,
}

impl Normalise for FrozenNorm<'_> {
    fn normalise(&mut self, layer: NormId, x: Tensor, learnt: Learnt<'_>, then: Then<'_>) -> Tensor {
        let (mean, var) = self.statistics.layer(layer);
        norm::normalise(x, learnt, statistics(&mean, &var), EPSILON, then).expect(SHAPES)
    }
}

/// As with tch's own operations, only shapes can be wrong, and those are the network's.
const SHAPES: &str = "a layer has the statistics of its channels";

fn statistics<'a>(mean: &'a Tensor, variance: &'a Tensor) -> norm::Statistics<'a> {
    norm::Statistics { mean, variance }
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
