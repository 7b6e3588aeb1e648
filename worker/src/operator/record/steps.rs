//! `metrics.jsonl`: a line a committed step.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::Deserialize;

use super::lines::Lines;
use super::{Notes, Tally};

/// Its file name.
pub const METRICS: &str = "metrics.jsonl";

/// A committed step, as far as it is told. A loss that was no finite number is `null` there, and none here.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct StepLine {
    /// The state's step after the commit; the first is 1. A line without it is no step.
    pub step: u64,
    /// From 0.
    pub epoch: Option<u64>,
    /// Mean over all images of the step.
    pub loss: Option<f64>,
    /// lr(i).
    pub learning_rate: Option<f64>,
    /// m(i), of the teacher's parameters.
    pub parameter_momentum: Option<f64>,
    /// α(i), of the teacher's statistics.
    pub statistics_momentum: Option<f64>,
    /// L2 norm of the averaged gradient.
    pub gradient_norm: Option<f64>,
    /// Over all ranks.
    pub images_per_second: Option<f64>,
    /// Share of the step that the worst device waited for data, 0 to 1.
    pub data_wait: Option<f64>,
    /// Which placement did it.
    pub generation: Option<u64>,
    /// The phases of the regroup that it ends, in seconds.
    pub recovery: Option<BTreeMap<String, f64>>,
}

impl StepLine {
    /// Calls `take` with each step of the run in `folder`, in order. A step that is not after the one before is skipped. What was
    /// of no use is told in `notes`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn each(folder: &Path, notes: &mut Notes, mut take: impl FnMut(&Self)) -> io::Result<()> {
        let Some(mut lines) = Lines::<Self>::open(&folder.join(METRICS))? else {
            notes.add(format_args!(
                "{METRICS} is missing: the run has not done a step yet."
            ));
            return Ok(());
        };
        let mut order = Order::default();
        while let Some(line) = lines.read()? {
            if order.follows(line.step, &mut lines.tally) {
                take(&line);
            }
        }
        if order.last == 0 {
            notes.add(format_args!("{METRICS} tells of no step yet."));
        }
        notes.tally(METRICS, &lines.tally);
        Ok(())
    }

    /// How long the regroup that this step ends took, in seconds.
    pub fn regroup_seconds(&self) -> Option<f64> {
        self.recovery
            .as_ref()
            .map(|phases| phases.values().filter(|seconds| seconds.is_finite()).sum())
    }

    /// How long the step took, with `batch` images over all ranks, in seconds.
    pub fn seconds(&self, batch: u64) -> Option<f64> {
        let speed = self.images_per_second?;
        (speed > 0.0).then(|| batch as f64 / speed)
    }
}

/// Sees to it that steps only go on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Order {
    last: u64,
}

impl Order {
    /// The last step there was; 0 before the first.
    pub fn last(self) -> u64 {
        self.last
    }

    /// Whether `step` is after the last one; else it is counted in `tally`.
    pub fn follows(&mut self, step: u64, tally: &mut Tally) -> bool {
        if step <= self.last {
            tally.n_out_of_order += 1;
            return false;
        }
        self.last = step;
        true
    }
}
