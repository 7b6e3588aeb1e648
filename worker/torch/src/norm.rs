//! Batch normalisation with what follows it, an addition and a ReLU, in as few passes over the activations as there can be.
//!
//! On the CPU the loops are ours (`cpp/norm.cpp` says why) and work channels last: another layout is brought into that first. They
//! sum in pieces whose number does not depend on the threads. Elsewhere libtorch's operations do the same.

use std::ptr;

use tch::Tensor;

use crate::TorchError;
use crate::shim::{checked, m2t_batch_norm, m2t_moments, m2t_normalise};

/// Weight and bias of a normalisation, `[C]` each.
#[derive(Clone, Copy)]
pub struct Learnt<'a> {
    /// Scale.
    pub weight: &'a Tensor,
    /// Shift.
    pub bias: &'a Tensor,
}

/// Mean and variance of each channel, `[C]` each.
#[derive(Clone, Copy)]
pub struct Statistics<'a> {
    /// Mean.
    pub mean: &'a Tensor,
    /// Variance.
    pub variance: &'a Tensor,
}

/// What is done to the normalised values.
#[derive(Clone, Copy)]
pub enum Then<'a> {
    /// Nothing.
    Nothing,
    /// Cut at 0.
    Relu,
    /// The tensor added, of the same shape, then cut at 0.
    AddRelu(&'a Tensor),
}

impl Then<'_> {
    /// The residual, null where there is none, and whether the sum is cut at 0. The shim reads it only.
    fn raw(self) -> (*mut torch_sys::C_tensor, u8) {
        match self {
            Self::Nothing => (ptr::null_mut(), 0),
            Self::Relu => (ptr::null_mut(), 1),
            Self::AddRelu(residual) => (residual.as_ptr().cast_mut(), 1),
        }
    }
}

/// Writes mean and *biased* variance of `x`, `[B, C]` or `[B, C, H, W]`.
///
/// # Errors
/// Libtorch's, where shapes do not fit.
pub fn moments(x: &Tensor, into: Statistics<'_>) -> Result<(), TorchError> {
    // SAFETY: three live tensors, borrowed for the call; the shim writes into the memory of the last two, as `Tensor`'s own
    // in-place operations do, and keeps none of them.
    checked(unsafe {
        m2t_moments(
            x.as_ptr().cast_mut(),
            into.mean.as_ptr().cast_mut(),
            into.variance.as_ptr().cast_mut(),
        )
    })
}

/// (x − mean)/√(variance + ε)·weight + bias, and what follows; without a way back. Takes the memory of `x` where it can.
///
/// # Errors
/// Libtorch's, where shapes do not fit.
pub fn normalise(
    x: Tensor,
    learnt: Learnt<'_>,
    by: Statistics<'_>,
    epsilon: f64,
    then: Then<'_>,
) -> Result<Tensor, TorchError> {
    let (residual, rectified) = then.raw();
    let mut out = ptr::null_mut();
    // SAFETY: all pointers are of live tensors, or null for the residual, and are not kept; `x` is ours, so that nobody sees that it
    // is overwritten. On success `out` is a new tensor that nobody else owns.
    unsafe {
        checked(m2t_normalise(
            x.as_ptr().cast_mut(),
            learnt.weight.as_ptr().cast_mut(),
            learnt.bias.as_ptr().cast_mut(),
            by.mean.as_ptr().cast_mut(),
            by.variance.as_ptr().cast_mut(),
            epsilon,
            residual,
            rectified,
            &raw mut out,
        ))?;
        Ok(Tensor::from_ptr(out))
    }
}

/// The same with the statistics of `x` itself and a way back, for training. `running` takes those in: running ← (1 −
/// momentum)·running + momentum·found, with the unbiased variance.
///
/// # Errors
/// Libtorch's, where shapes do not fit.
pub fn batch_norm(
    x: &Tensor,
    learnt: Learnt<'_>,
    running: Statistics<'_>,
    (momentum, epsilon): (f64, f64),
    then: Then<'_>,
) -> Result<Tensor, TorchError> {
    let (residual, rectified) = then.raw();
    let mut out = ptr::null_mut();
    // SAFETY: as in `normalise`; what the way back needs the shim keeps by its own reference counts.
    unsafe {
        checked(m2t_batch_norm(
            x.as_ptr().cast_mut(),
            learnt.weight.as_ptr().cast_mut(),
            learnt.bias.as_ptr().cast_mut(),
            running.mean.as_ptr().cast_mut(),
            running.variance.as_ptr().cast_mut(),
            momentum,
            epsilon,
            residual,
            rectified,
            &raw mut out,
        ))?;
        Ok(Tensor::from_ptr(out))
    }
}

#[cfg(test)]
mod tests;
