//! The thread that owns a group's communicator and is the only one inside NCCL with it.
//!
//! It makes the group, launches operations in the order they were started, each when NCCL is done with the call before, and tells
//! whoever waits when the GPU is done with them. It leaves when the group is aborted or closed; what it had
//! then ([`Remains`]) is for [`super::abort`].

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use tch::Tensor;

use super::communicator::{Communicator, Progress};
use super::standing::Standing;
use super::unique_id::UniqueId;
use super::{Backend, Deadlines, NcclError};
use crate::TorchError;
use crate::collective::Op;
use crate::cuda::{Context, Event, Stream};

/// What the runner is to do.
pub(super) enum Order {
    Run(Started),
    /// The group was aborted: leave.
    LetGo,
    /// The group is given up in peace: finish what was started, let the peers have what they were sent, and leave.
    Close,
}

/// An operation that was started.
pub(super) struct Started {
    pub(super) number: u64,
    pub(super) operation: Operation,
    pub(super) tensor: Tensor,
    /// That libtorch is done with the tensor so far.
    pub(super) ready: Event,
}

pub(super) enum Operation {
    AllReduce(Op),
    Broadcast { root: usize },
}

/// An operation that the GPU may not be done with; its tensor must live until then.
struct InFlight {
    number: u64,
    _tensor: Tensor,
    over: Event,
    launched: Instant,
}

/// What is left of a group when its runner has left it: to be freed when the abort is over, and not before.
pub(super) struct Remains {
    pub(super) communicator: Option<Communicator>,
    pub(super) context: Context,
    _in_flight: VecDeque<InFlight>,
    _stream: Option<Stream>,
}

/// How often a runner without work asks NCCL whether the group still stands.
const WATCH: Duration = Duration::from_millis(100);

/// Takes part in the group to its end.
pub(super) fn run(
    standing: &Standing,
    backend: &Backend,
    (id, place): (UniqueId, (usize, usize)),
    deadlines: Deadlines,
    orders: &Receiver<Order>,
) {
    let begun = begin(backend, id, place);
    let (communicator, stream, in_flight) = match begun {
        Ok((communicator, stream)) => {
            let mut runner = Runner {
                standing,
                deadlines,
                communicator,
                stream,
                in_flight: VecDeque::new(),
            };
            runner.form();
            runner.serve(orders);
            (Some(runner.communicator), Some(runner.stream), runner.in_flight)
        }
        Err(error) => {
            standing.broken_by(error);
            (None, None, VecDeque::new())
        }
    };
    standing.leave(Remains {
        communicator,
        context: backend.context.clone(),
        _in_flight: in_flight,
        _stream: stream,
    });
}

fn begin(
    backend: &Backend,
    id: UniqueId,
    place: (usize, usize),
) -> Result<(Communicator, Stream), TorchError> {
    let stream = Stream::new(&backend.context)?;
    Ok((Communicator::begin(&backend.library, id, place)?, stream))
}

struct Runner<'a> {
    standing: &'a Standing,
    deadlines: Deadlines,
    communicator: Communicator,
    stream: Stream,
    in_flight: VecDeque<InFlight>,
}

/// What to do next.
enum Next {
    GoOn,
    Leave,
}

