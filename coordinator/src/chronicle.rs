//! The chronicle: what a run did so far, small enough to be kept in memory and shown at once however long the run is.
//!
//! It hears every effect before the driver carries it out ([`Chronicle::witness`]), and once, at the start, what the output folder tells
//! of before ([`Chronicle::recall`]). The page and `/metrics` read it. It decides nothing and writes nothing.
//!
//! ```text
//!  metrics.jsonl, events.jsonl ── a thread, once ──►┐
//!                                                   ├─► series (≤ 1024 buckets), timeline, log, checkpoints, tally
//!  effects of the core ── while that reads: queued ─►┘
//! ```
//! Why a queue: a run of a million steps takes seconds to read, and neither the run nor its page waits for that.

mod evaluations;
mod past;
mod series;
mod tally;
mod timeline;
mod told;

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

use m2t_common::evaluation::EvaluationLine;
use m2t_common::manifest::{CheckpointName, MANIFEST_FILE};
use m2t_common::report::{CheckpointCost, CheckpointReport};
use m2t_common::{Step, Timestamp};
use m2t_coordinator_core::{DiskFacts, Effect, Notice, Record};
use serde::Serialize;

pub(crate) use past::Past;
pub(crate) use series::{Columns, Point};
pub(crate) use tally::{RECOVERY_BOUNDS, Tally};
pub(crate) use timeline::Span;
pub(crate) use told::Told;

use series::Series;
use timeline::Timeline;

/// Events kept for the page.
const LOGGED: usize = 300;

/// The chronicle of a run. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Chronicle {
    folder: PathBuf,
    story: Arc<Mutex<Story>>,
}

#[derive(Debug, Default)]
struct Story {
    series: Series,
    timeline: Timeline,
    log: VecDeque<Told>,
    checkpoints: BTreeMap<CheckpointName, Kept>,
    tally: Tally,
    /// What happened while the past is being read; none once it is known.
    queued: Option<Vec<Change>>,
}

/// What changes series, timeline and log.
#[derive(Debug)]
enum Change {
    Step(Point),
    CutBack(Step),
    Told(Told),
}

/// A checkpoint that counts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Kept {
    /// The step of its state.
    pub(crate) step: Step,
    /// Digest of its state.
    pub(crate) state_digest: String,
    /// When it was found to be complete; of one of before the coordinator started, when its manifest was written.
    pub(crate) at: Option<Timestamp>,
    /// What it cost, in seconds and bytes; zeros where nobody said.
    #[serde(flatten)]
    pub(crate) cost: Cost,
}

/// What a checkpoint cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Cost {
    /// How long training stood.
    pub(crate) stall_seconds: f64,
    /// How long writing took beside training.
    pub(crate) write_seconds: f64,
    /// Bytes of the state's file.
    pub(crate) bytes: u64,
}

/// All of the chronicle but the series, as the page asks for it.
#[derive(Debug, Serialize)]
pub(crate) struct Annals {
    /// Whether what was before is still being read.
    reading: bool,
    generations: Vec<Span>,
    checkpoints: Vec<Kept>,
    log: Vec<Told>,
    evaluations: Vec<EvaluationLine>,
}

impl Chronicle {
    /// The chronicle of a run with the output folder `folder`, in which `disk` was found.
    pub(crate) fn new(folder: &Path, disk: &DiskFacts) -> Self {
        let checkpoints = disk.found.iter().map(|found| {
            let (name, kept) = kept(&found.report);
            let at = completed(folder, &name);
            (name, Kept { at, ..kept })
        });
        let story = Story {
            checkpoints: checkpoints.collect(),
            ..Story::default()
        };
        Self {
            folder: folder.to_owned(),
            story: Arc::new(Mutex::new(story)),
        }
    }

    /// Reads what the output folder tells of before now, on a thread of its own.
    pub(crate) fn recall(&self) {
        let past = Past::of(&self.folder);
        self.story().queued = Some(Vec::new());
        let chronicle = self.clone();
        let reading = std::thread::Builder::new()
            .name("chronicle".to_owned())
            .spawn(move || chronicle.remember(past));
        if let Err(error) = reading {
            tracing::warn!("What the run did before is not shown, for no thread could be started: {error}.");
            self.remember(Past::default());
        }
    }

