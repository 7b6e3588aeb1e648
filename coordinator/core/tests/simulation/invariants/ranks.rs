//! A placement hosts each rank once.

use m2t_common::Rank;
use m2t_coordinator_core::{Effect, Record};

use super::holds;
use crate::observed::{Event, Observed};

pub(super) fn check(seen: &Observed, event: &Event<'_>) -> Result<(), String> {
    let Event::Effect(Effect::Persist(Record::Generation { placement, .. })) = event else {
        return Ok(());
    };
    let placed = placement.devices.iter().flat_map(|placed| &placed.ranks);
    let mut ranks: Vec<Rank> = placed.copied().collect();
    ranks.sort_unstable();
    let expected: Vec<Rank> = (0..seen.shards.world).map(Rank).collect();
    holds(ranks == expected, || {
        format!("a placement hosts the ranks {ranks:?}")
    })
}
