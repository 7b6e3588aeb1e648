//! The journal's ledger has no gap and no overlap up to its end, whenever one looks, and each step is counted for the
//! generation that did it.

use m2t_common::Step;
use m2t_common::ledger::{Account, audit};
use m2t_coordinator_core::{Effect, Record};

use super::holds;
use crate::observed::{Event, Observed};

pub(super) fn check(seen: &Observed, event: &Event<'_>) -> Result<(), String> {
    let counted = seen.counted;
    match event {
        Event::Effect(Effect::Persist(Record::Committed { upto })) => holds(*upto > counted, || {
            format!("steps up to {upto} are counted, but they are up to {counted} already")
        }),
        Event::Effect(Effect::Persist(Record::Generation { start_from, .. })) => {
            let start = start_from.step();
            holds(start <= counted, || {
                format!(
                    "a generation starts at step {start}, but only {counted} were counted for those before"
                )
            })
        }
        Event::Settled(settled) => settled.account.map_or(Ok(()), |account| prove(seen, account)),
        Event::Over(over) => prove(seen, over.account),
        _ => Ok(()),
    }
}

/// The proof that people run, `m2t audit`, at any moment.
fn prove(seen: &Observed, account: &Account) -> Result<(), String> {
    let proof = audit(&account.ledger, &seen.shards).map_err(|fault| fault.to_string())?;
    let (end, counted) = (Step(proof.steps), seen.counted);
    holds(end == counted, || {
        format!("the ledger ends at {end}, the journal's records at {counted}")
    })
}