impl Runner<'_> {
    /// Whoever connects has the deadline, and aborts.
    fn form(&self) {
        match self.settle(None) {
            Ok(()) => self.standing.formed(),
            Err(error) => self.standing.broken_by(error),
        }
    }

    fn serve(&mut self, orders: &Receiver<Order>) {
        let mut pace = Pace::default();
        loop {
            let next = match self.next(orders, &mut pace) {
                Some(order) => self.obey(order, &mut pace),
                None => Next::GoOn,
            };
            if matches!(next, Next::Leave) {
                return;
            }
            if self.standing.working().is_ok()
                && let Err(error) = self.look(&mut pace)
            {
                self.standing.broken_by(error);
            }
        }
    }

    /// The next order; none while it is time to look after what is in flight, and at the group.
    fn next(&self, orders: &Receiver<Order>, pace: &mut Pace) -> Option<Order> {
        let is_idle = self.in_flight.is_empty() || self.standing.working().is_err();
        let pause = if is_idle { WATCH } else { pace.next() };
        if pause.is_zero() {
            thread::yield_now();
            return match orders.try_recv() {
                Ok(order) => Some(order),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => Some(Order::LetGo),
            };
        }
        match orders.recv_timeout(pause) {
            Ok(order) => Some(order),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Order::LetGo),
        }
    }

    fn obey(&mut self, order: Order, pace: &mut Pace) -> Next {
        match order {
            Order::Run(started) => {
                pace.restart();
                if self.standing.working().is_ok()
                    && let Err(error) = self.launch(started)
                {
                    self.standing.broken_by(error);
                }
                Next::GoOn
            }
            Order::LetGo => Next::Leave,
            Order::Close => {
                if let Err(error) = self.close() {
                    self.standing.broken_by(error);
                }
                Next::Leave
            }
        }
    }

    /// In: the stream waits for libtorch. Out: the event that says when the GPU is done.
    fn launch(&mut self, started: Started) -> Result<(), TorchError> {
        let Started {
            number,
            operation,
            tensor,
            ready,
        } = started;
        self.stream.wait(&ready)?;
        match operation {
            Operation::AllReduce(op) => self.communicator.all_reduce(&tensor, op, &self.stream)?,
            Operation::Broadcast { root } => self.communicator.broadcast(&tensor, root, &self.stream)?,
        }
        let settled = self.settle(Some(self.deadlines.operation));
        // Even of a call that failed something may run on the GPU: the tensor stays.
        self.in_flight.push_back(InFlight {
            number,
            _tensor: tensor,
            over: self.stream.event()?,
            launched: Instant::now(),
        });
        settled
    }

    /// Tells the ends of operations, and notices when the group fails.
    fn look(&mut self, pace: &mut Pace) -> Result<(), TorchError> {
        while let Some(first) = self.in_flight.front() {
            if !first.over.is_over()? {
                break;
            }
            // What libtorch does next with the tensor comes after, on the GPU too.
            first.over.before_libtorch()?;
            self.standing.succeed(first.number);
            self.in_flight.pop_front();
            pace.restart();
        }
        self.communicator.progress()?;
        let deadline = self.deadlines.operation;
        match self.in_flight.front() {
            Some(first) if first.launched.elapsed() > deadline => {
                let waits_for = "an operation to end";
                Err(NcclError::Late { waits_for, deadline }.into())
            }
            _ => Ok(()),
        }
    }

    /// Waits until NCCL is done with the last call, so that the next may begin; ends early in an aborted group.
    fn settle(&self, deadline: Option<Duration>) -> Result<(), TorchError> {
        let (begun, mut pace) = (Instant::now(), Pace::default());
        loop {
            self.standing.working()?;
            if self.communicator.progress()? == Progress::Over {
                return Ok(());
            }
            if let Some(deadline) = deadline
                && begun.elapsed() > deadline
            {
                let waits_for = "NCCL to take a call";
                return Err(NcclError::Late { waits_for, deadline }.into());
            }
            thread::sleep(pace.next());
        }
    }

    fn close(&mut self) -> Result<(), TorchError> {
        let mut pace = Pace::default();
        while !self.in_flight.is_empty() {
            self.standing.working()?;
            self.look(&mut pace)?;
            thread::sleep(pace.next());
        }
        self.standing.working()?;
        self.communicator.finalize()?;
        self.settle(Some(self.deadlines.parting))
    }
}

/// How long to wait before looking again: not at all for what is over at once, then longer and longer. A look costs a microsecond
/// or two; the longest wait is a small part of what an operation of many megabytes takes.
#[derive(Default)]
struct Pace {
    n_looks: u32,
}

impl Pace {
    fn next(&mut self) -> Duration {
        const N_AT_ONCE: u32 = 32;
        const LONGEST: Duration = Duration::from_micros(100);
        self.n_looks = self.n_looks.saturating_add(1);
        match self.n_looks.checked_sub(N_AT_ONCE) {
            None => Duration::ZERO,
            Some(n) => LONGEST.min(Duration::from_micros(20) * (n + 1)),
        }
    }

    fn restart(&mut self) {
        self.n_looks = 0;
    }
}
