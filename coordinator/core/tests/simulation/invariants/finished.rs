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
        // The disk is asked and not the journal: the word of that checkpoint may have been lost.
        Event::Over(over) => {
            let (counted, on_disk) = (seen.counted, over.disk.last());
            holds(counted == last && on_disk == Some(&last.0), || {
                format!("of {last} steps {counted} count, and the newest checkpoint is of {on_disk:?}")
            })
        }
        _ => Ok(()),
    }
}
