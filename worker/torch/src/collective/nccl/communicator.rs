//! A communicator of NCCL: each call of it once, with its errors as values.
//!
//! Who owns one is the only one inside NCCL with it: it is handed from thread to thread, never shared. It is never destroyed, only
//! aborted ([`Communicator::abort`]): destroying waits for the peers, and one of them may be dead.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::Arc;

use tch::{Kind, Tensor};

use super::NcclError;
use super::library::{Config, IN_PROGRESS, Library, RawComm};
use super::unique_id::UniqueId;
use crate::collective::Op;
use crate::cuda::Stream;

/// Whether the last call is over. The next one may only begin when it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    InProgress,
    Over,
}

pub(super) struct Communicator {
    library: Arc<Library>,
    raw: *mut RawComm,
}

// SAFETY: a communicator is bound to no thread (the device is set by whoever calls), and it has one owner.
unsafe impl Send for Communicator {}

impl Communicator {
    /// Begins to make this device's part, number `index` of `size`. The caller polls [`Self::progress`].
    pub(super) fn begin(
        library: &Arc<Library>,
        id: UniqueId,
        (index, size): (usize, usize),
    ) -> Result<Self, NcclError> {
        let mut config = Config::nonblocking();
        let mut raw = ptr::null_mut();
        // SAFETY: both pointers are to live locals; NCCL copies the configuration and writes the communicator before it returns.
        let code =
            unsafe { (library.functions().begin)(&raw mut raw, int(size), id, int(index), &raw mut config) };
        library.checked("ncclCommInitRankConfig", code)?;
        if raw.is_null() {
            return Err(NcclError::Call {
                call: "ncclCommInitRankConfig",
                message: "no communicator".to_owned(),
            });
        }
        Ok(Self {
            library: Arc::clone(library),
            raw,
        })
    }

    /// Where the last call stands; an error is that of the call, or of the group since.
    pub(super) fn progress(&self) -> Result<Progress, NcclError> {
        let mut state = 0;
        // SAFETY: the communicator lives until `abort` takes it; the pointer is to a live local.
        let code = unsafe { (self.library.functions().state)(self.raw, &raw mut state) };
        self.library.checked("ncclCommGetAsyncError", code)?;
        if state == IN_PROGRESS {
            return Ok(Progress::InProgress);
        }
        self.library.checked("the group", state).map(|()| Progress::Over)
    }

    /// Combines the tensor over all devices, in place, when its turn on the stream comes.
    pub(super) fn all_reduce(&self, tensor: &Tensor, op: Op, stream: &Stream) -> Result<(), NcclError> {
        let (buffer, count, datatype) = parts(tensor)?;
        let op = match op {
            Op::Sum => 0,
            Op::Max => 2,
        };
        // SAFETY: the buffer holds that many elements of the type (`check`) and lives until the stream is past the call: the
        // runner keeps the tensor. Communicator and stream are live.
        let code = unsafe {
            (self.library.functions().all_reduce)(buffer, buffer, count, datatype, op, self.raw, stream.raw())
        };
        self.library.checked("ncclAllReduce", code)
    }

    /// Overwrites the tensor with that of device `root`, when its turn on the stream comes.
    pub(super) fn broadcast(&self, tensor: &Tensor, root: usize, stream: &Stream) -> Result<(), NcclError> {
        let (buffer, count, datatype) = parts(tensor)?;
        // SAFETY: as in `all_reduce`.
        let code = unsafe {
            (self.library.functions().broadcast)(
                buffer,
                buffer,
                count,
                datatype,
                int(root),
                self.raw,
                stream.raw(),
            )
        };
        self.library.checked("ncclBroadcast", code)
    }

    /// Begins to see to it that the peers have all that this device sent them. The caller polls [`Self::progress`].
    pub(super) fn finalize(&self) -> Result<(), NcclError> {
        // SAFETY: the communicator is live, and nothing is asked of it after this but its progress and its abort.
        let code = unsafe { (self.library.functions().finalize)(self.raw) };
        self.library.checked("ncclCommFinalize", code)
    }

    /// Ends what runs on the device and frees the communicator, whatever the call before is at. May take for ever.
    pub(super) fn abort(self) -> Result<(), NcclError> {
        // SAFETY: the communicator is live and nobody else is in NCCL with it: it has one owner, and this takes it.
        let code = unsafe { (self.library.functions().abort)(self.raw) };
        self.library.checked("ncclCommAbort", code)
    }
}

/// Aborts several communicators of this process together, so that none waits for another of them. `enter` makes the device of the
/// one that comes next the thread's current one.
pub(super) fn abort_together(communicators: Vec<(Communicator, impl Fn())>) -> Result<(), NcclError> {
    let Some(library) = communicators.first().map(|(first, _)| Arc::clone(&first.library)) else {
        return Ok(());
    };
    // SAFETY: the two calls bracket the aborts of this thread; they have no other preconditions.
    library.checked("ncclGroupStart", unsafe { (library.functions().group_start)() })?;
    let mut result = Ok(());
    for (communicator, enter) in communicators {
        enter();
        result = result.and(communicator.abort());
    }
    // SAFETY: as above.
    result.and(library.checked("ncclGroupEnd", unsafe { (library.functions().group_end)() }))
}

/// That the tensor is one that NCCL can work on.
pub(super) fn check(tensor: &Tensor, device: tch::Device) -> Result<(), NcclError> {
    let fault = if tensor.device() != device {
        format!(
            "lies on {:?} and the group's tensors on {device:?}",
            tensor.device()
        )
    } else if !tensor.is_contiguous() {
        "is not contiguous".to_owned()
    } else if datatype(tensor.kind()).is_none() {
        format!(
            "has elements of kind {:?}, which groups do not exchange",
            tensor.kind()
        )
    } else {
        return Ok(());
    };
    Err(NcclError::Tensor { fault })
}

fn parts(tensor: &Tensor) -> Result<(*mut c_void, usize, c_int), NcclError> {
    let datatype = datatype(tensor.kind()).ok_or_else(|| NcclError::Tensor {
        fault: format!("has elements of kind {:?}", tensor.kind()),
    })?;
    Ok((tensor.data_ptr(), tensor.numel(), datatype))
}

/// NCCL's number of a kind of elements.
fn datatype(kind: Kind) -> Option<c_int> {
    match kind {
        Kind::Uint8 => Some(1),
        Kind::Int => Some(2),
        Kind::Int64 => Some(4),
        Kind::Float => Some(7),
        Kind::Double => Some(8),
        Kind::BFloat16 => Some(9),
        _ => None,
    }
}

fn int(n: usize) -> c_int {
    c_int::try_from(n).expect("a group has fewer than 2³¹ devices")
}
