//! One line of `metrics.jsonl`: a committed step. Floats are written so that they read back to the same bits.

use m2t_common::Step;
use m2t_common::report::Stage;
use m2t_coordinator_core::{CommittedStep, Recovery};
use serde::{Deserialize, Serialize};

/// A committed step. Loss, norm and rates are of this step, of whatever device: all say the same.
#[derive(Serialize)]
struct Line<'a> {
    /// The state's step after the commit: the first is 1.
    step: u64,
    /// The epoch it belongs to, from 0.
    epoch: u64,
    /// Mean loss over all images of the step.
    loss: f64,
    /// Mean loss of each rank, in order of the ranks.
    loss_by_rank: &'a [f64],
    /// lr(i), with i = step − 1.
    learning_rate: f64,
    /// m(i), of the teacher's parameters.
    parameter_momentum: f64,
    /// α(i), of the teacher's statistics.
    statistics_momentum: f64,
    /// L2 norm of the averaged gradient.
    gradient_norm: f64,
    /// Over all ranks, at the speed of the slowest device.
    images_per_second: f64,
    /// Share of the step spent waiting for data, 0 to 1, the worst device's.
    data_wait: f64,
    /// Where that device's loader spent most of its time, where the wait is worth a word.
    #[serde(skip_serializing_if = "Option::is_none")]
    bottleneck: Option<Stage>,
    /// The generation that did it.
    generation: u64,
    /// What the regroup took that this step, the first of its generation, ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery: Option<Phases>,
}

/// The phases of the regroup that this step ends, in seconds.
#[derive(Serialize)]
struct Phases {
    /// From the last committed step to the end of the generation: the time in which nobody knew, and part of a step.
    noticed: f64,
    /// Until every survivor had left its group.
    aborted: f64,
    /// Until the next generation was placed.
    placed: f64,
    /// Until its meeting point was known.
    met: f64,
    /// Until all its devices had the state and could step.
    state: f64,
    /// Until its first step was committed.
    first_step: f64,
}

impl From<Recovery> for Phases {
    fn from(recovery: Recovery) -> Self {
        Self {
            noticed: recovery.noticed.as_secs_f64(),
            aborted: recovery.aborted.as_secs_f64(),
            placed: recovery.placed.as_secs_f64(),
            met: recovery.met.as_secs_f64(),
            state: recovery.state.as_secs_f64(),
            first_step: recovery.first_step.as_secs_f64(),
        }
    }
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
        bottleneck: step.bottleneck,
        generation: step.generation.0,
        recovery: step.recovery.map(Into::into),
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
