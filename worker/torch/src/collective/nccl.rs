//! NCCL, opened at run time: groups of GPUs that can be aborted and made anew in the same process.
//!
//! Why its C functions and not libtorch's process group or a crate's: those block, hide the communicator, or panic where NCCL is
//! absent. The rules, each held by the module named:
//! 1. A communicator is nonblocking, and each call of it is followed by polling until NCCL is done with it (`runner`).
//! 2. Only one thread is inside NCCL with it, and none when it is aborted: the `runner` hands it over to `abort`.
//! 3. It is aborted, never destroyed (`communicator`): destroying waits for peers that may be dead.
//! 4. Whoever waits is woken by the abort itself, not by NCCL, which does not reliably notice a dead peer (`standing`).
//! 5. Each group has an id of its own ([`UniqueId`]). Bad releases are refused, and NVLS must be off ([`Library`]).
//! 6. Operations run on a stream of their own, between events of libtorch's stream before and after (`runner`).
//!
//! An operation's end is waited for on the CPU, not by the stream alone: a step may only be committed when its sums are known to
//! be whole, and after an abort they are not.

mod abort;
mod communicator;
mod library;
mod runner;
mod shared_memory;
mod standing;
mod unique_id;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use tch::{Device, Kind, Tensor};

pub use library::{Library, NVLS_VARIABLE, PATH_VARIABLE, Version};
pub use shared_memory::{Cleared, clear_stale};
pub use unique_id::UniqueId;

use self::runner::{Operation, Order, Started};
use self::standing::{Abort, Standing};
use super::{Collective, Departure, Handle, Op};
use crate::TorchError;
use crate::cuda::{Context, Event};
use crate::library::LibraryError;

/// What fails of NCCL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NcclError {
    /// It is not there.
    #[error(
        "no NCCL: {0}; install nvidia-nccl-cu13 beside torch, or name a library by {PATH_VARIABLE}=/path/libnccl.so.2"
    )]
    NoLibrary(LibraryError),
    /// It is of a release that does not do.
    #[error(
        "NCCL {version} ({path}) {reason}; install another release, such as nvidia-nccl-cu13==2.28.9, or name one by {PATH_VARIABLE}=/path/libnccl.so.2"
    )]
    Refused {
        /// Which.
        version: Version,
        /// Where it lies.
        path: String,
        /// Why.
        reason: String,
    },
    /// The process was started without the switch.
    #[error(
        "this process must be started with {NVLS_VARIABLE}=0 in its environment, as m2t-worker does: groups that are aborted leave NVLS unusable"
    )]
    NvlsNotOff,
    /// A call failed, or the group did since.
    #[error("NCCL: {call}: {message}")]
    Call {
        /// Its name.
        call: &'static str,
        /// NCCL's words.
        message: String,
    },
    /// A wait took too long.
    #[error("NCCL: waited {deadline:?} for {waits_for}")]
    Late {
        /// For what.
        waits_for: &'static str,
        /// How long.
        deadline: Duration,
    },
    /// The abort of a group that did not come about never ended.
    #[error("{reason}; and the group cannot be aborted: end this process to free its GPU")]
    Stuck {
        /// Why it did not come about.
        reason: String,
    },
    /// The text is no id.
    #[error("the group's id has {n_characters} characters and not 256 hexadecimal digits; it is not NCCL's")]
    NoUniqueId {
        /// How many.
        n_characters: usize,
    },
    /// NCCL cannot work on it.
    #[error("NCCL: the tensor {fault}")]
    Tensor {
        /// Of what kind it is, or where it lies.
        fault: String,
    },
}

/// All that groups of this process work with.
#[derive(Clone)]
pub struct Backend {
    /// NCCL.
    pub library: Arc<Library>,
    /// The GPU.
    pub context: Context,
    /// Where the tensors lie: on that GPU.
    pub tensors: Device,
}

impl Backend {
    /// Of the GPU of that context, whose tensors lie on it.
    pub fn of_gpu(library: Library, context: Context) -> Self {
        let tensors = Device::Cuda(context.ordinal() as usize);
        Self {
            library: Arc::new(library),
            context,
            tensors,
        }
    }
}

/// How long a group waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// Until all its devices have come.
    pub connecting: Duration,
    /// For an operation. The last line: an abort ends it long before.
    pub operation: Duration,
    /// For its end, where it is given up.
    pub parting: Duration,
}

/// A group of GPUs. `drop` waits for the operations that were started: abort first where they may not end.
pub struct Nccl {
    standing: Arc<Standing>,
    orders: Sender<Order>,
    context: Context,
    deadlines: Deadlines,
    place: (usize, usize),
    /// What a barrier sums.
    nothing: Tensor,
}

// SAFETY: of a group's parts only the tensor is not Sync by itself; it is only cloned (an atomic count) and, by operations that
// run one after the other, overwritten on the device.
unsafe impl Sync for Nccl {}

