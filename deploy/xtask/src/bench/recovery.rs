//! How long a run stands still after a fault: from the kill to the next step that all devices completed.
//!
//! One run serves all faults of a case. Each time it must be back at its full size and have settled before the next fault;
//! the faults meet the step at evenly spread moments. The product does all the recovering: the bench only kills, and
//! starts again or heals what it took away.

mod fleet;
mod phases;

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use m2t_common::status::{PhaseName, Status};
use serde::Serialize;

use super::Bench;
use super::line::{Line, Recovered, median};
use crate::fleet::in_short;
use crate::fleet::machines::Machines;
use crate::fleet::steps::Steps;
use fleet::Fleet;

/// How often metrics.jsonl is looked at while a step is awaited.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// How often the status is asked for; each time costs a process.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// Steps at full size before a fault.
const SETTLED: usize = 8;
/// A run that stands still for so long has not recovered.
const PATIENCE: Duration = Duration::from_secs(120);

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(super) enum Case {
    /// SIGKILL to one trainer process.
    Trainer,
    /// SIGKILL to a daemon; its trainers die with it.
    Daemon,
    /// A machine is cut off the network.
    Cut,
}

/// Measures a case; nothing, after a line on standard error, where it cannot be.
pub(super) fn measure(bench: &Bench<'_>, case: Case, runs: u32) -> Result<Option<Line>> {
    let machines = match case {
        Case::Cut => match Machines::make(&fleet::DAEMONS) {
            Ok(machines) => Some(machines),
            Err(error) => {
                eprintln!("skipped: case cut: no machines out of network namespaces here: {error:#}");
                return Ok(None);
            }
        },
        Case::Trainer | Case::Daemon => None,
    };
    let name = format!("{case:?}").to_lowercase();
    let mut course = Course::begin(bench, &name, machines)?;
    let mut faults = Vec::new();
    for run in 0..runs {
        let share = (f64::from(run) + 0.5) / f64::from(runs);
        let fault = course.measure_fault(case, share).with_context(|| {
            format!(
                "case {name}; its logs are in {}",
                bench.work.join(&name).display()
            )
        })?;
        eprintln!(
            "{name} {} of {runs}: {:.3} s to the next step, {} steps done again, a step takes {:.3} s",
            run + 1,
            fault.seconds,
            fault.steps_lost,
            fault.step_seconds
        );
        faults.push(fault);
    }
    Ok(Some(Line::of(case, &faults)))
}

/// A run under way.
struct Course<'a> {
    bench: &'a Bench<'a>,
    fleet: Fleet<'a>,
    steps: Steps,
}

impl<'a> Course<'a> {
    fn begin(bench: &'a Bench<'a>, name: &str, machines: Option<Machines>) -> Result<Self> {
        let fleet = Fleet::start(bench, bench.work.join(name), machines)?;
        let steps = Steps::follow(fleet.output().join("metrics.jsonl"));
        Ok(Self { bench, fleet, steps })
    }

    fn measure_fault(&mut self, case: Case, share_of_step: f64) -> Result<Recovered> {
        let generation = self.wait_for_full_size()?;
        let step_seconds = self.settle(generation)?;
        // A line has just come: the next step has just begun.
        std::thread::sleep(Duration::from_secs_f64(step_seconds * share_of_step));
        let (killed, killed_at) = (Instant::now(), SystemTime::now());
        match case {
            Case::Trainer => self.fleet.kill_trainer()?,
            Case::Daemon => self.fleet.kill_daemon()?,
            Case::Cut => self.fleet.cut()?,
        }
        let next = self.wait_for_step("the first step after the fault", |steps| {
            steps.first_after(generation)
        })?;
        let before = self.steps.last_up_to(generation);
        match case {
            Case::Trainer => {}
            Case::Daemon => self.fleet.start_daemon_again()?,
            Case::Cut => self.fleet.heal()?,
        }
        let took = next.at.duration_since(killed);
        Ok(Recovered {
            seconds: took.as_secs_f64(),
            step_seconds,
            steps_lost: (before + 1).saturating_sub(next.step),
            phases: phases::after(&self.fleet.output().join("events.jsonl"), killed_at, took)?,
        })
    }

    /// Waits until every rank has a device of its own; the generation that has.
    fn wait_for_full_size(&mut self) -> Result<u64> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.fleet.status();
            if let Some(status) = &status
                && is_full(status)
            {
                return Ok(status.generation.0);
            }
            if Instant::now() > deadline {
                bail!(
                    "the run did not come back to its full size; {}",
                    in_short(status.as_ref())
                );
            }
            self.look_around()?;
            std::thread::sleep(ASK_EVERY);
        }
    }

    /// Waits for enough steps of a generation, returning as soon as the last of them is there; the median time of a step.
    fn settle(&mut self, generation: u64) -> Result<f64> {
        let n_before = self.steps.stamps_of(generation).len();
        let stamps = self.wait_for_step("steps at full size", |steps| {
            let stamps = steps.stamps_of(generation);
            (stamps.len() > n_before + SETTLED).then_some(stamps)
        })?;
        // Only those whose arrival was watched: what was read in one go has no times of its own.
        let watched = &stamps[n_before..];
        let gaps: Vec<f64> = watched
            .windows(2)
            .map(|pair| (pair[1] - pair[0]).as_secs_f64())
            .collect();
        Ok(median(&gaps))
    }

    fn wait_for_step<T>(&mut self, what: &str, found: impl Fn(&Steps) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.steps.look()?;
            if let Some(found) = found(&self.steps) {
                return Ok(found);
            }
            if Instant::now() > deadline {
                bail!(
                    "never saw {what} in {} s; {}",
                    PATIENCE.as_secs(),
                    in_short(self.fleet.status().as_ref())
                );
            }
            self.look_around()?;
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn look_around(&mut self) -> Result<()> {
        self.bench.interrupt.check()?;
        self.steps.look()?;
        self.fleet.require_coordinator()
    }
}

fn is_full(status: &Status) -> bool {
    let devices = status.machines.iter().flat_map(|machine| &machine.devices);
    let n_training = devices.filter(|device| device.ranks.len() == 1).count();
    status.phase == PhaseName::Training && n_training == status.world as usize
}
