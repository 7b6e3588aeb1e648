//! The other devices of a group, as messages to and from them: which are under way, and how all are ended at once.
//! It does not know what the messages are for.
//!
//! Gloo tells a lost connection to a message that waits to begin, but not to one that is partly sent or received. So a device keeps a
//! message begun to wait for that its neighbour never sends: a [`Watch`]. When that fails, the messages of this neighbour
//! are woken. One that is whole by then is taken all the same: a peer that has all it needs may leave first.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tch::{Device, Kind, Tensor};

use super::message::Message;
use super::{Meeting, Timeouts, milliseconds};
use crate::TorchError;
use crate::shim::{
    RawGroup, c_string, checked, m2t_gloo_free, m2t_gloo_new, m2t_gloo_receive, m2t_gloo_send,
};

/// Of messages that are sent, and of those that never are.
const TAG: i32 = 0;
const TAG_OF_WATCHES: i32 = 1;
const AT_ONCE: Duration = Duration::from_millis(1);
/// Ten years; C++ counts them in 63 bits of nanoseconds.
const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The devices of a group, seen from one of them.
pub(super) struct Peers {
    // None once it was let go.
    group: Mutex<Option<Group>>,
    /// For how long a message is waited for.
    last_line: Duration,
    pub(super) index: usize,
    pub(super) size: usize,
    aborted: AtomicBool,
    broken: OnceLock<String>,
    waits: Mutex<Waits>,
}

#[derive(Default)]
struct Waits {
    under_way: Vec<Arc<Message>>,
    lost: BTreeSet<usize>,
}

impl Peers {
    pub(super) fn connect(
        meeting: &Meeting,
        address: IpAddr,
        (index, size): (usize, usize),
        timeouts: Timeouts,
    ) -> Result<Self, TorchError> {
        let mut group = ptr::null_mut();
        let host = c_string(&address.to_string());
        // SAFETY: store and text live through the call, the out-pointer is valid for writes and set on success.
        checked(unsafe {
            m2t_gloo_new(
                meeting.store,
                host.as_ptr(),
                int(index),
                int(size),
                milliseconds(timeouts.connecting),
                &raw mut group,
            )
        })?;
        Ok(Self {
            group: Mutex::new(Some(Group(group))),
            last_line: timeouts.operation,
            index,
            size,
            aborted: AtomicBool::new(false),
            broken: OnceLock::new(),
            waits: Mutex::default(),
        })
    }

    /// Sends the tensor (contiguous) while it is left as it is.
    pub(super) fn send(&self, tensor: &Tensor, to: usize) -> Result<Arc<Message>, TorchError> {
        let (mut kept, mut work) = (tensor.shallow_clone(), ptr::null_mut());
        let group = self.group();
        let group = group.as_ref().ok_or_else(|| lost(to))?;
        // SAFETY: group and tensor are live; the work holds its own count of the tensor; the out-pointer is valid.
        checked(unsafe { m2t_gloo_send(group.0, kept.as_mut_ptr(), int(to), &raw mut work) })?;
        Ok(Arc::new(Message::new(work, to)))
    }

    /// Receives into the tensor (contiguous, of the sender's shape and kind).
    pub(super) fn receive(&self, into: &Tensor, from: usize) -> Result<Arc<Message>, TorchError> {
        self.receive_tagged(into, from, TAG)
    }

    fn receive_tagged(&self, into: &Tensor, from: usize, tag: i32) -> Result<Arc<Message>, TorchError> {
        let (mut kept, mut work) = (into.shallow_clone(), ptr::null_mut());
        let group = self.group();
        let group = group.as_ref().ok_or_else(|| lost(from))?;
        // SAFETY: as in `send`.
        checked(unsafe { m2t_gloo_receive(group.0, kept.as_mut_ptr(), int(from), tag, &raw mut work) })?;
        Ok(Arc::new(Message::new(work, from)))
    }

