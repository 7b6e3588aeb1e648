//! The status as a text for a terminal. A pure function of the status.

use std::fmt::Write;
use std::time::Duration;

use m2t_common::report::Stage;
use m2t_common::status::{DeviceStatus, Event, MachineStatus, PhaseName, Progress, Status};
use m2t_common::{Rank, Timestamp};

/// How many of the newest events are shown.
const SHOWN_EVENTS: usize = 8;
const BAR: usize = 40;

/// The status, several lines without a trailing line feed.
pub fn render(status: &Status) -> String {
    let mut text = head(status);
    if let Some(progress) = &status.progress {
        text.push('\n');
        text.push_str(&advance(progress));
    }
    let checkpoint = status.checkpoint.as_ref().map_or_else(
        || "checkpoint    none yet".to_owned(),
        |checkpoint| {
            let cost = checkpoint.cost.told();
            format!(
                "checkpoint    {}  digest {}{}",
                checkpoint.name,
                short(&checkpoint.state_digest),
                cost.map_or(String::new(), |cost| format!("  {cost}"))
            )
        },
    );
    text.push_str(&checkpoint);
    text.push('\n');
    for figure in &status.evaluations {
        let epoch = figure.epoch;
        let _ = writeln!(text, "worth         {figure}, after epoch {epoch}");
    }
    text.push('\n');
    text.push_str(&columns(&machine_rows(&status.machines)));
    text.push_str(&slow_files(&status.machines));
    if !status.waits.is_empty() {
        let wait = |(name, wait): &(String, Duration)| format!("{name} {:.1} s", wait.as_secs_f64());
        let waits: Vec<String> = status.waits.iter().map(wait).collect();
        let _ = writeln!(text, "\nwaits         {}", waits.join(", "));
    }
    if !status.events.is_empty() {
        text.push('\n');
        let from = status.events.len().saturating_sub(SHOWN_EVENTS);
        let rows: Vec<Vec<String>> = status.events[from..].iter().map(event_row).collect();
        text.push_str(&columns(&rows));
    }
    printable(text.trim_end())
}

fn head(status: &Status) -> String {
    let phase = phase_name(status.phase);
    let batch = u64::from(status.world) * u64::from(status.batch_per_rank);
    let mut text = format!("run           {}\nphase         {phase}", status.experiment);
    if !status.reason.is_empty() {
        let _ = write!(text, ": {}", status.reason);
    }
    let _ = write!(
        text,
        "\ngeneration    {}\nworld         {} ranks of {} images (batch {batch}), on at least {} devices\n",
        status.generation, status.world, status.batch_per_rank, status.min_devices
    );
    text
}

/// The phase in a word, for people.
pub(super) fn phase_name(phase: PhaseName) -> &'static str {
    match phase {
        PhaseName::Gathering => "gathering",
        PhaseName::Forming => "forming",
        PhaseName::Training => "training",
        PhaseName::Recovering => "recovering",
        PhaseName::Draining => "draining",
        PhaseName::Regrouping => "regrouping",
        PhaseName::Paused => "paused",
        PhaseName::Finished => "finished",
        PhaseName::Stopped => "stopped",
        PhaseName::Failed => "failed",
    }
}

fn advance(progress: &Progress) -> String {
    let n_epochs = progress.total_steps.div_ceil(progress.steps_per_epoch.max(1));
    let done = progress.step.0 as f64 / progress.total_steps.max(1) as f64;
    let filled = ((done * BAR as f64) as usize).min(BAR);
    let epoch = (progress.epoch + 1).min(n_epochs.max(1));
    let loss = progress
        .loss
        .map_or_else(|| "none yet".to_owned(), |loss| format!("{loss:.4}"));
    let remaining = progress.remaining.map_or_else(|| "unknown yet".to_owned(), span);
    let mut text = format!(
        "[{}{}] {:.1} %\n",
        "#".repeat(filled),
        "-".repeat(BAR - filled),
        done * 100.0
    );
    let _ = write!(
        text,
        "epoch         {epoch} of {n_epochs}, step {} of {} in it\n\
         step          {} of {}\n\
         loss          {loss}\n\
         learning rate {:.6}\n\
         momenta       parameters {:.6}, statistics {:.6}\n\
         speed         {:.1} images/s, {:.1} % of a step waiting for data{}\n\
         remaining     {remaining}\n",
        progress.step_in_epoch,
        progress.steps_per_epoch,
        progress.step,
        progress.total_steps,
        progress.learning_rate,
        progress.parameter_momentum,
        progress.statistics_momentum,
        progress.images_per_second,
        progress.data_wait * 100.0,
        progress
            .bottleneck
            .map_or_else(String::new, |stage| format!(", for {}", long_name(stage))),
    );
    if progress.replaced > 0 {
        let _ = writeln!(
            text,
            "replaced      {} files that could not be read",
            progress.replaced
        );
    }
    text
}

