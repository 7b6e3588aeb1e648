//! One line of `metrics.jsonl`: a committed step. Floats are written so that they read back to the same bits.

use m2t_common::Step;
use m2t_common::report::Stage;
use m2t_coordinator_core::{CommittedStep, Recovery};
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
    #[serde(skip_serializing_if = "Option::is_none")]
    bottleneck: Option<Stage>,
    generation: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery: Option<Phases>,
}

/// The phases of the regroup that this step ends, in seconds.
#[derive(Serialize)]
struct Phases {
    noticed: f64,
    aborted: f64,
    placed: f64,
    met: f64,
    state: f64,
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
