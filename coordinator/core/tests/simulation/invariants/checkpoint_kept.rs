//! A checkpoint that a generation may start from is on the disk and is not deleted.

use m2t_coordinator_core::Effect;

use super::holds;
use crate::observed::{Event, Observed};

pub(super) fn check(seen: &Observed, event: &Event<'_>) -> Result<(), String> {
    match event {
        Event::Effect(Effect::DeleteCheckpoint(name) | Effect::SetAsideCheckpoint(name)) => {
            holds(!seen.checkpoints.contains(name), || {
                format!("{name} is taken away, but the journal still has it")
            })
        }
        Event::Settled(settled) => {
            let mut journalled = seen.checkpoints.iter();
            let missing = journalled.find(|name| !settled.disk.contains(&name.step().0));
            holds(missing.is_none(), || {
                format!("the journal has {missing:?}, but the disk has not")
            })
        }
        _ => Ok(()),
    }
}
