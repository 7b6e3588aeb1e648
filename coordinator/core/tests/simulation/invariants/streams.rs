//! Only an open stream is spoken on: one that was opened by a Hello, and neither ended nor was closed.

use m2t_coordinator_core::Effect;

use super::holds;
use crate::observed::{Event, Observed};

pub(super) fn check(seen: &Observed, event: &Event<'_>) -> Result<(), String> {
    let Event::Effect(Effect::Send { stream, message }) = event else {
        return Ok(());
    };
    holds(seen.streams.contains_key(stream), || {
        format!("{stream:?} is not open, but was sent {message:?}")
    })
}
