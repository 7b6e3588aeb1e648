//! The one owner of the core: takes inputs from a queue, hands them to the core, carries out its effects in order. It
//! decides nothing.
//!
//! It runs on a thread of its own, so that a journal write may block: nothing that relies on it goes out before.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use m2t_common::Recipe;
use m2t_common::machine_link::{Outcome, ToMachine};
use m2t_common::order::{Answer, Order};
use m2t_common::report::CheckpointReport;
use m2t_common::status::Status;
use m2t_coordinator_core::{Core, DiskFacts, Effect, Input, Notice, Record, StreamId, Ticket, Weight};
use m2t_proto::WireError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::checkpoints::Checkpoints;
use crate::chronicle::{Chronicle, Told};
use crate::clock::Clock;
use crate::journal::Journal;
use crate::open::Opened;
use crate::output::Output;

/// What the rest of the shell asks of the driver.
pub(crate) enum Command {
    /// A daemon attached; messages to it go there.
    Attached {
        /// Its stream.
        stream: StreamId,
        /// The way to it. Dropping it ends the stream once all is sent.
        outbox: Outbox,
    },
    /// A message that means nothing came on a stream.
    Broken {
        /// Which stream.
        stream: StreamId,
        /// What is wrong with it.
        error: WireError,
    },
    /// Something happened.
    Input(Input),
    /// An operator asks something.
    Order {
        /// What.
        order: Order,
        /// Where the answer goes.
        answer: oneshot::Sender<Answer>,
    },
    /// Somebody wants the status.
    Status(oneshot::Sender<Status>),
}

/// The way to one daemon. An error ends the stream with it.
pub(crate) type Outbox = mpsc::Sender<Result<ToMachine, WireError>>;

/// Commands that are handled before time is looked at again. A flood of messages must not hold back the clock.
const BATCH: usize = 256;

/// The core and everything its effects act on.
pub(crate) struct Driver {
    core: Core,
    recipe: Recipe,
    heartbeat_timeout: Duration,
    clock: Clock,
    journal: Box<dyn Journal>,
    output: Output,
    checkpoints: Checkpoints,
    chronicle: Chronicle,
    outboxes: BTreeMap<StreamId, Outbox>,
    /// Operators who wait for an answer.
    answers: BTreeMap<Ticket, oneshot::Sender<Answer>>,
    next_ticket: u64,
    status: watch::Sender<Status>,
    /// To itself, for answers of threads it started. Weak, so that the queue ends with its other senders.
    own_queue: mpsc::WeakSender<Command>,
}

impl Driver {
    /// A driver for an opened run, the first facts for its core, and the place where its status is published.
    pub(crate) fn new(
        opened: Opened,
        own_queue: mpsc::WeakSender<Command>,
    ) -> (Self, DiskFacts, watch::Receiver<Status>) {
        let now = opened.core.status();
        m2t_log::stand("run", &*now.experiment);
        m2t_log::stand("generation", now.generation.0);
        m2t_log::stand(
            "step",
            now.progress.as_ref().map_or(0, |progress| progress.step.0),
        );
        let (status, published) = watch::channel(now);
        let driver = Self {
            core: opened.core,
            heartbeat_timeout: opened.settings.heartbeat_timeout(),
            recipe: opened.settings.recipe,
            clock: Clock::start(),
            journal: opened.journal,
            output: opened.output,
            checkpoints: opened.checkpoints,
            chronicle: opened.chronicle,
            outboxes: BTreeMap::new(),
            answers: BTreeMap::new(),
            next_ticket: 0,
            status,
            own_queue,
        };
        (driver, opened.disk, published)
    }

    /// Runs until the core says that the run is over.
    pub(crate) async fn run(
        mut self,
        disk: DiskFacts,
        mut queue: mpsc::Receiver<Command>,
    ) -> anyhow::Result<Outcome> {
        let mut batch = Vec::with_capacity(BATCH);
        if let Some(outcome) = self.feed(Input::Started(disk))? {
            return Ok(outcome);
        }
        loop {
            self.status.send_replace(self.core.status());
            let due = self
                .core
                .next_deadline()
                .map(|deadline| Instant::now() + self.clock.until(deadline));
            tokio::select! {
                biased;
                n = queue.recv_many(&mut batch, BATCH) => anyhow::ensure!(n > 0, "the gRPC service ended"),
                () = sleep_until(due) => {}
            }
            let late_by = due.map_or(Duration::ZERO, |due| due.elapsed());
            if late_by > self.heartbeat_timeout / 2 {
                // This process was stopped or starved. What was said meanwhile is still on its way in: hear it before
                // counting anyone as silent.
                tracing::warn!("The coordinator itself stood still for {late_by:?}.");
                tokio::time::sleep(self.heartbeat_timeout / 3).await;
                while batch.len() < BATCH
                    && let Ok(command) = queue.try_recv()
                {
                    batch.push(command);
                }
            }
            for command in batch.drain(..).chain([Command::Input(Input::Tick)]) {
                if let Some(outcome) = self.obey(command)? {
                    self.status.send_replace(self.core.status());
                    return Ok(outcome);
                }
            }
        }
    }

