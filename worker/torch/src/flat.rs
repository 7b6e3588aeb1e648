//! Long vectors, each operation in one pass: what sums over ranks, the optimizer and the teacher are made of.
//!
//! Vectors are contiguous and of one length; float32 or float64. On the CPU the loops are ours (`cpp/kernels.h`), elsewhere they
//! are libtorch's operations.

use tch::{Device, Kind, Tensor};

use crate::TorchError;
use crate::shim::{checked, m2t_dequantise, m2t_descend, m2t_follow, m2t_largest, m2t_quantise, m2t_square};

/// How one value goes into a total of integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Into {
    /// It takes the total's place.
    Place,
    /// It is added.
    Sum,
}

/// How a step goes down: buffer ← momentum·buffer + inner·(g + decay·p); p ← p − outer·buffer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Descent {
    /// What is kept of the buffer.
    pub momentum: f64,
    /// Rate of what goes into the buffer.
    pub inner: f64,
    /// Weight decay.
    pub decay: f64,
    /// Rate of what comes out of it.
    pub outer: f64,
}

fn is_here(x: &Tensor) -> bool {
    x.device() == Device::Cpu
}

/// The largest |x|; NaN if there is one.
///
/// # Errors
/// Where `x` is no flat vector.
pub fn largest(x: &Tensor) -> Result<f64, TorchError> {
    if !is_here(x) {
        return Ok(x.abs().max().double_value(&[]));
    }
    let mut largest = 0.0;
    // SAFETY: a live tensor that the shim reads, and a place for its answer.
    checked(unsafe { m2t_largest(x.as_ptr().cast_mut(), &raw mut largest) })?;
    Ok(largest)
}

/// The L2 norm.
///
/// # Errors
/// Where `x` is no flat vector.
pub fn norm(x: &Tensor) -> Result<f64, TorchError> {
    if !is_here(x) {
        return Ok(x.norm().to_kind(Kind::Double).double_value(&[]));
    }
    let mut square: f64 = 0.0;
    // SAFETY: as in `largest`.
    checked(unsafe { m2t_square(x.as_ptr().cast_mut(), &raw mut square) })?;
    Ok(square.sqrt())
}

/// `total` takes in round(x·scale), int64, ties to even.
///
/// # Errors
/// Where these are no flat vectors of one length.
pub fn quantise(x: &Tensor, scale: f64, into: Into, total: &mut Tensor) -> Result<(), TorchError> {
    if !is_here(x) {
        let integers = (x.to_kind(Kind::Double) * scale).round_().to_kind(Kind::Int64);
        match into {
            Into::Place => total.copy_(&integers),
            Into::Sum => *total += integers,
        }
        return Ok(());
    }
    // SAFETY: two live tensors, the second borrowed mutably; their lengths and kinds are checked by the shim.
    checked(unsafe {
        m2t_quantise(
            x.as_ptr().cast_mut(),
            scale,
            u8::from(into == Into::Sum),
            total.as_mut_ptr(),
        )
    })
}

/// x ← total·scale.
///
/// # Errors
/// Where these are no flat vectors of one length.
pub fn dequantise(total: &Tensor, scale: f64, x: &mut Tensor) -> Result<(), TorchError> {
    if !is_here(x) {
        x.copy_(&(total.to_kind(Kind::Double) * scale));
        return Ok(());
    }
    // SAFETY: as in `quantise`.
    checked(unsafe { m2t_dequantise(total.as_ptr().cast_mut(), scale, x.as_mut_ptr()) })
}

/// Parameters and buffer go down by the gradient.
///
/// # Errors
/// Where these are no flat vectors of one length.
pub fn descend(
    [parameters, buffer]: [&mut Tensor; 2],
    gradient: &Tensor,
    by: Descent,
) -> Result<(), TorchError> {
    let Descent {
        momentum,
        inner,
        decay,
        outer,
    } = by;
    if !is_here(parameters) {
        *buffer *= momentum;
        *buffer += (gradient + &*parameters * decay) * inner;
        *parameters -= &*buffer * outer;
        return Ok(());
    }
    // SAFETY: three live tensors, of which the two that are written are borrowed mutably; lengths and kinds are checked by the shim.
    checked(unsafe {
        m2t_descend(
            parameters.as_mut_ptr(),
            buffer.as_mut_ptr(),
            gradient.as_ptr().cast_mut(),
            momentum,
            inner,
            decay,
            outer,
        )
    })
}

/// teacher ← momentum·teacher + (1 − momentum)·student.
///
/// # Errors
/// Where these are no flat vectors of one length.
pub fn follow(teacher: &mut Tensor, student: &Tensor, momentum: f64) -> Result<(), TorchError> {
    if !is_here(teacher) {
        *teacher *= momentum;
        *teacher += student * (1.0 - momentum);
        return Ok(());
    }
    // SAFETY: as in `quantise`.
    checked(unsafe { m2t_follow(teacher.as_mut_ptr(), student.as_ptr().cast_mut(), momentum) })
}

#[cfg(test)]
mod tests;
