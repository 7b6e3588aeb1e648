//! Everything the core asks the shell to do.

use m2t_common::evaluation::EvaluationLine;
use m2t_common::ledger::SampleLine;
use m2t_common::machine_link::{Outcome, ToMachine};
use m2t_common::manifest::CheckpointName;
use m2t_common::order::Answer;
use m2t_common::report::{CheckpointReport, Stage, StepReport};
use m2t_common::schedule::Rates;
use m2t_common::{Generation, Step, Timestamp};

use crate::history::Record;
use crate::input::{StreamId, Ticket};
use crate::notice::Notice;
use crate::recovery::Recovery;

/// One thing to do. To be carried out in the order given.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Journal this, durably, before the next effect is begun.
    Persist(Record),
    /// Send a message on a stream; a stream that is gone swallows it.
    Send {
        /// Which stream.
        stream: StreamId,
        /// What to say.
        message: ToMachine,
    },
    /// End a stream once everything sent on it is out.
    Close {
        /// Which stream.
        stream: StreamId,
    },
    /// Add a committed step to metrics and log. Steps come in ascending order, none twice, until a cut.
    Metrics(Box<CommittedStep>),
    /// Add what was consumed in a committed step to the full ledger. Steps come as those of the metrics do, a little later.
    Samples(SampleLine),
    /// Add a figure to the evaluations.
    Evaluated(Box<EvaluationLine>),
    /// Take everything after this step out of metrics, log and evaluations: the next generation does it again.
    CutBack {
        /// The last step that stays.
        after: Step,
    },
    /// Look whether this checkpoint is complete on the disk and answer with
    /// [`Input::CheckpointVerified`](crate::Input::CheckpointVerified) or
    /// [`Input::CheckpointBroken`](crate::Input::CheckpointBroken).
    VerifyCheckpoint(CheckpointReport),
    /// Delete a checkpoint's folder: newer ones took its place.
    DeleteCheckpoint(CheckpointName),
    /// Rename a damaged checkpoint's folder, so that it is in nobody's way and can be looked at.
    SetAsideCheckpoint(CheckpointName),
    /// Answer an operator.
    Answer {
        /// The ticket of the question.
        ticket: Ticket,
        /// The answer.
        answer: Answer,
    },
    /// Tell people: log and event file.
    Notice {
        /// When it happened.
        at: Timestamp,
        /// What happened.
        notice: Notice,
    },
    /// The run is over: let what was sent go out, then exit. Always the last effect.
    Exit(Outcome),
}

/// The numbers of one committed step.
#[derive(Clone, Debug, PartialEq)]
pub struct CommittedStep {
    /// The generation that did it.
    pub generation: Generation,
    /// The epoch it belongs to, from 0.
    pub epoch: u64,
    /// Its number within the epoch, from 0.
    pub step_in_epoch: u64,
    /// ⌊N / B⌋.
    pub steps_per_epoch: u64,
    /// T.
    pub total_steps: u64,
    /// What the device of rank 0 said. `report.step` is the state's step after the commit, so the first is 1.
    pub report: StepReport,
    /// The rates it was done with: those of step `report.step` − 1.
    pub rates: Rates,
    /// B over the slowest device's duration.
    pub images_per_second: f64,
    /// Share of the step spent waiting for data, 0 to 1, the worst device's.
    pub data_wait: f64,
    /// Where that device's loader spent most of its time, if the wait is worth a word.
    pub bottleneck: Option<Stage>,
    /// How long the regroup took that this step, the first of its generation, ends.
    pub recovery: Option<Recovery>,
    /// Seconds until the last step at the present speed.
    pub remaining_seconds: f64,
}
