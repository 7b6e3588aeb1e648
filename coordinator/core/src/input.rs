//! Everything that can happen to the coordinator.

use m2t_common::Step;
use m2t_common::evaluation::EvaluationLine;
use m2t_common::machine_link::FromMachine;
use m2t_common::manifest::CheckpointName;
use m2t_common::order::Order;
use m2t_common::report::CheckpointReport;

/// One attached stream. The shell numbers them and never uses a number twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId(pub u64);

/// An operator's question. The shell numbers them and never uses a number twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The first input: what the disk holds.
    Started(DiskFacts),
    /// A message of a daemon.
    Message {
        /// The stream it came on.
        stream: StreamId,
        /// What it says.
        message: FromMachine,
    },
    /// A stream ended or broke.
    StreamEnded {
        /// Which.
        stream: StreamId,
    },
    /// The checkpoint of an [`Effect::VerifyCheckpoint`](crate::Effect::VerifyCheckpoint) is complete on the disk.
    CheckpointVerified(CheckpointReport),
    /// It is not.
    CheckpointBroken {
        /// Which.
        name: CheckpointName,
        /// What is wrong with it.
        problem: String,
    },
    /// The coordinator was asked to stop.
    Stop,
    /// An operator asks something.
    Order {
        /// What the answer is to carry.
        ticket: Ticket,
        /// What is asked.
        order: Order,
    },
    /// Time passed.
    Tick,
}

/// The checkpoints of the output folder at the start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DiskFacts {
    /// Complete ones. Only the newest need be verified byte by byte.
    pub found: Vec<FoundCheckpoint>,
    /// Damaged ones and what is wrong with them.
    pub damaged: Vec<(CheckpointName, String)>,
    /// The last step of the metrics.
    pub metrics: Step,
    /// The last step of the full ledger; without one, that of the metrics.
    pub samples: Step,
    /// What encoders were worth, oldest first.
    pub evaluations: Vec<EvaluationLine>,
}

/// A checkpoint on the disk, as its manifest describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundCheckpoint {
    /// Name, step and digest.
    pub report: CheckpointReport,
    /// N of the data set it was made on.
    pub n_samples: u64,
}
