//! What the coordinator wrote of a recovery: `events.jsonl` between a fault and the step that ended it.
//!
//! It knows no kind of event: each comes out under its own name, so that new ones need no change here.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use m2t_common::status::Event;

/// Seconds from the fault to the first event of each kind, of those before the step. The coordinator's clock is this machine's.
pub(super) fn after(events: &Path, fault: SystemTime, took: Duration) -> Result<BTreeMap<String, f64>> {
    let text =
        std::fs::read_to_string(events).with_context(|| format!("cannot read {}", events.display()))?;
    let since_epoch = fault.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(first_of_each(
        &text,
        since_epoch.as_secs_f64(),
        took.as_secs_f64(),
    ))
}

fn first_of_each(text: &str, fault: f64, took: f64) -> BTreeMap<String, f64> {
    let mut phases = BTreeMap::new();
    // The last line may be half written: it is later than what is asked for.
    for event in text
        .lines()
        .filter_map(|line| serde_json::from_str::<Event>(line).ok())
    {
        let after = event.at.0 as f64 / 1000.0 - fault;
        // Events have whole milliseconds, so one that follows at once may seem to be a little earlier.
        if after > -0.001 && after <= took {
            phases.entry(event.kind).or_insert(after.max(0.0));
        }
    }
    phases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_event_of_each_kind_between_fault_and_step_counts() {
        let event = |at: u64, kind: &str| format!(r#"{{"at":{at},"kind":"{kind}","text":"…"}}"#) + "\n";
        let text = event(9_000, "generation_formed")
            + &event(10_100, "generation_ended")
            + &event(10_500, "generation_formed")
            + &event(10_700, "generation_formed")
            + &event(19_000, "machine_ready")
            + r#"{"at":190"#;
        let phases = first_of_each(&text, 10.0, 2.0);
        let rounded: Vec<(&str, i64)> = phases
            .iter()
            .map(|(kind, after)| (kind.as_str(), (after * 1000.0).round() as i64))
            .collect();
        assert_eq!(rounded, [("generation_ended", 100), ("generation_formed", 500)]);
    }
}
