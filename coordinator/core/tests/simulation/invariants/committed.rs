//! The committed step never falls below the newest checkpoint.

use super::holds;
use crate::observed::{Event, Observed};

pub(super) fn check(seen: &Observed, event: &Event<'_>) -> Result<(), String> {
    let Event::Settled(settled) = event else {
        return Ok(());
    };
    let on_disk = seen.on_disk();
    match &settled.status.progress {
        Some(progress) => holds(progress.step >= on_disk, || {
            format!("step {} is below checkpoint {on_disk}", progress.step)
        }),
        None => Ok(()),
    }
}
