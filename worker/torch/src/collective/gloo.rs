//! Gloo over TCP, out of libtorch's c10d: its connections and its messages, and collectives of our own over them.
//!
//! Why not c10d's collectives: nothing ends them while a peer is silent, and when a peer is lost not always either. Gloo
//! tells a lost connection to every message that waits to begin, but to none that is partly sent or received, so that a large
//! all-reduce may wait for its timeout though its peer is known to be dead, and shutdown(2) on the sockets does not
//! help it. A single message of c10d, however, can be aborted in any state, from any thread. [`ring`] makes
//! the collectives of messages; [`peers`] knows which are under way, and aborts those.
//!
//! ```text
//! connect ─► whole ──── a message fails ─► broken: every operation fails with the first failure's message
//!              │                             │
//!              └─────────── abort ───────────┴─► aborted: every operation fails with `TorchError::Aborted`
//! ```
//! Broken or aborted, a device closes its connections at once, and its neighbours notice ([`peers::Watch`]): so a loss
//! goes round the whole group. `drop` waits for the operations that were started: abort first where they may not end.

mod meeting;
mod message;
mod peers;
mod ring;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tch::{Device, Kind, Tensor};

pub use meeting::Meeting;

use self::peers::{Peers, Watch};
use super::{Collective, Handle, Op};
use crate::TorchError;

/// A group of CPU devices.
pub struct Gloo {
    peers: Arc<Peers>,
    // None only while it is dropped.
    queue: Option<Sender<Order>>,
    runner: Option<JoinHandle<()>>,
    // Freed after the group: the first device's store serves the others while they connect.
    _meeting: Meeting,
}

/// What the runner is to do.
enum Order {
    Run(Started),
    /// The group was aborted while nothing ran, perhaps.
    LetGo,
}

/// An operation that was started, and who is told how it ended.
struct Started {
    operation: Operation,
    tensor: Tensor,
    ended: Sender<Result<(), TorchError>>,
}

enum Operation {
    AllReduce(Op),
    Broadcast { root: usize },
}

/// How long a group waits for its devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until all are connected.
    pub connecting: Duration,
    /// For a message of an operation. The last line: a peer that is gone, or an abort, ends an operation long before.
    pub operation: Duration,
}

impl Gloo {
    /// Connects this device, number `index` of `size`, with the others at the meeting. `address` is this machine's, at
    /// which the others reach it.
    pub fn connect(
        meeting: Meeting,
        address: IpAddr,
        place: (usize, usize),
        timeouts: Timeouts,
    ) -> Result<Self, TorchError> {
        let peers = Arc::new(Peers::connect(&meeting, address, place, timeouts)?);
        let mut neighbours = BTreeSet::from([ring::next(&peers), ring::previous(&peers)]);
        neighbours.remove(&peers.index);
        let watches = neighbours
            .into_iter()
            .map(|neighbour| Watch::over(&peers, neighbour))
            .collect::<Result<_, _>>()?;
        let (queue, started) = channel();
        let of_runner = Arc::clone(&peers);
        let runner = thread::Builder::new()
            .name("collectives".to_owned())
            .spawn(move || run(&of_runner, watches, &started))
            .map_err(|error| TorchError::Libtorch(format!("no thread for the collectives: {error}")))?;
        Ok(Self {
            peers,
            queue: Some(queue),
            runner: Some(runner),
            _meeting: meeting,
        })
    }

    fn start(&self, operation: Operation, tensor: &Tensor) -> Result<Handle, TorchError> {
        self.peers.working()?;
        let (ended, end) = channel();
        let started = Started {
            operation,
            tensor: tensor.shallow_clone(),
            ended,
        };
        self.order(Order::Run(started));
        Ok(Handle(Some(end)))
    }

    fn order(&self, order: Order) {
        let queue = self.queue.as_ref().expect("the queue is open until the drop");
        // The runner is gone only if it panicked; then nobody answers, and the wait says so.
        let _ = queue.send(order);
    }
}

impl Drop for Gloo {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(runner) = self.runner.take() {
            // A panic of the runner was told to whoever waited.
            let _ = runner.join();
        }
    }
}

/// Runs what was started, in that order, until the group is dropped. When one failed, or the group was aborted, it lets go of
/// the peers at once, so that they do not wait for this device.
fn run(peers: &Peers, mut watches: Vec<Watch>, orders: &Receiver<Order>) {
    for order in orders {
        if let Order::Run(Started {
            operation,
            tensor,
            ended,
        }) = order
        {
            let result = perform(peers, &operation, &tensor);
            drop(tensor);
            // A handle that was dropped does not want to know.
            let _ = ended.send(result);
        }
        if peers.working().is_err() {
            watches.clear();
            peers.let_go();
        }
    }
}

fn perform(peers: &Peers, operation: &Operation, tensor: &Tensor) -> Result<(), TorchError> {
    peers.working()?;
    tch::no_grad(|| match *operation {
        Operation::AllReduce(op) => ring::all_reduce(peers, tensor, op),
        Operation::Broadcast { root } => ring::broadcast(peers, tensor, root),
    })
    .map_err(|error| peers.broken_by(error))
}

impl Collective for Gloo {
    fn size(&self) -> usize {
        self.peers.size
    }

    fn index(&self) -> usize {
        self.peers.index
    }

    fn tensors_on(&self) -> Option<Device> {
        Some(Device::Cpu)
    }

    fn all_reduce(&self, tensor: &Tensor, op: Op) -> Result<Handle, TorchError> {
        self.start(Operation::AllReduce(op), tensor)
    }

    fn broadcast(&self, tensor: &Tensor, root: usize) -> Result<Handle, TorchError> {
        self.start(Operation::Broadcast { root }, tensor)
    }

    fn barrier(&self) -> Result<Handle, TorchError> {
        let nothing = Tensor::zeros([self.peers.size as i64], (Kind::Uint8, Device::Cpu));
        self.start(Operation::AllReduce(Op::Max), &nothing)
    }

    fn working(&self) -> Result<(), TorchError> {
        self.peers.working()
    }

    fn abort(&self) {
        self.peers.abort();
        self.order(Order::LetGo);
    }
}

fn milliseconds(timeout: Duration) -> u64 {
    u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