    fn obey(&mut self, command: Command) -> anyhow::Result<Option<Outcome>> {
        match command {
            Command::Attached { stream, outbox } => {
                self.outboxes.insert(stream, outbox);
                Ok(None)
            }
            Command::Broken { stream, error } => {
                tracing::warn!("A message of a daemon was refused: {error}.");
                if let Some(outbox) = self.outboxes.remove(&stream) {
                    // A full queue ends just the same.
                    let _ = outbox.try_send(Err(error));
                }
                self.feed(Input::StreamEnded { stream })
            }
            Command::Input(input) => {
                if let Input::StreamEnded { stream } = input {
                    self.outboxes.remove(&stream);
                }
                self.feed(input)
            }
            Command::Order { order, answer } => {
                let ticket = Ticket(self.next_ticket);
                self.next_ticket += 1;
                self.answers.insert(ticket, answer);
                self.feed(Input::Order { ticket, order })
            }
            Command::Status(answer) => {
                let ended = self.feed(Input::Tick)?;
                // Whoever asked may have gone.
                let _ = answer.send(self.core.status());
                Ok(ended)
            }
        }
    }

    /// Hands one input to the core and carries out what follows.
    fn feed(&mut self, input: Input) -> anyhow::Result<Option<Outcome>> {
        let mut effects = Vec::new();
        self.core.handle(self.clock.now(), input, &mut effects);
        let changes_ledger = effects.iter().any(is_of_ledger);
        let mut outcome = None;
        for effect in effects {
            outcome = self.carry_out(effect)?;
            if outcome.is_some() {
                break;
            }
        }
        if changes_ledger {
            self.output.write_ledger(&self.core.account());
        }
        Ok(outcome)
    }

    fn carry_out(&mut self, effect: Effect) -> anyhow::Result<Option<Outcome>> {
        self.chronicle.witness(&effect);
        note_where_it_stands(&effect);
        match effect {
            Effect::Persist(record) => self.journal.append(&record)?,
            Effect::Send { stream, message } => self.send(stream, message),
            Effect::Close { stream } => drop(self.outboxes.remove(&stream)),
            Effect::Metrics(step) => self.output.add_step(&step)?,
            Effect::Samples(line) => self.output.add_samples(&line)?,
            Effect::Evaluated(line) => self.output.add_evaluation(&line)?,
            Effect::CutBack { after } => self.output.cut_back(after)?,
            Effect::VerifyCheckpoint(report) => self.verify(report),
            Effect::DeleteCheckpoint(name) => {
                if let Err(error) = self.checkpoints.delete(&name) {
                    tracing::warn!(
                        "Checkpoint {name} could not be deleted: {error}; it may be deleted by hand."
                    );
                }
            }
            Effect::SetAsideCheckpoint(name) => self.checkpoints.set_aside(&name).with_context(|| {
                format!("could not rename the damaged checkpoint {name}; rename it by hand")
            })?,
            Effect::Answer { ticket, answer } => {
                if let Some(waiting) = self.answers.remove(&ticket) {
                    // Whoever asked may have gone.
                    let _ = waiting.send(answer);
                }
            }
            Effect::Notice { at, notice } => {
                log(&notice);
                self.output.add_event(&Told::new(at, &notice))?;
            }
            Effect::Exit(outcome) => {
                self.output.finish()?;
                return Ok(Some(outcome));
            }
        }
        Ok(None)
    }

    /// A daemon that does not take its messages is cut off: it attaches again and is told its whole assignment.
    fn send(&mut self, stream: StreamId, message: ToMachine) {
        let Some(outbox) = self.outboxes.get(&stream) else {
            return;
        };
        if outbox.try_send(Ok(message)).is_err() {
            self.outboxes.remove(&stream);
        }
    }

    /// Reads a whole checkpoint, apart from this thread.
    fn verify(&self, report: CheckpointReport) {
        let (checkpoints, recipe, queue) = (
            self.checkpoints.clone(),
            self.recipe.clone(),
            self.own_queue.clone(),
        );
        tokio::task::spawn_blocking(move || {
            let input = match checkpoints.verify(&report, &recipe) {
                Ok(()) => Input::CheckpointVerified(report),
                Err(damage) => Input::CheckpointBroken {
                    name: report.name,
                    problem: damage.to_string(),
                },
            };
            if let Some(queue) = queue.upgrade() {
                // The run may be over.
                let _ = queue.blocking_send(Command::Input(input));
            }
        });
    }
}

/// Lines of the log say the generation and the step that count when they are written.
fn note_where_it_stands(effect: &Effect) {
    match effect {
        Effect::Persist(Record::Generation { generation, .. }) => m2t_log::stand("generation", generation.0),
        Effect::Metrics(step) => m2t_log::stand("step", step.report.step.0),
        Effect::CutBack { after } => m2t_log::stand("step", after.0),
        _ => {}
    }
}

fn log(notice: &Notice) {
    let (kind, generation) = (notice.kind(), notice.generation().map(|generation| generation.0));
    match notice.weight() {
        Weight::Usual => tracing::info!(kind, generation, "{notice}"),
        Weight::Trouble => tracing::warn!(kind, generation, "{notice}"),
        Weight::End => tracing::error!(kind, generation, "{notice}"),
    }
}

/// Whether an effect changes what the ledger's file is to hold.
fn is_of_ledger(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Persist(Record::Committed { .. } | Record::Generation { .. } | Record::Replaced(_))
    )
}

/// Sleeps until `due`, for ever without.
async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