    /// Waits until the message is sent or received, its peer is lost, or the group is aborted.
    pub(super) fn wait(&self, message: &Arc<Message>) -> Result<(), TorchError> {
        let is_lost = {
            // An abort, or a loss, either finds the message here or was before, and then the word is set.
            let mut waits = self.waits();
            self.working()?;
            waits.under_way.push(Arc::clone(message));
            waits.lost.contains(&message.peer)
        };
        let done = if is_lost {
            Ok(false)
        } else {
            message.wait(self.last_line)
        };
        let result = match done {
            // Woken, but perhaps whole: of a lost peer, nothing more comes.
            Ok(false) if self.working().is_ok() => message.wait(AT_ONCE).map_err(|_| lost(message.peer)),
            done => done,
        };
        self.waits()
            .under_way
            .retain(|other| !Arc::ptr_eq(other, message));
        match result {
            Ok(true) => Ok(()),
            Ok(false) => self.working().and(Err(lost(message.peer))),
            Err(error) => Err(error),
        }
    }

    /// Ends every wait, under way or to come.
    pub(super) fn abort(&self) {
        self.aborted.store(true, Ordering::SeqCst);
        for message in &self.waits().under_way {
            message.abort();
        }
    }

    /// Ends every wait for messages of this peer.
    fn lose(&self, peer: usize) {
        let mut waits = self.waits();
        waits.lost.insert(peer);
        for message in waits.under_way.iter().filter(|message| message.peer == peer) {
            message.abort();
        }
    }

    /// Whether operations can succeed.
    pub(super) fn working(&self) -> Result<(), TorchError> {
        if self.aborted.load(Ordering::SeqCst) {
            return Err(TorchError::Aborted);
        }
        match self.broken.get() {
            Some(first) => Err(TorchError::Libtorch(first.clone())),
            None => Ok(()),
        }
    }

    /// An operation failed: the devices no longer agree on what is under way, so no later one may succeed. What its failure is:
    /// in an aborted group the abort, since libtorch's own message would blame a peer.
    pub(super) fn broken_by(&self, error: TorchError) -> TorchError {
        if self.aborted.load(Ordering::SeqCst) {
            return TorchError::Aborted;
        }
        if let TorchError::Libtorch(message) = &error {
            // The first failure stays.
            let _ = self.broken.set(message.clone());
        }
        error
    }

    /// Closes the connections, so that the peers learn of it. Messages and watches must be dropped before: each holds the connections.
    pub(super) fn let_go(&self) {
        self.group().take();
    }

    fn group(&self) -> MutexGuard<'_, Option<Group>> {
        self.group.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waits(&self) -> MutexGuard<'_, Waits> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A process group of c10d.
struct Group(*mut RawGroup);

// SAFETY: ProcessGroupGloo and its connections lock their own state and are bound to no thread.
unsafe impl Send for Group {}

impl Drop for Group {
    fn drop(&mut self) {
        // SAFETY: the pointer came from the shim and is freed here only.
        unsafe { m2t_gloo_free(self.0) }
    }
}

/// Notices, on a thread of its own, when the connection to a peer ends.
pub(super) struct Watch {
    never_sent: Arc<Message>,
    watcher: Option<JoinHandle<()>>,
}

impl Watch {
    pub(super) fn over(peers: &Arc<Peers>, peer: usize) -> Result<Self, TorchError> {
        let byte = Tensor::zeros([1], (Kind::Uint8, Device::Cpu));
        let never_sent = peers.receive_tagged(&byte, peer, TAG_OF_WATCHES)?;
        let (peers, message) = (Arc::clone(peers), Arc::clone(&never_sent));
        let body = move || {
            if message.wait(FOR_EVER).is_err() {
                peers.lose(peer);
            }
        };
        let watcher = thread::Builder::new()
            .name("peer-watch".to_owned())
            .spawn(body)
            .map_err(|error| TorchError::Libtorch(format!("no thread to watch a peer: {error}")))?;
        Ok(Self {
            never_sent,
            watcher: Some(watcher),
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.never_sent.abort();
        if let Some(watcher) = self.watcher.take() {
            // It cannot panic, and if it did, nobody would watch any more, now as then.
            let _ = watcher.join();
        }
    }
}

fn lost(peer: usize) -> TorchError {
    TorchError::Libtorch(format!("the connection to device {peer} of the group ended"))
}

fn int(n: usize) -> i32 {
    i32::try_from(n).expect("a group has fewer than 2³¹ devices")
}
