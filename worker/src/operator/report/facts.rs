//! The facts of runs as the rows of a table, a column a run.

use super::axis::{grouped, number};
use super::record::Evaluation;
use super::run::Run;

/// Steps over which the first and the last loss are the mean.
const LOSS_STEPS: u64 = 100;

/// What a row tells of a run, if it is known.
type Fact = fn(&Run) -> Option<String>;

/// A row: what it tells of, and what it is for each run.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) values: Vec<String>,
}

/// All rows of which at least one run knows something.
pub(super) fn rows(runs: &[Run]) -> Vec<Row> {
    let of: [(&'static str, Fact); 19] = [
        ("Recipe", |run| Some(run.recipe.as_ref()?.name.clone())),
        ("Digest of the recipe", recipe_digest),
        ("Encoder", encoder),
        ("World", world),
        ("Data", data),
        ("Steps", steps),
        ("State", state),
        ("Begun", |run| Some(moment(run.events.span?.0))),
        ("From first to last event", |run| {
            let (first, last) = run.events.span?;
            Some(duration((last - first) as f64 / 1e3))
        }),
        ("Of that in steps", |run| {
            (run.stepping_seconds > 0.0).then(|| duration(run.stepping_seconds))
        }),
        ("Loss, first and last", losses),
        ("Images a second, mean", speed),
        ("Waiting for data, mean", |run| {
            let mean = run.curves.data_wait.mean()?;
            Some(format!("{:.1} % of a step", mean * 100.0))
        }),
        ("Evaluated", evaluated),
        ("Regroups", regroups),
        ("Machines", machines),
        ("Checkpoints", checkpoints),
        ("Replaced files", replaced),
        ("Digest of the final state", |run| {
            run.events.state_digest.as_deref().map(short)
        }),
    ];
    let rows = of.into_iter().filter_map(|(name, of)| {
        let values: Vec<Option<String>> = runs.iter().map(of).collect();
        values.iter().any(Option::is_some).then(|| Row {
            name,
            values: values
                .into_iter()
                .map(|value| value.unwrap_or_else(|| "not known".to_owned()))
                .collect(),
        })
    });
    rows.collect()
}

/// How far a run is, in a few words.
pub(super) fn summary(run: &Run) -> String {
    let mut parts: Vec<String> = steps(run).into_iter().chain(state(run)).collect();
    if let Some((loss, _)) = run.curves.loss.mean_of_last(LOSS_STEPS) {
        parts.push(format!("loss {}", number(loss)));
    }
    parts.extend(best(&run.evaluations).map(told));
    parts.join(" · ")
}

/// A run of days as "1 d 2 h", of minutes as "1 min 17 s".
pub(super) fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    let units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    if seconds < 10.0 {
        return format!("{seconds:.1} s");
    }
    let Some(first) = units.iter().position(|&(unit, _)| whole >= unit) else {
        return format!("{whole} s");
    };
    let mut rest = whole;
    let mut text = Vec::new();
    for &(unit, name) in units.iter().skip(first).take(2) {
        if rest / unit > 0 {
            text.push(format!("{} {name}", rest / unit));
        }
        rest %= unit;
    }
    text.join(" ")
}

