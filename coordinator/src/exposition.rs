//! `/metrics`: status, chronicle and evaluations as Prometheus' text format 0.0.4. A pure function of them.
//!
//! Names begin with `m2t_` and end with their base unit; shares are ratios from 0 to 1. What is not known yet (a loss before the
//! first step, say) has no sample. Counters begin at 0 with each start of the coordinator, as Prometheus expects.
//!
//! Why no registry: every number but the tally's is in the status already, and a registry would be a second place that has to be kept true.

mod text;

use std::collections::BTreeMap;

use m2t_common::evaluation::{EvaluationLine, Method, Side};
use m2t_common::status::{MachineStatus, PhaseName, Progress, Status};

use crate::chronicle::{Chronicle, Kept, RECOVERY_BOUNDS, Tally};
use text::{Histogram, Text};

/// The format of [`render`].
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const PHASES: [PhaseName; 10] = [
    PhaseName::Gathering,
    PhaseName::Forming,
    PhaseName::Recovering,
    PhaseName::Regrouping,
    PhaseName::Training,
    PhaseName::Draining,
    PhaseName::Paused,
    PhaseName::Finished,
    PhaseName::Stopped,
    PhaseName::Failed,
];

/// What machines are at, as the status begins to say it: alerts need those that none is at, too.
const STATES: [&str; 10] = [
    "training",
    "starting",
    "draining",
    "ready",
    "spare",
    "checking data",
    "leaving",
    "connection lost",
    "set aside",
    "cannot train",
];

/// Everything there is to scrape. Reads the file of evaluations.
pub(crate) fn render(status: &Status, chronicle: &Chronicle) -> String {
    let mut text = Text::default();
    run(&mut text, status);
    if let Some(progress) = &status.progress {
        advance(&mut text, progress);
    }
    counts(&mut text, &chronicle.tally());
    machines(&mut text, &status.machines);
    if let Some(checkpoint) = chronicle.newest_checkpoint() {
        newest_checkpoint(&mut text, &checkpoint);
    }
    evaluations(&mut text, &chronicle.evaluations());
    text.finish()
}

fn run(text: &mut Text, status: &Status) {
    text.gauge("m2t_build_info", "The coordinator's build; always 1.")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    text.gauge("m2t_run_info", "The run's experiment; always 1.")
        .sample(&[("experiment", &status.experiment)], 1.0);
    let mut phases = text.gauge(
        "m2t_phase",
        "Where the run stands: 1 for its phase, 0 for the others.",
    );
    for phase in PHASES {
        let value = if phase == status.phase { 1.0 } else { 0.0 };
        phases.sample(&[("phase", &name_of(phase))], value);
    }
    text.gauge(
        "m2t_generation",
        "The number of the present placement; 0 before the first.",
    )
    .value(status.generation.0 as f64);
    text.gauge("m2t_world_ranks", "Ranks of the run.")
        .value(f64::from(status.world));
    text.gauge("m2t_min_devices", "The fewest devices the run goes on with.")
        .value(f64::from(status.min_devices));
}

/// A phase as JSON has it.
fn name_of(phase: PhaseName) -> String {
    let json = serde_json::to_value(phase).unwrap_or_default();
    json.as_str().unwrap_or_default().to_owned()
}

fn advance(text: &mut Text, progress: &Progress) {
    text.gauge("m2t_step", "Committed steps.")
        .value(progress.step.0 as f64);
    text.gauge("m2t_last_step", "The run's last step.")
        .value(progress.total_steps as f64);
    text.gauge("m2t_epoch", "The epoch of the next step, from 0.")
        .value(progress.epoch as f64);
    if let Some(loss) = progress.loss {
        text.gauge("m2t_loss", "Mean loss of the last committed step.")
            .value(loss);
    }
    text.gauge("m2t_learning_rate", "Learning rate of the next step.")
        .value(progress.learning_rate);
    text.gauge(
        "m2t_images_per_second",
        "Images a second over all ranks, of the last committed step.",
    )
    .value(progress.images_per_second);
    text.gauge(
        "m2t_data_wait_ratio",
        "Share of the last committed step that the worst device waited for data.",
    )
    .value(progress.data_wait);
    if let Some(remaining) = progress.remaining {
        text.gauge(
            "m2t_remaining_seconds",
            "Until the last step, at the present speed.",
        )
        .value(remaining.as_secs_f64());
    }
    text.gauge(
        "m2t_replaced_files",
        "Files replaced because they cannot be decoded.",
    )
    .value(progress.replaced as f64);
}

