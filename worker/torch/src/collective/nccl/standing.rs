//! How a group stands, shared by whoever uses it, the thread that runs its operations, and the one that aborts it.
//!
//! ```text
//! forming ─► whole ── NCCL, CUDA or a deadline fails ─► broken: every operation fails with the first failure
//!    │         │                                           │
//!    └─────────┴──────────────── abort ────────────────────┴─► aborted: every operation fails with `TorchError::Aborted`
//!
//! the communicator:  run ─► left (its runner is out of NCCL for good) ─► being aborted ─► gone, or not aborted
//! ```

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::runner::Remains;
use super::{Departure, NcclError};
use crate::TorchError;

/// The shared part of a group.
pub(super) struct Standing {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    phase: Phase,
    communicator: Course,
    /// Of the operations that are not over yet.
    waiting: BTreeMap<u64, Sender<Result<(), TorchError>>>,
    n_started: u64,
}

enum Phase {
    Forming,
    Whole,
    Broken(TorchError),
    Aborted { since: Instant },
}

enum Course {
    Run,
    Left(Remains),
    BeingAborted,
    NotAborted,
    Gone,
}

/// Whether an abort is the first of its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Abort {
    First,
    Again,
}

impl Standing {
    pub(super) fn forming() -> Self {
        Self {
            state: Mutex::new(State {
                phase: Phase::Forming,
                communicator: Course::Run,
                waiting: BTreeMap::new(),
                n_started: 0,
            }),
            changed: Condvar::new(),
        }
    }

    /// Whether operations can still succeed, or the group can still come about.
    pub(super) fn working(&self) -> Result<(), TorchError> {
        self.state().working()
    }

    /// An operation begins: its number, and where its end is told.
    pub(super) fn start(&self) -> Result<(u64, Receiver<Result<(), TorchError>>), TorchError> {
        let mut state = self.state();
        // An abort either finds the operation here or was before, and then it does not begin.
        state.working()?;
        let (ended, end) = channel();
        let number = state.n_started;
        state.n_started += 1;
        state.waiting.insert(number, ended);
        Ok((number, end))
    }

    /// The operation is over.
    pub(super) fn succeed(&self, number: u64) {
        if let Some(ended) = self.state().waiting.remove(&number) {
            // A handle that was dropped does not want to know.
            let _ = ended.send(Ok(()));
        }
    }

    /// All devices are there.
    pub(super) fn formed(&self) {
        let mut state = self.state();
        if matches!(state.phase, Phase::Forming) {
            state.phase = Phase::Whole;
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Whatever was started fails, and whatever will be. The first failure stays; an abort is none.
    pub(super) fn broken_by(&self, error: TorchError) {
        let mut state = self.state();
        if matches!(state.phase, Phase::Forming | Phase::Whole) {
            state.phase = Phase::Broken(error.clone());
            state.fail_all(&error);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// As [`Self::broken_by`], for good.
    pub(super) fn abort(&self) -> Abort {
        let mut state = self.state();
        let abort = match state.phase {
            Phase::Aborted { .. } => Abort::Again,
            _ => Abort::First,
        };
        if abort == Abort::First {
            state.phase = Phase::Aborted {
                since: Instant::now(),
            };
            state.fail_all(&TorchError::Aborted);
        }
        drop(state);
        self.changed.notify_all();
        abort
    }

    /// Waits until the group is whole, or cannot become so.
    pub(super) fn until_formed(&self, deadline: Duration) -> Result<(), TorchError> {
        let (state, timeout) = self
            .changed
            .wait_timeout_while(self.state(), deadline, |state| {
                matches!(state.phase, Phase::Forming)
            })
            .unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() && matches!(state.phase, Phase::Forming) {
            let waits_for = "all devices to come";
            return Err(NcclError::Late { waits_for, deadline }.into());
        }
        state.working()
    }

    /// The runner is out of NCCL for good and leaves what it had.
    pub(super) fn leave(&self, remains: Remains) {
        self.state().communicator = Course::Left(remains);
        self.changed.notify_all();
    }

    /// Waits until the runner has left, and takes what it left; nothing if somebody has.
    pub(super) fn take_remains(&self) -> Option<Remains> {
        let mut state = self
            .changed
            .wait_while(self.state(), |state| matches!(state.communicator, Course::Run))
            .unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut state.communicator, Course::BeingAborted) {
            Course::Left(remains) => Some(remains),
            other => {
                state.communicator = other;
                None
            }
        }
    }

    /// The abort is over.
    pub(super) fn gone(&self) {
        self.state().communicator = Course::Gone;
        self.changed.notify_all();
    }

    /// The abort failed, and will not be tried again.
    pub(super) fn not_aborted(&self) {
        self.state().communicator = Course::NotAborted;
        self.changed.notify_all();
    }

    /// Waits until the runner has left, but no longer than that.
    pub(super) fn until_left(&self, within: Duration) {
        // Whether it has, the abort that follows finds out for itself.
        drop(self.changed.wait_timeout_while(self.state(), within, |state| {
            matches!(state.communicator, Course::Run)
        }));
    }

    /// Waits until the abort is over, `within` of its beginning at the longest.
    pub(super) fn departed(&self, within: Duration) -> Departure {
        let state = self.state();
        let spent = match state.phase {
            Phase::Aborted { since } => since.elapsed(),
            _ => Duration::ZERO,
        };
        let (state, _) = self
            .changed
            .wait_timeout_while(state, within.saturating_sub(spent), |state| {
                !matches!(state.communicator, Course::Gone | Course::NotAborted)
            })
            .unwrap_or_else(PoisonError::into_inner);
        match state.communicator {
            Course::Gone => Departure::Over,
            _ => Departure::Stuck,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn working(&self) -> Result<(), TorchError> {
        match &self.phase {
            Phase::Forming | Phase::Whole => Ok(()),
            Phase::Broken(error) => Err(error.clone()),
            Phase::Aborted { .. } => Err(TorchError::Aborted),
        }
    }

    fn fail_all(&mut self, error: &TorchError) {
        for (_, ended) in std::mem::take(&mut self.waiting) {
            // As in `succeed`.
            let _ = ended.send(Err(error.clone()));
        }
    }
}
