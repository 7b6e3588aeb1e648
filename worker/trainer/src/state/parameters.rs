//! A network's parameters: one flat vector, and a view of it for each parameter.

use std::sync::Arc;

use m2t_torch::autograd::{on_gradient_ready, set_gradient};
use m2t_torch::{TorchError, flat};
use tch::{Device, Kind, Tensor};

use crate::model::layout::{Extent, Layout, Parameter, Role};
use crate::sum::buckets::Filling;

/// One flat vector and a view of it a parameter, sharing its memory.
#[derive(Debug)]
pub struct Parameters {
    /// All parameters, with padding of zeros.
    pub flat: Tensor,
    /// One a parameter, in its shape.
    pub views: Vec<Tensor>,
}

impl Parameters {
    /// The student's: leaves whose gradients a backward makes.
    pub fn learning(layout: &Layout, flat: Tensor) -> Self {
        let views = layout
            .parameters
            .iter()
            .map(|p| view(&flat, p).detach().set_requires_grad(true))
            .collect();
        Self { flat, views }
    }

    /// The teacher's: a prefix of the layout, without gradients.
    pub fn following(layout: &Layout, extent: Extent, flat: Tensor) -> Self {
        let views = layout.parameters[..extent.n_parameters]
            .iter()
            .map(|p| view(&flat, p))
            .collect();
        Self { flat, views }
    }

    /// The next backward adds its gradients into `buffer`, laid out as the parameters are.
    pub fn gradients_into(&mut self, buffer: &Tensor, layout: &Layout) -> Result<(), TorchError> {
        for (leaf, parameter) in self.views.iter_mut().zip(&layout.parameters) {
            set_gradient(leaf, &view(buffer, parameter))?;
        }
        Ok(())
    }

    /// Tells `filling` of each parameter whose gradient is complete, from now on.
    pub fn on_gradients(&mut self, filling: &Arc<Filling>) -> Result<(), TorchError> {
        for (i, leaf) in self.views.iter_mut().enumerate() {
            let filling = Arc::clone(filling);
            on_gradient_ready(leaf, move || filling.complete(i))?;
        }
        Ok(())
    }

    /// What a forward computes with: weights of convolutions and linear layers in `kind`, those of normalisations as they are. For
    /// another kind than the parameters' own this casts each once; forwards and ways back may share it.
    pub fn cast(&self, layout: &Layout, kind: Kind) -> Vec<Tensor> {
        let cast = |(own, parameter): (&Tensor, &Parameter)| match parameter.role {
            Role::NormWeight | Role::NormBias => own.shallow_clone(),
            Role::Convolution
            | Role::Linear
            | Role::LinearBias { .. }
            | Role::ClassifierWeight
            | Role::ClassifierBias => own.to_kind(kind),
        };
        self.views.iter().zip(&layout.parameters).map(cast).collect()
    }

    /// The teacher follows: teacher ← m·teacher + (1−m)·student, for what both have.
    pub fn follow(&mut self, student: &Self, momentum: f64) {
        let n_elements = self.flat.size()[0];
        flat::follow(&mut self.flat, &student.flat.narrow(0, 0, n_elements), momentum)
            .expect("both are flat vectors of the teacher's length");
    }
}

/// A parameter's stretch of a flat vector, in its shape. Weights of convolutions lie there channels last, [out, k, k, in], as the
/// activations do: convolutions take them as they are.
pub fn view(flat: &Tensor, parameter: &Parameter) -> Tensor {
    stretch(flat, parameter.offset, &parameter.shape)
}

/// A flat vector whose parameters hold anything, to be overwritten; its padding is zeros, as it must be. Filling 400 MB first would take
/// as long as reading them.
pub(super) fn blank(layout: &Layout, extent: Extent, options: (Kind, Device)) -> Tensor {
    let flat = Tensor::empty([extent.n_elements], options);
    let parameters = &layout.parameters[..extent.n_parameters];
    let ends = parameters.iter().map(|p| p.offset + p.len());
    let begins = parameters
        .iter()
        .skip(1)
        .map(|p| p.offset)
        .chain([extent.n_elements]);
    for (end, begin) in ends.zip(begins) {
        let _ = flat.narrow(0, end, begin - end).zero_();
    }
    flat
}

/// So many elements from `offset` on, in this shape.
pub(super) fn stretch(flat: &Tensor, offset: i64, shape: &[i64]) -> Tensor {
    let own = flat.narrow(0, offset, shape.iter().product());
    match *shape {
        [to, from, height, width] => own.view([to, height, width, from]).permute([0, 3, 1, 2]),
        _ => own.view(shape),
    }
}