fn counts(text: &mut Text, tally: &Tally) {
    for (name, help, n) in [
        (
            "m2t_steps_committed_total",
            "Steps committed; those done again count again.",
            tally.n_steps,
        ),
        ("m2t_regroups_total", "Generations that ended.", tally.n_regroups),
        (
            "m2t_machines_lost_total",
            "Machines that were lost.",
            tally.n_lost_machines,
        ),
        (
            "m2t_checkpoints_total",
            "Checkpoints written and verified.",
            tally.n_checkpoints,
        ),
        (
            "m2t_checkpoints_failed_total",
            "Checkpoints that could not be written, or were damaged.",
            tally.n_failed_checkpoints,
        ),
    ] {
        text.counter(name, help).value(n as f64);
    }
    text.histogram(
        "m2t_recovery_seconds",
        "From the end of a generation to the first committed step of the next.",
        &Histogram {
            bounds: &RECOVERY_BOUNDS,
            counts: &tally.recoveries,
            sum: tally.recovering.as_secs_f64(),
        },
    );
}

fn machines(text: &mut Text, machines: &[MachineStatus]) {
    let mut n_devices: BTreeMap<&str, usize> = STATES.iter().map(|state| (*state, 0)).collect();
    for machine in machines {
        *n_devices.entry(standing(&machine.state)).or_default() += machine.devices.len();
    }
    let mut devices = text.gauge("m2t_devices", "Devices by what their machine is at.");
    for (state, n) in n_devices {
        devices.sample(&[("state", &state.replace(' ', "_"))], n as f64);
    }
    let hosting = machines
        .iter()
        .flat_map(|machine| &machine.devices)
        .filter(|device| !device.ranks.is_empty())
        .count();
    text.gauge("m2t_devices_with_ranks", "Devices of the present placement.")
        .value(hosting as f64);
    let mut silent = text.gauge(
        "m2t_machine_silent_seconds",
        "Since a machine's last sign of life.",
    );
    for machine in machines {
        silent.sample(
            &[("machine", machine.name.as_str())],
            machine.silent_for.as_secs_f64(),
        );
    }
    let mut waits = text.gauge(
        "m2t_device_data_wait_ratio",
        "Share of its last steps that a device waited for data.",
    );
    for machine in machines {
        for device in machine.devices.iter().filter(|device| !device.ranks.is_empty()) {
            let labels = [
                ("machine", machine.name.as_str()),
                ("device", &device.index.to_string()),
            ];
            waits.sample(&labels, device.data_wait);
        }
    }
}

/// What a machine's state begins with: the rest are the reasons and times of that machine.
fn standing(state: &str) -> &str {
    state.split([':', ';']).next().unwrap_or_default()
}

fn newest_checkpoint(text: &mut Text, checkpoint: &Kept) {
    text.gauge(
        "m2t_checkpoint_last_step",
        "The step of the newest complete checkpoint.",
    )
    .value(checkpoint.step.0 as f64);
    if let Some(at) = checkpoint.at {
        text.gauge(
            "m2t_checkpoint_last_timestamp_seconds",
            "When the newest checkpoint was found to be complete, since the Unix epoch.",
        )
        .value(at.0 as f64 / 1e3);
    }
    if checkpoint.cost.bytes == 0 {
        return;
    }
    text.gauge(
        "m2t_checkpoint_last_seconds",
        "How long writing the newest checkpoint took, beside training.",
    )
    .value(checkpoint.cost.write_seconds);
    text.gauge(
        "m2t_checkpoint_last_stall_seconds",
        "How long training stood for the newest checkpoint.",
    )
    .value(checkpoint.cost.stall_seconds);
    text.gauge(
        "m2t_checkpoint_last_bytes",
        "Bytes of the newest checkpoint's state.",
    )
    .value(checkpoint.cost.bytes as f64);
}

/// The newest of each encoder and method.
fn evaluations(text: &mut Text, evaluations: &[EvaluationLine]) {
    let key = |line: &EvaluationLine| (line.encoder, line.method);
    let newest: BTreeMap<(Side, Method), &EvaluationLine> =
        evaluations.iter().map(|line| (key(line), line)).collect();
    if newest.is_empty() {
        return;
    }
    let mut write = |name, help, value: fn(&EvaluationLine) -> f64| {
        let mut family = text.gauge(name, help);
        for ((encoder, method), line) in &newest {
            let labels = [
                ("encoder", &*encoder.to_string()),
                ("method", &*method.to_string()),
            ];
            family.sample(&labels, value(line));
        }
    };
    write(
        "m2t_evaluation_top1_ratio",
        "Share of held-out images put in their class, of the newest evaluation.",
        |line| line.top1,
    );
    write(
        "m2t_evaluation_top5_ratio",
        "Share of held-out images that had their class among the five likeliest, of the newest evaluation.",
        |line| line.top5,
    );
    write(
        "m2t_evaluation_step",
        "The step whose state was evaluated.",
        |line| line.step.0 as f64,
    );
}

#[cfg(test)]
mod tests;
