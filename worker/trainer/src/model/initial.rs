//! Initial parameters, drawn from the seed alone: the same on every device, whatever the tensor library's generator.
//!
//! Convolutions: Kaiming normal, fan_out. Linear layers: PyTorch's default, uniform ±1/√fan_in. Normalisation: weight 1
//! and bias 0, also in the last one of a block. A linear head: normal of σ 0.01, bias 0.

use m2t_common::random::Stream;
use tch::{Device, Kind, Tensor};

use super::layout::{Layout, Parameter, Role};
use crate::state::parameters::view;

/// The student's flat vector of parameters for `seed`.
pub fn parameters(layout: &Layout, seed: u64, (kind, device): (Kind, Device)) -> Tensor {
    let flat = Tensor::zeros([layout.extent().n_elements], (kind, device));
    for (i, parameter) in (0u64..).zip(&layout.parameters) {
        let mut stream = Stream::new("initial parameter", &[seed, i]);
        let values: Vec<f32> = (0..parameter.len())
            .map(|_| value(parameter, &mut stream) as f32)
            .collect();
        view(&flat, parameter).copy_(&Tensor::from_slice(&values).view(parameter.shape.as_slice()));
    }
    flat
}

fn value(parameter: &Parameter, stream: &mut Stream) -> f64 {
    let shape = &parameter.shape;
    match parameter.role {
        Role::Convolution => stream.normal() * (2.0 / (shape[0] * shape[2] * shape[3]) as f64).sqrt(),
        Role::Linear => uniform(stream, shape[1]),
        Role::LinearBias { fan_in } => uniform(stream, fan_in),
        Role::ClassifierWeight => 0.01 * stream.normal(),
        Role::NormWeight => 1.0,
        Role::ClassifierBias | Role::NormBias => 0.0,
    }
}

fn uniform(stream: &mut Stream, fan_in: i64) -> f64 {
    let bound = 1.0 / (fan_in as f64).sqrt();
    stream.uniform(-bound, bound)
}
