//! Collectives of a group of devices: one trait, honest implementations.
//!
//! [`Solo`] is a group of one device, [`Gloo`] one of CPU devices over TCP; NCCL joins for GPUs. Operations are started
//! in the same order on every device and each returns a [`Handle`] to wait for. Why a trait of our own and not
//! c10d's backend class: the trainer needs two operations, each with an owner of the tensor it works on, and errors as values.

mod gloo;

use tch::Tensor;

pub use gloo::{Gloo, Meeting};

use crate::TorchError;

/// How elements are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Added.
    Sum,
    /// The largest.
    Max,
}

/// A group of devices, seen from one of them.
pub trait Collective: Send + Sync {
    /// Devices in the group.
    fn size(&self) -> usize;

    /// This device's place in it, from 0.
    fn index(&self) -> usize;

    /// Combines the tensor (contiguous) over all devices, in place. It may be read and dropped after [`Handle::wait`].
    fn all_reduce(&self, tensor: &Tensor, op: Op) -> Result<Handle, TorchError>;

    /// Overwrites the tensor (contiguous, of the same shape and kind everywhere) with that of device `root`.
    fn broadcast(&self, tensor: &Tensor, root: usize) -> Result<Handle, TorchError>;
}

/// An operation that was started. Dropping it without waiting leaves the operation running.
#[must_use = "the operation is not over before wait"]
pub struct Handle(Option<gloo::Work>);

impl Handle {
    /// Waits until the operation is over on this device. An error means that the group is broken for good.
    pub fn wait(self) -> Result<(), TorchError> {
        self.0.map_or(Ok(()), |work| work.wait())
    }
}

/// A group of one device: every operation is done before it starts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Solo;

impl Collective for Solo {
    fn size(&self) -> usize {
        1
    }

    fn index(&self) -> usize {
        0
    }

    fn all_reduce(&self, _tensor: &Tensor, _op: Op) -> Result<Handle, TorchError> {
        Ok(Handle(None))
    }

    fn broadcast(&self, _tensor: &Tensor, _root: usize) -> Result<Handle, TorchError> {
        Ok(Handle(None))
    }
}
