//! Generations rise by one, so no two placements have one number.

use m2t_coordinator_core::{Effect, Record};

use super::holds;
use crate::observed::{Event, Observed};

pub(super) fn check(seen: &Observed, event: &Event<'_>) -> Result<(), String> {
    let Event::Effect(Effect::Persist(Record::Generation { generation, .. })) = event else {
        return Ok(());
    };
    let newest = seen.newest_generation();
    holds(*generation == newest.next(), || {
        format!("generation {generation} follows generation {newest}")
    })
}
