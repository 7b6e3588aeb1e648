//! The published linear head: Linear, then BatchNorm over the classes.

use m2t_common::recipe::Model;
use m2t_torch::norm::Then;
use tch::Tensor;

use super::layout::{Layout, ParameterId, Role};
use super::norm::{Norm, Normalise};
use super::resnet::Encoder;

/// From features [B, d] to logits [B, classes].
#[derive(Debug)]
pub struct Classifier {
    /// Its parameters and its normalisation.
    pub layout: Layout,
    weight: ParameterId,
    bias: ParameterId,
    norm: Norm,
}

impl Classifier {
    /// For the features of an encoder.
    pub fn new(encoder: &Model, classes: u32) -> Self {
        let width = Encoder::new(encoder, &mut Layout::default()).width;
        let classes = i64::from(classes);
        let mut layout = Layout::default();
        Self {
            weight: layout.parameter("fc.weight".to_owned(), &[classes, width], Role::ClassifierWeight),
            bias: layout.parameter("fc.bias".to_owned(), &[classes], Role::ClassifierBias),
            norm: Norm::new(&mut layout, "bn", classes),
            layout,
        }
    }

    /// Logits.
    pub fn forward(&self, features: &Tensor, weights: &[Tensor], norm: &mut impl Normalise) -> Tensor {
        let logits = features.linear(&weights[self.weight.0], Some(&weights[self.bias.0])); // [B, classes]
        self.norm.forward(logits, weights, norm, Then::Nothing)
    }
}
