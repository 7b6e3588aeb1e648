//! An order is answered once, at once.

use m2t_coordinator_core::{Effect, Input, Ticket};

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
    })
}
