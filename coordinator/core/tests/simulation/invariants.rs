//! What must hold whatever happens: one file each, and each has a mutation (see `mutations`) that it alone is shown to catch.
//!
//! | invariant | what must hold | source |
//! | --- | --- | --- |
//! | `assignments` | an Assign is of no older generation than the newest, and its placement was journalled before | architecture, "`Persist` precedes `Assign`" |
//! | `checkpoint_kept` | a checkpoint that a generation may start from is on the disk and not deleted | "Checkpoints" |
//! | `checkpoint_verified` | no checkpoint counts before the shell saw that it is complete | "Checkpoints" |
//! | `committed` | the committed step never falls below the newest checkpoint | "committed step" |
//! | `deadlines` | a tick before its deadline does nothing, and one after it leaves no deadline behind | contract of the core, rule 5 |
//! | `donor` | a donor takes part, and is at the highest step that any survivor said | "Regroup" |
//! | `exit` | nothing follows an Exit | contract of the effects |
//! | `finished` | a finished run did its last step and has the checkpoint of it | "Checkpoints" |
//! | `generations` | generations rise by one; no two placements have one number | "generation" |
//! | `journalled_first` | what an Assign tells was journalled before | "`Persist` precedes `Assign`" |
//! | `ledger` | the journal's ledger has no gap and no overlap up to its end, whenever one looks | "Samples" |
//! | `metrics` | metrics ascend by step, none twice, until they are cut back | "committed step" |
//! | `newest_state` | a generation starts from the newest checkpoint of the journal, or from a memory that is no older | "Regroup" |
//! | `no_step_lost` | no step is cut back that a survivor who answered holds | "Lost: 0 steps" |
//! | `orders` | an order is answered once, at once, and not before the wish is journalled | contract of the effects |
//! | `paused` | a paused run trains only to save what is in memory | "Phases" |
//! | `ranks` | a placement hosts each rank once | "placement" |
//! | `reload` | a core that folds the journal knows what the living one knows | "`status()` before and after a crash is equal" |
//! | `set_aside` | a machine set aside takes part in no new generation, but to save the only state there is | restart budget |
//! | `streams` | only an open stream is spoken on | contract of the effects |
//!
//! Two more are looked at by the world itself: `progress` (healed, the run finishes) and `silence` (messages beget
//! messages, but not for ever).

mod assignments;
mod checkpoint_kept;
mod checkpoint_verified;
mod committed;
mod deadlines;
mod donor;
mod exit;
mod finished;
mod generations;
mod journalled_first;
mod ledger;
mod metrics;
mod newest_state;
mod no_step_lost;
mod orders;
mod paused;
mod ranks;
mod reload;
mod set_aside;
mod streams;

use crate::observed::{Event, Observed};

/// A look at one thing that happens, before it is folded into what was seen.
type Check = fn(&Observed, &Event<'_>) -> Result<(), String>;

/// All of them, by name.
pub(crate) const ALL: [(&str, Check); 20] = [
    ("assignments", assignments::check),
    ("checkpoint_kept", checkpoint_kept::check),
    ("checkpoint_verified", checkpoint_verified::check),
    ("committed", committed::check),
    ("deadlines", deadlines::check),
    ("donor", donor::check),
    ("exit", exit::check),
    ("finished", finished::check),
    ("generations", generations::check),
    ("journalled_first", journalled_first::check),
    ("ledger", ledger::check),
    ("metrics", metrics::check),
    ("newest_state", newest_state::check),
    ("no_step_lost", no_step_lost::check),
    ("orders", orders::check),
    ("paused", paused::check),
    ("ranks", ranks::check),
    ("reload", reload::check),
    ("set_aside", set_aside::check),
    ("streams", streams::check),
];

/// An invariant that does not hold, and what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) invariant: &'static str,
    pub(crate) what: String,
}

/// Those that this event violates.
pub(crate) fn violated(seen: &Observed, event: &Event<'_>) -> Vec<Violation> {
    let look = |&(invariant, check): &(&'static str, Check)| {
        let what = check(seen, event).err()?;
        Some(Violation { invariant, what })
    };
    ALL.iter().filter_map(look).collect()
}

/// Says what is wrong where something is.
fn holds(is_so: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(what()) }
}
