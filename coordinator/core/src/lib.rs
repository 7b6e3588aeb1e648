//! The coordinator's pure state machine: events in, effects out. It decides membership, placement of ranks,
//! generations, committed steps and checkpoints; it does nothing itself.
//!
//! # How to drive it
//! 1. [`Core::new`] with the [`Settings`] and every [`Record`] of the journal, oldest first. It folds the records
//!    through the code that made them, so a core after a crash knows what the one before had persisted.
//! 2. One [`Input::Started`] with what the disk holds.
//! 3. For everything that happens, one [`Core::handle`]. It never fails and never waits: a refusal is an effect too.
//! 4. After each call, carry out the new [`Effect`]s *in their order*. A [`Effect::Persist`] must be durable before the
//!    next effect is begun: what follows relies on it.
//! 5. When [`Core::next_deadline`] has passed, an [`Input::Tick`]. An early or repeated tick is a no-op.
//! 6. [`Core::status`] at any time.
//!
//! Time is an input and never runs backwards: an older `now` counts as the newest one seen.
//!
//! # The phases
//! ```text
//!               enough devices stand by           every device ready
//!  Gathering ─────────────────────────► Forming ─────────────────────► Training ─► Draining ─► Gathering, Regrouping,
//!      ▲                                   ▲ │                          │  ▲                   Stopped, Finished
//!      │ nobody kept a state   placed on   │ │ generation ended         │  │ all members heard
//!      │                       what is left│ ▼                          │  │
//!      └──────────────────────────────── Regrouping ◄───────────────────┘  Recovering (coordinator started again)
//! ```
//! Draining: all devices stop after the same step, with a checkpoint (stop, pause, too many damaged files, or too few stay) or with
//! their state in memory (a machine leaves or is set aside, the group grows); or the last step is near. Paused: what
//! Gathering becomes for as long as the run is to be paused. Failed: after three generations in a row whose trainers failed
//! before any step was committed, when every machine is set aside, or past the limit of damaged files.
//!
//! A generation ends when a trainer of it fails, a collective breaks, a machine of it is lost, or no step is committed for too long.
//! Its survivors say where they stand, and the next one goes on from the farthest (`regroup`); only where nobody kept a state, from the
//! newest checkpoint. Phases with a group carry it; nothing of it outlives them.
//!
//! # Level-triggered
//! Whatever a machine says, its answer carries its whole current assignment (a heartbeat is answered by nothing else),
//! so a lost or repeated message to a machine needs no special case. News of another generation than the current one
//! are dropped.
//!
//! Not here: sockets, clocks, files, logging. Those are the shell's, m2t-coordinator.

mod assignments;
mod checkpoints;
mod data;
mod deadlines;
mod drain;
mod effect;
mod evaluations;
mod gather;
mod group;
mod growth;
mod hello;
mod history;
mod input;
mod machine;
mod membership;
mod news;
mod notice;
mod orders;
mod phase;
mod reason;
mod recover;
mod recovery;
mod regroup;
mod replicas;
mod samples;
mod settings;
mod standby;
mod status;
mod steps;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use m2t_common::evaluation::EvaluationLine;
use m2t_common::ledger::Account;
use m2t_common::manifest::CheckpointName;
use m2t_common::recipe::Plan;
use m2t_common::status::Event;
use m2t_common::{DeviceId, MachineName, Step, Timestamp};

pub use effect::{CommittedStep, Effect};
pub use history::{Dropped, Record, ResumeError};
pub use input::{DiskFacts, FoundCheckpoint, Input, StreamId, Ticket};
pub use notice::{Notice, Weight};
pub use reason::{DrainReason, EndCause, Failure, LostBy, Refusal};
pub use recovery::Recovery;
pub use settings::Settings;

use evaluations::Evaluating;
use history::History;
use machine::Machine;
use phase::Phase;
use recovery::Marks;
use samples::Samples;
use steps::Speed;

/// Events kept for the status.
const EVENTS_SHOWN: usize = 50;

