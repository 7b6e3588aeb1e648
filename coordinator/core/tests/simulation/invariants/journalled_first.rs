//! What an Assign tells was journalled before it was sent: whoever crashes in between comes back with it.

use m2t_common::machine_link::{ToMachine, Work};
use m2t_coordinator_core::Effect;

use super::holds;
use crate::observed::{Event, Observed};

pub(super) fn check(seen: &Observed, event: &Event<'_>) -> Result<(), String> {
    let Event::Effect(Effect::Send {
        message: ToMachine::Assign(assignment),
        ..
    }) = event
    else {
        return Ok(());
    };
    let (told, newest) = (assignment.generation, seen.newest_generation());
    holds(told <= newest, || {
        format!("generation {told} was sent, but {newest} is the newest journalled")
    })?;
    let Work::Train(group) = &assignment.work else {
        return Ok(());
    };
    holds(seen.placements.get(&told) == Some(&group.placement), || {
        format!("the placement of generation {told} is another than the journalled one")
    })
}