/// A moment, given in milliseconds since 1970, as "2026-11-25 18:14 UTC". By the proleptic Gregorian calendar, which counts years from
/// March on, so that the leap day comes last.
pub(super) fn moment(milliseconds: u64) -> String {
    let minutes = milliseconds / 60_000;
    let (days, minute) = (minutes / 1440, minutes % 1440);
    // Days since the first of March of the year 0.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, turn) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = year_of_era + era * 400 + turn;
    let (hour, minute) = (minute / 60, minute % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

fn recipe_digest(run: &Run) -> Option<String> {
    let digest = run.recipe.as_ref()?.recipe.as_ref()?.digest();
    Some(short(&digest.0))
}

fn short(digest: &str) -> String {
    digest.chars().take(16).collect()
}

fn encoder(run: &Run) -> Option<String> {
    let key = |key: &str| run.recipe.as_ref()?.keys.get(key).cloned();
    let (arch, pixels) = (key("arch")?, key("pixels")?);
    let channels = key("channels").filter(|channels| channels != "64");
    let narrow = channels.map_or_else(String::new, |channels| format!(", {channels} channels"));
    let dtype = key("dtype").unwrap_or_default();
    Some(format!("{arch}{narrow}, {pixels} × {pixels} pixels, {dtype}"))
}

fn world(run: &Run) -> Option<String> {
    let keys = &run.recipe.as_ref()?.keys;
    let world: u64 = keys.get("world")?.parse().ok()?;
    let batch = run.batch()?;
    let each = batch / world.max(1);
    Some(format!(
        "{world} ranks × {each} images = {} a step",
        grouped(batch as i64)
    ))
}

fn data(run: &Run) -> Option<String> {
    let n_samples = run
        .account
        .as_ref()
        .map(|account| account.n_samples)
        .filter(|&n| n > 0)?;
    let images = format!("{} images", grouped(n_samples as i64));
    Some(match run.steps_per_epoch() {
        Some(steps) => format!("{images}, {} steps an epoch", grouped(steps as i64)),
        None => images,
    })
}

fn steps(run: &Run) -> Option<String> {
    let last = run.last_step();
    if last == 0 && run.total_steps().is_none() {
        return None;
    }
    let done = grouped(last as i64);
    let Some(total) = run.total_steps() else {
        return Some(format!("{done} steps"));
    };
    let epochs = run.steps_per_epoch().map_or_else(String::new, |steps_per_epoch| {
        let part = |steps: u64| number((steps as f64 / steps_per_epoch as f64 * 100.0).round() / 100.0);
        if last == total {
            format!(", {} epochs", part(total))
        } else {
            format!(", {} of {} epochs", part(last), part(total))
        }
    });
    Some(format!("{done} of {} steps{epochs}", grouped(total as i64)))
}

fn state(run: &Run) -> Option<String> {
    let state = match run.events.ending.as_ref() {
        Some((kind, _)) if kind == "run_finished" => "finished".to_owned(),
        Some((kind, _)) if kind == "run_stopped" => "stopped".to_owned(),
        Some((_, text)) => text.clone(),
        None if run.events.span.is_some() => "not ended".to_owned(),
        None => return None,
    };
    Some(state)
}

fn losses(run: &Run) -> Option<String> {
    let first = run.curves.loss.bins().next()?.mean;
    let (last, n) = run.curves.loss.mean_of_last(LOSS_STEPS)?;
    Some(format!(
        "{} → {} (mean of the last {n})",
        number(first),
        number(last)
    ))
}

fn speed(run: &Run) -> Option<String> {
    let images = run.batch()? as f64 * run.n_steps as f64;
    (run.stepping_seconds > 0.0).then(|| number(images / run.stepping_seconds))
}

fn best(evaluations: &[Evaluation]) -> Option<&Evaluation> {
    evaluations
        .iter()
        .max_by(|one, other| one.top1.total_cmp(&other.top1))
}

fn told(evaluation: &Evaluation) -> String {
    let top1 = evaluation.top1 * 100.0;
    format!("{} {top1:.1} %", evaluation.kind())
}

fn evaluated(run: &Run) -> Option<String> {
    let best = best(&run.evaluations)?;
    let n = run.evaluations.len();
    let of = best
        .n_images
        .map_or_else(String::new, |n| format!(" of {} images", grouped(n as i64)));
    let last = run.evaluations.last().filter(|last| *last != best);
    let last = last.map_or_else(String::new, |last| {
        format!("; last: {} at step {}", told(last), last.step)
    });
    Some(format!(
        "{n} times; best: {}{of} at step {}{last}",
        told(best),
        best.step
    ))
}

fn regroups(run: &Run) -> Option<String> {
    run.last.as_ref()?.generation?;
    let n = run.regroups.len();
    if n == 0 {
        return Some("none".to_owned());
    }
    let seconds: Vec<f64> = run
        .regroups
        .iter()
        .filter_map(|regroup| regroup.seconds)
        .collect();
    let took = if seconds.is_empty() {
        String::new()
    } else {
        let total = seconds.iter().sum::<f64>();
        format!("; {} of them took {} together", seconds.len(), duration(total))
    };
    Some(format!("{n}{took}"))
}

fn machines(run: &Run) -> Option<String> {
    let mut names: Vec<String> = run.events.machines.clone();
    let placed = run.account.iter().flat_map(|account| &account.ledger.spans);
    for device in placed.flat_map(|span| &span.placement.devices) {
        let name = device.device.machine.to_string();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.sort();
    if names.is_empty() {
        return None;
    }
    let devices = run
        .account
        .iter()
        .filter_map(|account| account.ledger.spans.last());
    let devices = devices
        .map(|span| span.placement.devices.len())
        .next()
        .map_or_else(String::new, |n| format!("; last {n} devices"));
    const SHOWN: usize = 8;
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    if more > 0 {
        names.push(format!("and {more} more"));
    }
    Some(format!("{}{devices}", names.join(", ")))
}

fn checkpoints(run: &Run) -> Option<String> {
    if run.checkpoints.is_empty() && run.events.n_checkpoints == 0 {
        return None;
    }
    let steps: Vec<String> = run
        .checkpoints
        .iter()
        .rev()
        .take(5)
        .map(|name| grouped(name.step().0 as i64))
        .collect();
    let kept = if steps.is_empty() {
        "none kept".to_owned()
    } else {
        format!(
            "{} kept, newest first: steps {}",
            run.checkpoints.len(),
            steps.join(", ")
        )
    };
    Some(match run.events.n_checkpoints {
        0 => kept,
        n => format!("{n} written, {kept}"),
    })
}

fn replaced(run: &Run) -> Option<String> {
    let replaced = &run.account.as_ref()?.replaced;
    if replaced.is_empty() {
        return Some("none".to_owned());
    }
    const SHOWN: usize = 5;
    let mut names: Vec<String> = replaced
        .iter()
        .take(SHOWN)
        .map(|file| file.path.clone())
        .collect();
    if replaced.len() > SHOWN {
        names.push("…".to_owned());
    }
    Some(format!("{}: {}", replaced.len(), names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_calendar() {
        for (milliseconds, text) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_400_000, "2000-02-29 00:00 UTC"),
            (1_709_251_199_999, "2024-02-29 23:59 UTC"),
            (1_795_630_498_748, "2026-11-25 18:14 UTC"),
            (4_107_542_400_000, "2100-03-01 00:00 UTC"),
        ] {
            assert_eq!(moment(milliseconds), text);
        }
    }

    #[test]
    fn durations_have_two_units() {
        for (seconds, text) in [
            (0.84, "0.8 s"),
            (45.2, "45 s"),
            (77.0, "1 min 17 s"),
            (3600.0, "1 h"),
            (93_784.9, "1 d 2 h"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }
}
