//! One line of `train_log.txt`, in the order of the published log: epoch, remaining, iteration, data time, rate, loss.
//! Epochs and iterations count from 1 there.

use m2t_common::Step;
use m2t_coordinator_core::CommittedStep;

/// A committed step as a line, with its end.
pub(super) fn line(step: &CommittedStep) -> String {
    let n_epochs = step.total_steps.div_ceil(step.steps_per_epoch.max(1));
    format!(
        "epoch: {}/{n_epochs}, remaining: {}, iteration: {}/{}, data time: {:.3} s, lr: {:.6}, loss: {:.6}\n",
        step.epoch + 1,
        remaining(step.remaining_seconds),
        step.step_in_epoch + 1,
        step.steps_per_epoch,
        step.report.data_wait.as_secs_f64(),
        step.rates.learning_rate,
        step.report.loss,
    )
}

/// Days, hours, minutes and seconds.
fn remaining(seconds: f64) -> String {
    let seconds = std::time::Duration::try_from_secs_f64(seconds)
        .unwrap_or_default()
        .as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    format!(
        "{days}d {:02}:{:02}:{:02}",
        hours % 24,
        minutes % 60,
        seconds % 60
    )
}

/// The step after the commit that a line is about, if it is such a line.
pub(super) fn step_of(line: &str) -> Option<Step> {
    let field = |name: &str| {
        let (_, rest) = line.split_once(name)?;
        let (value, of) = rest.split(',').next()?.trim().split_once('/')?;
        Some((value.parse::<u64>().ok()?, of.parse::<u64>().ok()?))
    };
    let ((epoch, _), (iteration, per_epoch)) = (field("epoch:")?, field("iteration:")?);
    // The loss comes last: a line without it was cut.
    line.contains("loss: ").then_some(())?;
    Some(Step(epoch.checked_sub(1)?.checked_mul(per_epoch)? + iteration))
}
