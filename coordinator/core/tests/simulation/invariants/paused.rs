//! A paused run trains only to save what is in memory: what forms starts from a donor, and nothing trains on.

use m2t_common::machine_link::StartFrom;
use m2t_common::status::PhaseName;
use m2t_coordinator_core::{Effect, Record};

use super::holds;
use crate::observed::{Event, Observed};

pub(super) fn check(seen: &Observed, event: &Event<'_>) -> Result<(), String> {
    if !seen.paused {
        return Ok(());
    }
    match event {
        Event::Effect(Effect::Persist(Record::Generation {
            generation,
            start_from,
            ..
        })) => holds(matches!(start_from, StartFrom::Donor { .. }), || {
            format!("generation {generation} forms from {start_from:?}, but the run is paused")
        }),
        Event::Settled(settled) => holds(settled.status.phase != PhaseName::Training, || {
            "the run trains on, but it is paused".to_owned()
        }),
        _ => Ok(()),
    }
}
