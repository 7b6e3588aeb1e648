//! Projector and predictor: Linear, BatchNorm, ReLU, Linear.

use m2t_torch::norm::Then;
use tch::Tensor;

use super::layout::{Layout, ParameterId, Role};
use super::norm::{Norm, Normalise};

/// From [B, in] to [B, out].
#[derive(Debug)]
pub struct Head {
    first: Linear,
    norm: Norm,
    last: Linear,
}

#[derive(Debug)]
struct Linear {
    weight: ParameterId,
    bias: ParameterId,
}

impl Head {
    /// `places` are the published numbers of its layers below `fc`; `widths` are in, hidden, out.
    pub fn new(layout: &mut Layout, places: [u32; 3], widths: [i64; 3]) -> Self {
        let name = |i: usize| format!("fc.{}", places[i]);
        Self {
            first: Linear::new(layout, &name(0), [widths[0], widths[1]]),
            norm: Norm::new(layout, &name(1), widths[1]),
            last: Linear::new(layout, &name(2), [widths[1], widths[2]]),
        }
    }

    /// Applies it.
    pub fn forward(&self, x: &Tensor, weights: &[Tensor], norm: &mut impl Normalise) -> Tensor {
        let hidden = self.first.forward(x, weights);
        let hidden = self.norm.forward(hidden, weights, norm, Then::Relu); // [B, h]
        self.last.forward(&hidden, weights)
    }
}

impl Linear {
    fn new(layout: &mut Layout, name: &str, [from, to]: [i64; 2]) -> Self {
        Self {
            weight: layout.parameter(format!("{name}.weight"), &[to, from], Role::Linear),
            bias: layout.parameter(format!("{name}.bias"), &[to], Role::LinearBias { fan_in: from }),
        }
    }

    fn forward(&self, x: &Tensor, weights: &[Tensor]) -> Tensor {
        x.linear(&weights[self.weight.0], Some(&weights[self.bias.0]))
    }
}
