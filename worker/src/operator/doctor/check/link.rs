//! The coordinator: whether it answers, how far it is, and whether its clock is ours.

use std::time::Duration;

use super::super::facts::Link;
use super::super::finding::Finding;

/// Farther apart than this, logs of machines are hard to lay side by side.
const SKEW_MS: u64 = 1_000;
/// A round trip of machines that are not close to each other.
const FAR: Duration = Duration::from_millis(20);

pub(super) fn all(link: Option<&Result<Link, String>>) -> [Finding; 3] {
    let none = |why: &str| ["coordinator", "clock", "round-trip"].map(|check| Finding::skip(check, why));
    match link {
        None => none("no --coordinator was named"),
        Some(Err(reason)) => {
            let [_, clock, round_trip] = none("the coordinator does not answer");
            [Finding::error("coordinator", reason), clock, round_trip]
        }
        Some(Ok(link)) => [answers(link), clock(link), round_trip(link.round_trip)],
    }
}

fn answers(link: &Link) -> Finding {
    let phase = format!("{:?}", link.phase).to_lowercase();
    let found = format!("leads {} in a world of {}: {phase}", link.experiment, link.world);
    Finding::ok("coordinator", found)
}

/// The coordinator reads its clock once and counts from there; half the round trip is uncertain.
fn clock(link: &Link) -> Finding {
    let apart = link.ahead_ms.unsigned_abs();
    let uncertain = u64::try_from(link.round_trip.as_millis()).unwrap_or(u64::MAX) / 2;
    let side = if link.ahead_ms < 0 { "behind" } else { "ahead of" };
    let found = format!("the coordinator's is {apart} ms {side} ours");
    if apart.saturating_sub(uncertain) > SKEW_MS {
        let mend = "set both by NTP (chronyc tracking); training does not depend on it, but times in logs do. A coordinator whose host's clock was set since its start keeps the old time";
        return Finding::warn("clock", found, mend);
    }
    Finding::ok("clock", found)
}

fn round_trip(round_trip: Duration) -> Finding {
    let found = format!(
        "{:.2} ms, the best of several calls",
        round_trip.as_secs_f64() * 1e3
    );
    if round_trip > FAR {
        let mend =
            "keep all machines of a run in one network: each step exchanges all gradients between them";
        return Finding::warn("round-trip", found, mend);
    }
    Finding::ok("round-trip", found)
}
