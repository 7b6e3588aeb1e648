//! No step is cut back that a survivor who answered holds, and nobody's memory is given up for an older checkpoint.

use m2t_coordinator_core::{Effect, Record};

use super::holds;
use crate::observed::{Event, Observed};

pub(super) fn check(seen: &Observed, event: &Event<'_>) -> Result<(), String> {
    let after = match event {
        Event::Effect(Effect::CutBack { after }) => *after,
        Event::Effect(Effect::Persist(Record::Ended)) => seen.on_disk(),
        _ => return Ok(()),
    };
    let ahead = seen.survivors.iter().find(|(_, held)| **held > after);
    holds(ahead.is_none(), || {
        format!("all after step {after} is given up, but {ahead:?} holds more")
    })
}
