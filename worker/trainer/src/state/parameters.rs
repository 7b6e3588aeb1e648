//! A network's parameters: one flat vector, and a view of it for each parameter.

use std::sync::Arc;

use m2t_torch::autograd::{on_gradient_ready, set_gradient};
use m2t_torch::{TorchError, flat};
use tch::{Kind, Tensor};

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
            Role::Convolution | Role::Linear | Role::LinearBias { .. } => own.to_kind(kind),
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
    let own = flat.narrow(0, parameter.offset, parameter.len());
    match parameter.shape[..] {
        [to, from, height, width] => own.view([to, height, width, from]).permute([0, 3, 1, 2]),
        _ => own.view(parameter.shape.as_slice()),
    }
}
