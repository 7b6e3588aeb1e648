//! No checkpoint counts before the shell saw that it is complete.

use m2t_coordinator_core::{Effect, Record};

use super::holds;
use crate::observed::{Event, Observed};

pub(super) fn check(seen: &Observed, event: &Event<'_>) -> Result<(), String> {
    let Event::Effect(Effect::Persist(Record::Checkpoint(report))) = event else {
        return Ok(());
    };
    let name = &report.name;
    holds(seen.verified.contains(name), || {
        format!("{name} is journalled, but nobody verified it")
    })
}
