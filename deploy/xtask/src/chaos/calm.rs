//! A run without faults, on one machine.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::Chaos;
use super::fleet::{Fleet, folder};
use super::setting::{Pace, Place};
use crate::fleet::in_short;
use crate::fleet::steps::Steps;

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// A calm run that stands still for so long is none.
const STALL: Duration = Duration::from_secs(60);
/// Steps of the run that only measures, and those at its beginning that do not count.
const N_PILOT: u64 = 30;
const N_WARM_UP: u64 = 10;

/// The time of a step without faults.
pub(super) fn step_time(chaos: &Chaos<'_>) -> Result<Duration> {
    let mut begun = None;
    let mut last = None;
    follow(chaos, "pilot", N_PILOT, |steps| {
        if let Some(seen) = steps.last().filter(|seen| seen.step >= N_WARM_UP) {
            begun = begun.or(Some(seen));
            last = Some(seen);
        }
    })?;
    match (begun, last) {
        (Some(begun), Some(last)) if last.step > begun.step => {
            let n_steps = u32::try_from(last.step - begun.step)?;
            Ok(last.at.duration_since(begun.at) / n_steps)
        }
        _ => bail!(
            "the run that measures the time of a step was over before it could be watched; give --steps"
        ),
    }
}

/// Runs to the end; the output folder.
pub(super) fn run(chaos: &Chaos<'_>, name: &str, n_steps: u64) -> Result<PathBuf> {
    follow(chaos, name, n_steps, |_| {})
}

fn follow(chaos: &Chaos<'_>, name: &str, n_steps: u64, mut watch: impl FnMut(&Steps)) -> Result<PathBuf> {
    chaos.setting.set_pace(&chaos.work, Pace::Calm)?;
    let places = [Place {
        name: "calm".to_owned(),
        n_devices: if chaos.setting.fake { 1 } else { 2 },
    }];
    let mut fleet = Fleet::start(chaos, folder(chaos, name), n_steps, &places, None)?;
    fleet.start_daemon(0)?;
    let mut steps = Steps::follow(fleet.output().join("metrics.jsonl"));
    let began = Instant::now();
    loop {
        let ended = fleet.coordinator_ended()?;
        steps.look()?;
        watch(&steps);
        if let Some(status) = ended {
            let log = fleet.coordinator_log();
            ensure!(
                status.success(),
                "the run without faults failed ({status}); its log is {}",
                log.display()
            );
            return Ok(fleet.output());
        }
        let alive = steps.last().map_or(began, |seen| seen.at);
        ensure!(
            alive.elapsed() < STALL,
            "the run without faults stands still; {}",
            in_short(fleet.status().as_ref())
        );
        chaos.interrupt.check()?;
        std::thread::sleep(LOOK_EVERY);
    }
}