/// A loader's stage, for people.
fn long_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Read => "reading (the storage)",
        Stage::Decode => "decoding",
        Stage::Augment => "augmentation",
    }
}

/// The files whose reading takes long, a line each.
fn slow_files(machines: &[MachineStatus]) -> String {
    let mut text = String::new();
    for machine in machines {
        for device in &machine.devices {
            for file in &device.slow_files {
                let _ = writeln!(
                    text,
                    "slow file     {file}, read by device {}/{}",
                    machine.name, device.index
                );
            }
        }
    }
    text
}

fn machine_rows(machines: &[MachineStatus]) -> Vec<Vec<String>> {
    let titles = [
        "MACHINE",
        "ADDRESS",
        "DEVICE",
        "KIND",
        "RANKS",
        "IMAGES",
        "STEP",
        "DATA WAIT",
        "STATE",
    ];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    for machine in machines {
        let state = format!("{} (heard {} ago)", machine.state, span(machine.silent_for));
        let names = [machine.name.to_string(), machine.address.clone()];
        for (i, device) in machine.devices.iter().enumerate() {
            let [name, address] = if i == 0 { names.clone() } else { Default::default() };
            let mut row = vec![name, address];
            row.extend(device_cells(device));
            row.push(if i == 0 { state.clone() } else { String::new() });
            rows.push(row);
        }
    }
    if machines.is_empty() {
        rows.push(vec!["none yet".to_owned()]);
    }
    rows
}

fn device_cells(device: &DeviceStatus) -> [String; 6] {
    let (ranks, shard) = if device.ranks.is_empty() {
        ("-".to_owned(), "-".to_owned())
    } else {
        (
            rank_list(&device.ranks),
            format!("{}..{}", device.shard.start, device.shard.end),
        )
    };
    [
        device.index.to_string(),
        device.kind.clone(),
        ranks,
        shard,
        device.step.to_string(),
        match device.bottleneck {
            Some(stage) => format!("{:.1} % {stage}", device.data_wait * 100.0),
            None => format!("{:.1} %", device.data_wait * 100.0),
        },
    ]
}

/// `0-3` where the ranks leave no gap, else one by one.
pub(super) fn rank_list(ranks: &[Rank]) -> String {
    match ranks {
        [Rank(first), .., Rank(last)] if (last - first) as usize == ranks.len() - 1 => {
            format!("{first}-{last}")
        }
        _ => ranks
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(","),
    }
}

fn event_row(event: &Event) -> Vec<String> {
    vec![time_of_day(event.at), event.text.clone()]
}

/// Left-aligned columns, two spaces between them.
fn columns(rows: &[Vec<String>]) -> String {
    let n_columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |i: usize| {
        rows.iter()
            .filter_map(|row| row.get(i))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..n_columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A duration in two units at most.
pub(super) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    match (hours, minutes) {
        (0, 0) => format!("{:.1} s", duration.as_secs_f64()),
        (0, _) => format!("{minutes} min {} s", seconds % 60),
        (..48, _) => format!("{hours} h {minutes} min"),
        _ => format!("{} d {} h", hours / 24, hours % 24),
    }
}

pub(super) fn time_of_day(at: Timestamp) -> String {
    let seconds = at.0 / 1000 % 86_400;
    format!(
        "{:02}:{:02}:{:02} UTC",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

pub(super) fn short(digest: &str) -> String {
    digest.chars().take(16).collect()
}

/// What a machine or a trainer said must not steer the terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\n' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
