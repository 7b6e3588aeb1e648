//! A tick before its deadline does nothing, and one at it leaves no deadline that has passed: who drives the core never
//! spins.

use m2t_coordinator_core::Input;

use super::holds;
use crate::observed::{Event, Observed};

pub(super) fn check(_seen: &Observed, event: &Event<'_>) -> Result<(), String> {
    let Event::Handled(handled) = event else {
        return Ok(());
    };
    if *handled.input != Input::Tick {
        return Ok(());
    }
    let now = handled.now;
    let is_early = handled.before.is_none_or(|deadline| now < deadline);
    holds(!is_early || handled.effects.is_empty(), || {
        let (before, effects) = (handled.before, handled.effects);
        format!("a tick at {now:?}, before {before:?}, did {effects:?}")
    })?;
    let after = handled.after;
    holds(after.is_none_or(|deadline| now < deadline), || {
        format!("after a tick at {now:?} the deadline is {after:?}")
    })
}
