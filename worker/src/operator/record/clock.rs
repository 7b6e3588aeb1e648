//! When each step was done, which `metrics.jsonl` does not say.
//!
//! The events say when a generation began to train; from there steps follow each other by their own durations, which are
//! batch / images per second. So a step's moment is right to about a step's length, and never before that of the step before.
//! Without events, time begins at 0 (1970) and only differences mean something.

use std::collections::BTreeMap;

use super::events::Events;
use super::steps::StepLine;

/// Reckons the moment of each step, asked in their order.
#[derive(Clone, Debug)]
pub struct Clock {
    training_since: BTreeMap<u64, u64>,
    generation: Option<u64>,
    /// In seconds since 1970.
    now: f64,
}

impl Clock {
    /// A clock by the events of a run.
    pub fn new(events: &Events) -> Self {
        Self {
            training_since: events.training_since.clone(),
            generation: None,
            now: events.span.map_or(0.0, |(first, _)| seconds(first)),
        }
    }

    /// More has happened since.
    pub fn follow(&mut self, events: &Events) {
        self.training_since.clone_from(&events.training_since);
    }

    /// When `step`, of `batch` images over all ranks, was done, in seconds since 1970. Steps must be asked in their order.
    pub fn at(&mut self, step: &StepLine, batch: u64) -> f64 {
        if step.generation != self.generation {
            self.generation = step.generation;
            let since = step.generation.and_then(|g| self.training_since.get(&g));
            self.now = self.now.max(since.copied().map_or(0.0, seconds));
        }
        self.now += step.seconds(batch).unwrap_or(0.0);
        self.now
    }
}

fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1e3
}