    /// Puts the past before what was queued while it was read.
    fn remember(&self, past: Past) {
        let (points, told) = past.read();
        let mut story = self.story();
        let queued = story.queued.take().unwrap_or_default();
        story.series = points;
        for told in told {
            story.apply(Change::Told(told));
        }
        for change in queued {
            story.apply(change);
        }
    }

    /// Hears an effect of the core.
    pub(crate) fn witness(&self, effect: &Effect) {
        let mut story = self.story();
        match effect {
            Effect::Metrics(step) => {
                story.tally.step();
                story.hear(Change::Step(Point::of(step)));
            }
            Effect::CutBack { after } => story.hear(Change::CutBack(*after)),
            Effect::Notice { at, notice } => {
                story.tally.notice(notice);
                if let Notice::Checkpoint { name, .. } = notice
                    && let Some(checkpoint) = story.checkpoints.get_mut(name)
                {
                    checkpoint.at = Some(*at);
                }
                story.hear(Change::Told(Told::new(*at, notice)));
            }
            Effect::Persist(Record::Checkpoint(report)) => {
                let (name, checkpoint) = kept(report);
                story.checkpoints.insert(name, checkpoint);
            }
            Effect::Persist(Record::CheckpointDropped { name, .. }) => {
                story.checkpoints.remove(name);
            }
            _ => {}
        }
    }

    /// The series of steps after `from`.
    pub(crate) fn history(&self, from: Step) -> Columns {
        self.story().series.columns(from)
    }

    /// What was counted.
    pub(crate) fn tally(&self) -> Tally {
        self.story().tally.clone()
    }

    /// The newest checkpoint that counts.
    pub(crate) fn newest_checkpoint(&self) -> Option<Kept> {
        self.story().checkpoints.values().next_back().cloned()
    }

    /// How well encoders of the run were judged to be, oldest first. Reads a file.
    pub(crate) fn evaluations(&self) -> Vec<EvaluationLine> {
        evaluations::read(&self.folder)
    }

    /// Everything but the series. Reads a file.
    pub(crate) fn annals(&self) -> Annals {
        let evaluations = self.evaluations();
        let story = self.story();
        Annals {
            reading: story.queued.is_some(),
            generations: story.timeline.spans().cloned().collect(),
            checkpoints: story.checkpoints.values().cloned().collect(),
            log: story.log.iter().cloned().collect(),
            evaluations,
        }
    }

    /// A panic elsewhere must not end the run for its chronicle.
    fn story(&self) -> MutexGuard<'_, Story> {
        self.story.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Story {
    fn hear(&mut self, change: Change) {
        match &mut self.queued {
            Some(queued) => queued.push(change),
            None => self.apply(change),
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Step(point) => self.series.add(&point),
            Change::CutBack(after) => self.series.cut_back(after),
            Change::Told(told) => {
                self.timeline.hear(&told);
                if self.log.len() == LOGGED {
                    self.log.pop_front();
                }
                self.log.push_back(told);
            }
        }
    }
}

fn kept(report: &CheckpointReport) -> (CheckpointName, Kept) {
    let kept = Kept {
        step: report.step,
        state_digest: report.state_digest.clone(),
        at: None,
        cost: report.cost.into(),
    };
    (report.name.clone(), kept)
}

/// When a checkpoint was complete: its manifest is written last.
fn completed(output: &Path, name: &CheckpointName) -> Option<Timestamp> {
    let manifest = output.join("checkpoints").join(name.as_str()).join(MANIFEST_FILE);
    let modified = std::fs::metadata(manifest).ok()?.modified().ok()?;
    let since = modified.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp(0).after(since))
}

impl From<CheckpointCost> for Cost {
    fn from(cost: CheckpointCost) -> Self {
        Self {
            stall_seconds: cost.stall.as_secs_f64(),
            write_seconds: cost.writing.as_secs_f64(),
            bytes: cost.n_bytes,
        }
    }
}

#[cfg(test)]
mod tests;
