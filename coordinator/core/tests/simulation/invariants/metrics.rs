//! Metrics ascend by step, none twice, until they are cut back.

use m2t_coordinator_core::Effect;

use super::holds;
use crate::observed::{Event, Observed};

pub(super) fn check(seen: &Observed, event: &Event<'_>) -> Result<(), String> {
    let Event::Effect(Effect::Metrics(step)) = event else {
        return Ok(());
    };
    let (step, before) = (step.report.step, seen.metrics);
    holds(step > before, || format!("metrics of {step} after {before}"))
}
