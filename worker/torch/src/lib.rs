//! The only C++ and the only `unsafe` around libtorch and its collectives. What stands here is what tch lacks: gradients
//! that are views of one buffer, a hook when one is complete ([`autograd`]), groups of devices ([`collective`]), CUDA on a
//! machine that has it ([`cuda`]), fewer passes over memory ([`norm`], [`flat`], [`memory`]), what time goes to ([`profile`]), and which
//! libtorch this is ([`facts`]).
//! It knows nothing of models, steps or ranks.

pub mod autograd;
pub mod collective;
pub mod cuda;
pub mod facts;
pub mod flat;
mod library;
pub mod memory;
pub mod norm;
pub mod profile;
mod shim;

use tch::Tensor;

use crate::collective::nccl::NcclError;
use crate::cuda::CudaError;
pub use crate::library::LibraryError;

/// What fails in this crate.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TorchError {
    /// An exception of libtorch, with its message. Of a collective operation: a peer is lost.
    #[error("libtorch: {0}")]
    Libtorch(String),
    /// This device aborted the group; no peer is to blame.
    #[error("the group of devices was aborted")]
    Aborted,
    /// Of the driver, or of libtorch's CUDA half.
    #[error(transparent)]
    Cuda(#[from] CudaError),
    /// Of NCCL. Of a collective operation: a peer may be lost.
    #[error(transparent)]
    Nccl(#[from] NcclError),
}

impl From<tch::TchError> for TorchError {
    fn from(error: tch::TchError) -> Self {
        Self::Libtorch(error.to_string())
    }
}

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

/// Puts elements, as bytes, into a contiguous tensor on the CPU, from element `first` on. One copy, where a tensor made of them and
/// copied would be two.
///
/// # Panics
/// Where the tensor is another, or the bytes are no whole elements or reach beyond its end.
pub fn put_bytes(into: &mut Tensor, first: usize, bytes: &[u8]) {
    let width = into.kind().elt_size_in_bytes();
    let n_elements = into.numel();
    assert!(
        into.device() == tch::Device::Cpu && into.is_contiguous(),
        "it is contiguous and on the CPU"
    );
    assert!(
        bytes.len().is_multiple_of(width) && first <= n_elements && bytes.len() / width <= n_elements - first,
        "{} bytes from element {first} on, in {n_elements} of {width} each",
        bytes.len()
    );
    // SAFETY: a live tensor whose elements lie one after the other from `data_ptr` on; the stretch is within them, and `bytes` is none of
    // its memory, since no slice of a tensor's memory is ever made.
    unsafe {
        let to = into.data_ptr().cast::<u8>().add(first * width);
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
    }
}

#[cfg(test)]
mod tests;
