//! A generation starts from the newest checkpoint of the journal, or from a memory that is no older.

use m2t_common::machine_link::StartFrom;
use m2t_coordinator_core::{Effect, Record};

use super::holds;
use crate::observed::{Event, Observed};

pub(super) fn check(seen: &Observed, event: &Event<'_>) -> Result<(), String> {
    let Event::Effect(Effect::Persist(Record::Generation { start_from, .. })) = event else {
        return Ok(());
    };
    let newest = seen.checkpoints.last();
    let is_newest = match start_from {
        StartFrom::Initial => newest.is_none(),
        StartFrom::Checkpoint(name) => newest == Some(name),
        StartFrom::Donor { step, .. } => *step >= seen.on_disk(),
    };
    holds(is_newest, || {
        format!("a generation starts from {start_from:?}, but {newest:?} is there")
    })
}
