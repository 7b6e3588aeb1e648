//! A core that folds the journal knows what the living one knows, after each input.

use super::holds;
use crate::observed::{Event, Observed};

pub(super) fn check(_seen: &Observed, event: &Event<'_>) -> Result<(), String> {
    let Event::Settled(settled) = event else {
        return Ok(());
    };
    let (now, after) = (settled.status, settled.reloaded);
    holds(now.generation == after.generation, || {
        format!(
            "generation {} is {} after a reload",
            now.generation, after.generation
        )
    })?;
    holds(now.checkpoint == after.checkpoint, || {
        format!("{:?} is {:?} after a reload", now.checkpoint, after.checkpoint)
    })?;
    holds(now.progress.is_some() == after.progress.is_some(), || {
        "the data set is not journalled".to_owned()
    })
}
