//! A machine set aside takes part in no new generation; but where it holds the only state there is, it saves that,
//! alone.

use m2t_common::machine_link::StartFrom;
use m2t_coordinator_core::{Effect, Record};

use super::holds;
use crate::observed::{Event, Observed};

pub(super) fn check(seen: &Observed, event: &Event<'_>) -> Result<(), String> {
    let Event::Effect(Effect::Persist(Record::Generation {
        placement,
        start_from,
        ..
    })) = event
    else {
        return Ok(());
    };
    let saves = matches!(start_from, StartFrom::Donor { .. }) && placement.devices.len() == 1;
    let mut placed = placement.devices.iter().map(|placed| &placed.device.machine);
    let aside = placed.find(|machine| seen.set_aside.contains(*machine));
    holds(saves || aside.is_none(), || {
        format!("{aside:?} takes part, but is set aside")
    })
}
