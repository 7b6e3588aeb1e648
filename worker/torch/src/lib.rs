//! The only C++ and the only `unsafe` around libtorch and its collectives. What stands here is what tch lacks: gradients
//! that are views of one buffer, a hook when one is complete ([`autograd`]), groups of devices ([`collective`]),
//! and which libtorch this is ([`facts`]).
//! It knows nothing of models, steps or ranks.

pub mod autograd;
pub mod collective;
pub mod facts;
mod shim;

use tch::Tensor;

/// An exception of libtorch, with its message.
#[derive(Debug, thiserror::Error)]
#[error("libtorch: {0}")]
pub struct TorchError(pub String);

/// One thread pool size for the whole process; call it before the first tensor operation. More than one operation
/// never runs at the same time, so that a step's bits do not depend on timing.
pub fn set_threads(n_threads: u32) {
    tch::set_num_threads(i32::try_from(n_threads).unwrap_or(i32::MAX));
}

/// The tensor's elements as bytes, in row-major order. Copies where the tensor is not contiguous on the CPU.
pub fn bytes_of(tensor: &Tensor) -> Vec<u8> {
    let tensor = tensor.to_device(tch::Device::Cpu).contiguous();
    let n_bytes = tensor.numel() * tensor.kind().elt_size_in_bytes();
    let mut bytes = vec![0u8; n_bytes];
    tensor.copy_data_u8(&mut bytes, tensor.numel());
    bytes
}
