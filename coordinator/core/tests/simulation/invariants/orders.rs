//! An order is answered once, at once, and not before the wish is journalled.

use m2t_coordinator_core::{Effect, Input, Record, Ticket};

use super::holds;
use crate::observed::{Event, Observed};

pub(super) fn check(_seen: &Observed, event: &Event<'_>) -> Result<(), String> {
    let Event::Handled(handled) = event else {
        return Ok(());
    };
    let asked: Vec<Ticket> = match handled.input {
        Input::Order { ticket, .. } => vec![*ticket],
        _ => Vec::new(),
    };
    let answer = |effect: &Effect| match effect {
        Effect::Answer { ticket, .. } => Some(*ticket),
        _ => None,
    };
    let answered: Vec<Ticket> = handled.effects.iter().filter_map(answer).collect();
    holds(asked == answered, || {
        format!("{asked:?} was asked and {answered:?} answered")
    })?;
    let mut after_it = handled
        .effects
        .iter()
        .skip_while(|effect| answer(effect).is_none());
    let late = after_it.find(|effect| is_wish(effect));
    holds(late.is_none(), || {
        format!("it was answered before it was journalled: {late:?}")
    })
}

fn is_wish(effect: &Effect) -> bool {
    let Effect::Persist(record) = effect else {
        return false;
    };
    matches!(
        record,
        Record::Paused | Record::Resumed | Record::Readmitted { .. }
    )
}
