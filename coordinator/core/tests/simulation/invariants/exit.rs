//! Nothing follows an Exit: the process that would carry it out is gone.

use m2t_coordinator_core::Effect;

use super::holds;
use crate::observed::{Event, Observed};

pub(super) fn check(_seen: &Observed, event: &Event<'_>) -> Result<(), String> {
    let Event::Handled(handled) = event else {
        return Ok(());
    };
    let is_exit = |effect: &Effect| matches!(effect, Effect::Exit(_));
    let at = handled.effects.iter().position(is_exit);
    let last = handled.effects.len().checked_sub(1);
    holds(at.is_none() || at == last, || {
        format!("an exit is followed by {:?}", handled.effects.last())
    })
}
