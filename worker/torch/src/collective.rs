//! Collectives of a group of devices: one trait, honest implementations.
//!
//! [`Solo`] is a group of one device, [`Gloo`] one of CPU devices over TCP, [`Nccl`] one of GPUs. Operations are started
//! in the same order on every device and each returns a [`Handle`] to wait for. Why a trait of our own and not
//! c10d's backend class: the trainer needs few operations, each with an owner of the tensor it works on, and errors as values.
//!
//! A group is never mended: when a peer is lost or the placement changes, the survivors abort it, drop it and make a new one.

mod gloo;
pub mod nccl;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use tch::{Device, Tensor};

pub use gloo::{Gloo, Meeting, Timeouts};
pub use nccl::Nccl;

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

    /// Where the tensors lie that the devices exchange; none where nothing is exchanged.
    fn tensors_on(&self) -> Option<Device>;

    /// Combines the tensor (contiguous), wherever it lies, over all devices, in place, and waits for it. One that lies elsewhere than
    /// the group's costs a copy there and one back: a vector of the CPU among GPUs.
    fn combine(&self, tensor: &mut Tensor, op: Op) -> Result<(), TorchError> {
        match self.tensors_on() {
            Some(device) if device != tensor.device() => {
                let there = tensor.to_device(device);
                self.all_reduce(&there, op)?.wait()?;
                tensor.copy_(&there);
                Ok(())
            }
            _ => self.all_reduce(tensor, op)?.wait(),
        }
    }

    /// Combines the tensor (contiguous) over all devices, in place. It may be read and dropped after [`Handle::wait`].
    fn all_reduce(&self, tensor: &Tensor, op: Op) -> Result<Handle, TorchError>;

    /// Overwrites the tensor (contiguous, of the same shape and kind everywhere) with that of device `root`.
    fn broadcast(&self, tensor: &Tensor, root: usize) -> Result<Handle, TorchError>;

    /// Is over when every device has started it.
    fn barrier(&self) -> Result<Handle, TorchError>;

    /// Whether operations can still succeed, as far as this device knows; what broke or ended the group, if not.
    fn working(&self) -> Result<(), TorchError>;

    /// Ends the group for this device, from any thread, also while others wait for an operation: each operation that is
    /// not over yet, and each later one, fails with [`TorchError::Aborted`], at once and not at its timeout. The peers'
    /// operations fail, too, as with a lost peer. What the tensor of a failed operation holds is undefined. Aborting again does nothing.
    fn abort(&self);

    /// Whether an aborted group has let go of its device, `within` of the abort at the longest. A group that aborts in no time always has.
    fn departed(&self, _within: Duration) -> Departure {
        Departure::Over
    }
}

/// How an abort ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a device that is stuck is freed by the end of its process alone"]
pub enum Departure {
    /// The device is free for another group.
    Over,
    /// Something never came back. Only the end of the process frees the device.
    Stuck,
}

/// An operation that was started. Dropping it without waiting leaves the operation running.
#[must_use = "the operation is not over before wait"]
pub struct Handle(Option<Pending>);

/// The end of an operation, as the thread that runs it tells it.
type Pending = Receiver<Result<(), TorchError>>;

impl Handle {
    /// Waits until the operation is over on this device. An error means that the group is broken for good.
    pub fn wait(self) -> Result<(), TorchError> {
        let panicked = || TorchError::Libtorch("the thread of the collectives panicked".to_owned());
        self.0.map_or(Ok(()), |pending| {
            pending.recv().unwrap_or_else(|_| Err(panicked()))
        })
    }
}

/// A group of one device: every operation is done before it starts. An abort has nobody to wake, but it ends this group
/// like any other: a device alone that was told to stop does not go on to its next step.
#[derive(Debug, Default)]
pub struct Solo {
    aborted: AtomicBool,
}

impl Solo {
    fn done(&self) -> Result<Handle, TorchError> {
        self.working().map(|()| Handle(None))
    }
}

impl Collective for Solo {
    fn size(&self) -> usize {
        1
    }

    fn index(&self) -> usize {
        0
    }

    fn tensors_on(&self) -> Option<Device> {
        None
    }

    fn all_reduce(&self, _tensor: &Tensor, _op: Op) -> Result<Handle, TorchError> {
        self.done()
    }

    fn broadcast(&self, _tensor: &Tensor, _root: usize) -> Result<Handle, TorchError> {
        self.done()
    }

    fn barrier(&self) -> Result<Handle, TorchError> {
        self.done()
    }

    fn working(&self) -> Result<(), TorchError> {
        match self.aborted.load(Ordering::SeqCst) {
            true => Err(TorchError::Aborted),
            false => Ok(()),
        }
    }

    fn abort(&self) {
        self.aborted.store(true, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_alone_works_until_it_is_aborted() {
        let group = Solo::default();
        let mut tensor = Tensor::from_slice(&[1.5]);
        group.combine(&mut tensor, Op::Sum).unwrap();
        group.all_reduce(&tensor, Op::Sum).unwrap().wait().unwrap();
        group.barrier().unwrap().wait().unwrap();
        group.working().unwrap();
        group.abort();
        group.abort();
        assert!(matches!(group.working(), Err(TorchError::Aborted)));
        assert!(matches!(group.barrier(), Err(TorchError::Aborted)));
        assert!(matches!(
            group.all_reduce(&tensor, Op::Sum),
            Err(TorchError::Aborted)
        ));
        assert!(matches!(group.broadcast(&tensor, 0), Err(TorchError::Aborted)));
        assert_eq!(tensor.double_value(&[0]), 1.5);
    }
}
