//! A finished run did its last step and has the checkpoint of it.

use m2t_coordinator_core::{Effect, Record};

use super::holds;
use crate::observed::{Event, Observed};

pub(super) fn check(seen: &Observed, event: &Event<'_>) -> Result<(), String> {
    let last = seen.last;
    match event {
        Event::Effect(Effect::Persist(Record::Finished { step, .. })) => {
            holds(*step == last, || format!("finished at step {step} of {last}"))
        }
        Event::Over(_) => {
            let on_disk = seen.on_disk();
            let counted = seen.counted;
            holds(on_disk == last && counted == last, || {
                format!("of {last} steps {counted} count, and the newest checkpoint is of {on_disk}")
            })
        }
        _ => Ok(()),
    }
}