/// The state machine. See the crate's documentation for how to drive it.
#[derive(Debug)]
pub struct Core {
    /// What the run is and how patient it is; never changes.
    settings: Settings,
    /// What is journalled. Only [`Core::persist`] changes it.
    history: History,
    /// The newest time seen.
    now: Timestamp,
    /// Where the run stands.
    phase: Phase,
    /// Every machine that introduced itself and is neither lost nor dismissed.
    machines: BTreeMap<MachineName, Machine>,
    /// Which machine speaks on which stream.
    streams: BTreeMap<StreamId, MachineName>,
    /// What follows from recipe and data; none before the data set is known.
    plan: Option<Plan>,
    /// N of the checkpoints found on the disk: binds a data set even when the journal was lost.
    n_samples_on_disk: Option<u64>,
    /// Checkpoints the shell is verifying; no generation forms meanwhile.
    verifying: BTreeSet<CheckpointName>,
    /// Steps committed: the newest checkpoint's after a reload.
    committed: Step,
    /// Steps whose numbers went out.
    published: Step,
    /// The last committed step's numbers.
    latest: Option<CommittedStep>,
    /// What ranks consumed, as far as it is said and not written.
    samples: Samples,
    /// How long the last steps took.
    speed: Speed,
    /// The last checkpoint that could not be written, and why; none since one was.
    unwritten: Option<(Step, String)>,
    /// When a step was last committed.
    last_step_at: Timestamp,
    /// The regroup under way, until its first step.
    marks: Option<Marks>,
    /// When the trainers of a device failed.
    failures: BTreeMap<DeviceId, Vec<Timestamp>>,
    /// Whether the run is to stop once what is kept in memory is saved.
    stopping: bool,
    /// Generations in a row whose trainers failed before a step was committed.
    fruitless: u32,
    /// What encoders were worth, oldest first.
    evaluations: Vec<EvaluationLine>,
    /// The evaluation under way.
    evaluating: Option<Evaluating>,
    /// The newest events.
    events: VecDeque<Event>,
}

impl Core {
    /// A core that continues what `records` tell, oldest first; without records, a new run.
    ///
    /// # Errors
    /// When the journal is of a run with other mathematics; the error names the keys.
    pub fn new(settings: Settings, records: impl IntoIterator<Item = Record>) -> Result<Self, ResumeError> {
        let mut history = History::default();
        for record in records {
            history.apply(&record);
        }
        history.check(&settings.recipe)?;
        let mut core = Self {
            settings,
            now: Timestamp(0),
            phase: Phase::gathering(),
            machines: BTreeMap::new(),
            streams: BTreeMap::new(),
            plan: None,
            n_samples_on_disk: None,
            verifying: BTreeSet::new(),
            committed: Step(0),
            published: Step(0),
            latest: None,
            samples: Samples::default(),
            speed: Speed::default(),
            unwritten: None,
            last_step_at: Timestamp(0),
            marks: None,
            failures: BTreeMap::new(),
            stopping: false,
            fruitless: 0,
            evaluations: Vec::new(),
            evaluating: None,
            events: VecDeque::new(),
            history,
        };
        core.recall();
        Ok(core)
    }

    /// What counts, for the audit: spans of steps, and the files that were replaced.
    pub fn account(&self) -> Account {
        Account {
            n_samples: self.history.data.as_ref().map_or(0, |data| data.n_samples),
            ledger: self.history.ledger.clone(),
            replaced: self.history.damaged.values().cloned().collect(),
        }
    }

    /// Takes in one input and appends the effects that follow from it, in the order in which to carry them out.
    pub fn handle(&mut self, now: Timestamp, input: Input, effects: &mut Vec<Effect>) {
        self.now = self.now.max(now);
        match input {
            Input::Started(disk) => self.started(disk, effects),
            Input::Message { stream, message } => self.message(stream, message, effects),
            Input::StreamEnded { stream } => self.stream_ended(stream, effects),
            Input::CheckpointVerified(report) => self.checkpoint_verified(report, effects),
            Input::CheckpointBroken { name, problem } => self.checkpoint_broken(name, problem, effects),
            Input::Stop => self.stop(effects),
            Input::Order { ticket, order } => self.order(ticket, order, effects),
            Input::Tick => self.tick(effects),
        }
        self.settle(effects);
    }

    /// What the state allows, whatever brought it there: a generation forms when there are enough devices, a drain ends
    /// when every device has stopped. Called after each input, so that no handler has to think of it.
    fn settle(&mut self, effects: &mut Vec<Effect>) {
        self.settle_samples(effects);
        if matches!(self.phase, Phase::Training { .. }) {
            self.settle_training(effects);
        }
        // Also a drain that begins only now: after a crash of the coordinator every device may have stopped already.
        if matches!(self.phase, Phase::Draining { .. }) {
            self.settle_drain(effects);
        }
        if matches!(self.phase, Phase::Regrouping { .. }) {
            self.settle_regroup(effects);
        }
        if self.stopping && matches!(self.phase, Phase::Gathering { .. }) {
            return self.stopped(effects);
        }
        self.settle_pause(effects);
        if matches!(self.phase, Phase::Gathering { .. }) {
            self.settle_gathering(effects);
        }
    }

    /// Journals a record: applied here by the code that folds the journal after a crash.
    fn persist(&mut self, record: Record, effects: &mut Vec<Effect>) {
        self.history.apply(&record);
        effects.push(Effect::Persist(record));
    }

    /// Tells people.
    fn note(&mut self, notice: Notice, effects: &mut Vec<Effect>) {
        let event = Event {
            at: self.now,
            kind: notice.kind().to_owned(),
            text: notice.to_string(),
        };
        if self.events.len() == EVENTS_SHOWN {
            self.events.pop_front();
        }
        self.events.push_back(event);
        effects.push(Effect::Notice { at: self.now, notice });
    }
}
