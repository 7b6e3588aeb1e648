//! The data folder and the output folder.

use std::io::ErrorKind;
use std::time::Duration;

use m2t_common::Recipe;

use super::super::estimate::Estimate;
use super::super::facts::{Data, Output, Presence, Probe, ProbeError, Wanted};
use super::super::finding::Finding;
use super::{counted, size, some_of};

/// A checkpoint should not take longer to write.
const CHECKPOINT_WITHIN: f64 = 60.0;

pub(super) fn data(data: Option<&Result<Data, String>>, recipe: &Recipe) -> [Finding; 2] {
    let none = |why: &str| Finding::skip("decoding", why);
    match data {
        None => [
            Finding::skip("data", "no --data was named"),
            none("no --data was named"),
        ],
        Some(Err(reason)) => [Finding::error("data", reason), none("there is no data")],
        Some(Ok(data)) => [index(data, recipe), decoding(data)],
    }
}

fn index(data: &Data, recipe: &Recipe) -> Finding {
    const CHECK: &str = "data";
    let found = format!(
        "N = {} images of {}, fingerprint {}",
        data.n_samples,
        counted(u64::from(data.n_classes), "class folder"),
        data.fingerprint
    );
    if let Err(error) = recipe.plan(data.n_samples) {
        return Finding::error(CHECK, &format!("{found}: {error}")).lenient();
    }
    match &data.not_kept {
        None => Finding::ok(CHECK, found),
        Some(reason) => Finding::warn(
            CHECK,
            format!("{found}; its index could not be kept ({reason}), so every trainer walks the folder"),
            "set M2T_CACHE to a folder that can be written",
        ),
    }
}

fn decoding(data: &Data) -> Finding {
    const CHECK: &str = "decoding";
    let sampled = &data.sampled;
    let seconds = sampled.took.as_secs_f64().max(1e-9);
    let n_good = sampled.n_files - sampled.damaged.len() as u64;
    let found = format!(
        "{n_good} of {} sampled files decode, {:.0} images/s, {:.1} MB/s",
        sampled.n_files,
        sampled.n_files as f64 / seconds,
        sampled.bytes as f64 / 1e6 / seconds
    );
    if sampled.damaged.is_empty() {
        return Finding::ok(CHECK, found);
    }
    let named = some_of(
        sampled
            .damaged
            .iter()
            .map(|file| format!("{}: {}", file.path.display(), file.reason)),
    );
    let found = format!("{found}; {named}");
    let mend = "m2t data check DIR names every such file; repair or remove them";
    if n_good == 0 {
        Finding::bad(CHECK, found, mend)
    } else {
        Finding::warn(CHECK, found, mend)
    }
}

pub(super) fn output(
    output: Option<&Result<Output, String>>,
    wanted: &Wanted,
    estimate: Estimate,
) -> [Finding; 2] {
    let none = |why: &str| Finding::skip("output-space", why);
    match output {
        None => [
            Finding::skip("output", "no --output was named"),
            none("no --output was named"),
        ],
        Some(Err(reason)) => [
            Finding::error("output", reason),
            none("there is no output folder"),
        ],
        Some(Ok(output)) => [writing(output, estimate), space(output, wanted, estimate)],
    }
}

fn writing(output: &Output, estimate: Estimate) -> Finding {
    const CHECK: &str = "output";
    let folder = output.folder.display();
    let place = match output.presence {
        Presence::Absent => format!("{folder} (the folder itself is made by the coordinator)"),
        Presence::Unmarked | Presence::Marked => folder.to_string(),
    };
    match &output.probe {
        Ok(probe) => {
            let speed = speed(probe);
            let found = format!(
                "{place}: {} written, synced, renamed and read back; {:.0} MB/s to the disk",
                size(probe.bytes),
                speed / 1e6
            );
            let seconds = estimate.checkpoint as f64 / speed;
            if seconds > CHECKPOINT_WITHIN {
                let found = format!(
                    "{found}; a checkpoint of {} takes {seconds:.0} s",
                    size(estimate.checkpoint)
                );
                return Finding::warn(
                    CHECK,
                    found,
                    "take a faster file system for --output, or fewer checkpoints (run.checkpoint_every)",
                );
            }
            Finding::ok(CHECK, found)
        }
        Err(ProbeError { doing, kind, reason }) => Finding::bad(
            CHECK,
            format!("{place}: cannot {doing} a file: {reason}"),
            way_out(*kind),
        ),
    }
}

/// Bytes a second.
fn speed(probe: &Probe) -> f64 {
    let least = Duration::from_micros(1);
    probe.bytes as f64 / probe.wrote_in.max(least).as_secs_f64()
}

fn way_out(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room there",
        ErrorKind::PermissionDenied => "let this user write there (chown, chmod), or name another --output",
        ErrorKind::ReadOnlyFilesystem => "mount it for writing, or name another --output",
        ErrorKind::NotADirectory | ErrorKind::NotFound => "name a folder with --output",
        _ => "look at the file system (dmesg), or name another --output",
    }
}

/// One checkpoint is written while another is kept; below that nothing is.
fn space(output: &Output, wanted: &Wanted, estimate: Estimate) -> Finding {
    const CHECK: &str = "output-space";
    let kept = u64::from(wanted.recipe.run.keep_checkpoints) + 1;
    let (least, usual) = (2 * estimate.checkpoint, kept * estimate.checkpoint);
    let found = format!(
        "{} free; a checkpoint of {} takes about {}, and {kept} are there at most",
        size(output.free),
        wanted.recipe.name,
        size(estimate.checkpoint)
    );
    let mend = "make room, name another --output, or lower run.keep_checkpoints";
    if output.free < least {
        Finding::bad(CHECK, found, mend)
    } else if output.free < usual {
        Finding::warn(CHECK, found, mend)
    } else {
        Finding::ok(CHECK, found)
    }
}

/// The coordinator leaves a mark in its folder; without it, this one is another of the same name.
pub(super) fn shared(output: Option<&Result<Output, String>>, joins: bool) -> Finding {
    const CHECK: &str = "output-shared";
    match output {
        Some(Ok(output)) if joins => match output.presence {
            Presence::Marked => Finding::ok(CHECK, "a coordinator's mark is seen from here"),
            Presence::Unmarked | Presence::Absent => Finding::bad(
                CHECK,
                format!(
                    "no coordinator's mark is seen in {} from here",
                    output.folder.display()
                ),
                "mount the coordinator's output folder at the same path on every machine, and name it with --output",
            ),
        },
        _ => Finding::skip(CHECK, "needs --output and a --coordinator that answers"),
    }
}