impl Nccl {
    /// Begins to make this device, number `index` of `size`, a part of the group of that id, which is good for this group alone.
    /// The group can be aborted from now on; it works from [`Self::until_whole`] on.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub fn begin(
        backend: &Backend,
        id: UniqueId,
        (index, size): (usize, usize),
        deadlines: Deadlines,
    ) -> Result<Self, TorchError> {
        let nothing = Tensor::zeros([1], (Kind::Uint8, backend.tensors));
        let standing = Arc::new(Standing::forming());
        let (orders, received) = channel();
        let of_runner = (Arc::clone(&standing), backend.clone());
        thread::Builder::new()
            .name("collectives".to_owned())
            .spawn(move || run(&of_runner, (id, (index, size)), deadlines, &received))
            .map_err(|error| TorchError::Libtorch(format!("no thread for the collectives: {error}")))?;
        Ok(Self {
            standing,
            orders,
            context: backend.context.clone(),
            deadlines,
            place: (index, size),
            nothing,
        })
    }

    /// Waits until all devices have come. Without success the group is aborted.
    ///
    /// # Errors
    /// When not all come in time, NCCL cannot connect them, or the group is aborted meanwhile. [`NcclError::Stuck`] when
    /// it cannot be aborted either.
    pub fn until_whole(&self) -> Result<(), TorchError> {
        self.standing
            .until_formed(self.deadlines.connecting)
            .map_err(|error| self.give_up(error))
    }

    /// Ends a group that did not come about.
    fn give_up(&self, error: TorchError) -> TorchError {
        self.abort();
        match self.departed(self.deadlines.parting) {
            Departure::Over => error,
            Departure::Stuck => NcclError::Stuck {
                reason: error.to_string(),
            }
            .into(),
        }
    }

    /// Aborts several groups of this process, one a GPU, as one: none waits for the abort of another.
    pub fn abort_together(groups: &[&Self]) {
        let to_abort = groups
            .iter()
            .filter(|group| group.standing.abort() == Abort::First)
            .map(|group| {
                group.order(Order::LetGo);
                Arc::clone(&group.standing)
            })
            .collect::<Vec<_>>();
        if !to_abort.is_empty() {
            abort::begin(to_abort);
        }
    }

    fn start(&self, operation: Operation, tensor: &Tensor) -> Result<Handle, TorchError> {
        self.standing.working()?;
        communicator::check(tensor, self.nothing.device())?;
        let ready = Event::of_libtorch(&self.context)?;
        let (number, end) = self.standing.start()?;
        self.order(Order::Run(Started {
            number,
            operation,
            tensor: tensor.shallow_clone(),
            ready,
        }));
        Ok(Handle(Some(end)))
    }

    fn order(&self, order: Order) {
        // A runner that is gone needs none.
        let _ = self.orders.send(order);
    }
}

fn run(
    (standing, backend): &(Arc<Standing>, Backend),
    group: (UniqueId, (usize, usize)),
    deadlines: Deadlines,
    orders: &Receiver<Order>,
) {
    let body = || runner::run(standing, backend, group, deadlines, orders);
    if catch_unwind(AssertUnwindSafe(body)).is_err() {
        // It was inside NCCL, perhaps: nobody may abort, and `departed` says that the group is stuck.
        let panicked = "the thread of the collectives panicked".to_owned();
        standing.broken_by(TorchError::Libtorch(panicked));
        standing.not_aborted();
    }
}

impl Collective for Nccl {
    fn size(&self) -> usize {
        self.place.1
    }

    fn index(&self) -> usize {
        self.place.0
    }

    fn tensors_on(&self) -> Option<Device> {
        Some(self.nothing.device())
    }

    fn all_reduce(&self, tensor: &Tensor, op: Op) -> Result<Handle, TorchError> {
        self.start(Operation::AllReduce(op), tensor)
    }

    fn broadcast(&self, tensor: &Tensor, root: usize) -> Result<Handle, TorchError> {
        self.start(Operation::Broadcast { root }, tensor)
    }

    fn barrier(&self) -> Result<Handle, TorchError> {
        self.start(Operation::AllReduce(Op::Max), &self.nothing)
    }

    fn working(&self) -> Result<(), TorchError> {
        self.standing.working()
    }

    fn abort(&self) {
        Self::abort_together(&[self]);
    }

    fn departed(&self, within: Duration) -> Departure {
        self.standing.departed(within)
    }
}

impl Drop for Nccl {
    fn drop(&mut self) {
        if self.standing.working().is_ok() {
            self.order(Order::Close);
            self.standing
                .until_left(self.deadlines.operation + self.deadlines.parting);
        }
        self.abort();
        // Whether it is stuck was for the owner to ask; the thread that is stuck keeps what it needs.
        let _ = self.departed(self.deadlines.parting);
    }
}
