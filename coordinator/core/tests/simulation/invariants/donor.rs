//! A donor takes part, said that it holds that state, and no survivor is ahead of it.

use m2t_common::machine_link::StartFrom;
use m2t_coordinator_core::{Effect, Record};

use super::holds;
use crate::observed::{Event, Observed};

pub(super) fn check(seen: &Observed, event: &Event<'_>) -> Result<(), String> {
    let Event::Effect(Effect::Persist(Record::Generation {
        placement,
        start_from: StartFrom::Donor { device, step, .. },
        ..
    })) = event
    else {
        return Ok(());
    };
    holds(placement.index_of(device).is_some(), || {
        format!("the donor {device} does not take part")
    })?;
    let said = seen.said.get(device);
    holds(said == Some(step), || {
        format!("the donor {device} is to hold step {step}, but said {said:?}")
    })?;
    let ahead = seen.survivors.iter().find(|(_, held)| *held > step);
    holds(ahead.is_none(), || {
        format!("the donor {device} is at step {step}, but {ahead:?} is ahead")
    })
}
