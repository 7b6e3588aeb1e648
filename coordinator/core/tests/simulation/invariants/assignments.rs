//! An Assign of an older generation is impossible.

use m2t_common::machine_link::ToMachine;
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
    holds(told >= newest, || {
        format!("an assignment of generation {told} was sent, but generation {newest} is journalled")
    })
}
