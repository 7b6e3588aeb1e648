//! One line of `metrics.jsonl`: a committed step. Floats are written so that they read back to the same bits.

use m2t_common::Step;
use m2t_coordinator_core::CommittedStep;
use serde::{Deserialize, Serialize};

/// The keys of a line, in their order.
#[derive(Serialize)]
struct Line<'a> {
    /// The state's step after the commit: the first is 1.
    step: u64,
    epoch: u64,
    loss: f64,
    loss_by_rank: &'a [f64],
    learning_rate: f64,
    parameter_momentum: f64,
    statistics_momentum: f64,
    gradient_norm: f64,
    images_per_second: f64,
    data_wait: f64,
    generation: u64,
}

/// A committed step as a line, with its end.
pub(super) fn line(step: &CommittedStep) -> serde_json::Result<String> {
    let line = Line {
        step: step.report.step.0,
        epoch: step.epoch,
        loss: step.report.loss,
        loss_by_rank: &step.report.loss_by_rank,
        learning_rate: step.rates.learning_rate,
        parameter_momentum: step.rates.parameter_momentum,
        statistics_momentum: step.rates.statistics_momentum,
        gradient_norm: step.report.gradient_norm,
        images_per_second: step.images_per_second,
        data_wait: step.data_wait,
        generation: step.generation.0,
    };
    let mut line = serde_json::to_string(&line)?;
    line.push('\n');
    Ok(line)
}

/// The step of a line, if it is one.
pub(super) fn step_of(line: &str) -> Option<Step> {
    #[derive(Deserialize)]
    struct Key {
        step: Step,
    }
    serde_json::from_str::<Key>(line).ok().map(|key| key.step)
}
