//! The status: the state as plain data, with reasons in words.

use std::ops::Range;
use std::time::Duration;

use m2t_common::recipe::Plan;
use m2t_common::status::{DeviceStatus, MachineStatus, Progress, Status};
use m2t_common::{DeviceId, Rank, Step};

use crate::Core;
use crate::evaluations::Evaluating;
use crate::group::{LiveGroup, Stage};
use crate::machine::{Link, Machine, Standing};
use crate::phase::Phase;
use crate::reason::{list, start_of};

impl Core {
    /// Everything there is to see, as of the last input.
    pub fn status(&self) -> Status {
        let training = &self.settings.recipe.training;
        Status {
            experiment: self.settings.recipe.name.clone(),
            at: self.now,
            phase: self.phase.name(),
            reason: self.reason(),
            generation: self.history.generation,
            world: training.world,
            batch_per_rank: training.batch_per_rank,
            min_devices: self.settings.min_devices,
            waits: self.waits(),
            machines: self
                .machines
                .values()
                .map(|machine| self.machine_status(machine))
                .collect(),
            progress: self.plan.as_ref().map(|plan| self.progress(plan)),
            checkpoint: self.history.newest().cloned(),
            evaluations: self.newest_evaluations(),
            events: self.events.iter().cloned().collect(),
        }
    }

    /// The ladder of waits, as it is now: a step's deadline follows the steps that were measured.
    fn waits(&self) -> Vec<(String, Duration)> {
        let now = |(name, wait): (&str, Duration)| {
            let wait = if name == "step" {
                self.step_deadline()
            } else {
                wait
            };
            (name.to_owned(), wait)
        };
        self.settings.waits().ladder().into_iter().map(now).collect()
    }

    /// Why the run stands where it stands, and a checkpoint that could not be written as long as none was written since.
    fn reason(&self) -> String {
        let reason = self.phase_reason();
        match (&self.unwritten, &self.phase) {
            (Some((step, why)), Phase::Training { .. } | Phase::Draining { .. }) => {
                format!("{reason}; the checkpoint of step {step} could not be written: {why}")
            }
            _ => reason,
        }
    }

    fn phase_reason(&self) -> String {
        match &self.phase {
            Phase::Gathering { .. } => self.waiting().to_string(),
            Phase::Forming { group, .. } => {
                let (start, behind) = (
                    start_of(group.generation, &group.start_from),
                    group.before(Stage::Running),
                );
                let (n, n_ready) = (group.members.len(), group.members.len() - behind.len());
                format!(
                    "{start}: {n_ready} of {n} devices ready; waiting for {}",
                    list(&behind)
                )
            }
            Phase::Recovering { group, .. } => {
                let behind = group.before(Stage::Running);
                format!(
                    "generation {} may train on; waiting to hear of {}",
                    group.generation,
                    list(&behind)
                )
            }
            Phase::Regrouping { group, survivors, .. } => {
                let asked: Vec<DeviceId> = survivors
                    .iter()
                    .filter(|(_, step)| step.is_none())
                    .map(|(device, _)| device.clone())
                    .collect();
                if asked.is_empty() {
                    format!("generation {} is over; {}", group.generation, self.waiting())
                } else {
                    format!(
                        "generation {} is over; asking {} for its state",
                        group.generation,
                        list(&asked)
                    )
                }
            }
            Phase::Training { group, .. } => {
                let evaluating = self
                    .evaluating
                    .map_or_else(String::new, |Evaluating { step, done, of }| {
                        format!("; evaluating the state of step {step}: {done} of {of} rounds done")
                    });
                format!(
                    "{} on {} devices{evaluating}",
                    start_of(group.generation, &group.start_from),
                    group.members.len()
                )
            }
            Phase::Draining { group, why, .. } => {
                let behind = group.before(Stage::Held);
                let (n, n_stopped) = (group.members.len(), group.members.len() - behind.len());
                let rest = if behind.is_empty() {
                    "the checkpoint".to_owned()
                } else {
                    list(&behind)
                };
                format!("{why}; {n_stopped} of {n} devices stopped; waiting for {rest}")
            }
            Phase::Paused => {
                let ready = self.machines.values().filter(|machine| self.may_train(machine));
                let n: usize = ready.map(|machine| machine.hello.devices.len()).sum();
                let at = self.history.start_step();
                let why = self.history.no_majority.map_or_else(String::new, |step| {
                    format!(
                        " because at step {step} the states of the devices differed and none was that of most; \
                         steps after {at} are done again"
                    )
                });
                format!("paused at step {at}, with {n} devices ready{why}; m2t resume goes on")
            }
            Phase::Finished { step } => format!("all {step} steps are done"),
            Phase::Stopped { resume_from } => {
                format!("stopped by hand; the same command continues from step {resume_from}")
            }
            Phase::Failed(failure) => failure.to_string(),
        }
    }

    fn progress(&self, plan: &Plan) -> Progress {
        let next = self.committed;
        let rates = plan.schedule.at(next);
        let latest = self.latest.as_ref();
        let left = plan.schedule.total_steps.saturating_sub(next.0);
        // Before the first step of a generation there is no speed to judge by.
        let remaining = self.speed.seconds_per_step().and_then(|seconds| {
            let seconds = seconds * left as f64;
            Duration::try_from_secs_f64(seconds).ok()
        });
        Progress {
            step: next,
            total_steps: plan.schedule.total_steps,
            epoch: plan.shards.epoch(next),
            step_in_epoch: plan.shards.step_in_epoch(next),
            steps_per_epoch: plan.shards.steps_per_epoch(),
            loss: latest.map(|latest| latest.report.loss),
            learning_rate: rates.learning_rate,
            parameter_momentum: rates.parameter_momentum,
            statistics_momentum: rates.statistics_momentum,
            images_per_second: latest.map_or(0.0, |latest| latest.images_per_second),
            data_wait: latest.map_or(0.0, |latest| latest.data_wait),
            bottleneck: latest.and_then(|latest| latest.bottleneck),
            remaining,
            replaced: self.history.damaged.len() as u64,
        }
    }

    fn machine_status(&self, machine: &Machine) -> MachineStatus {
        let device = |facts: &m2t_common::machine_link::DeviceFacts| {
            let id = DeviceId {
                machine: machine.name().clone(),
                index: facts.index,
            };
            self.device_status(&id, &facts.kind)
        };
        MachineStatus {
            name: machine.name().clone(),
            address: machine.hello.address.to_string(),
            state: self.machine_state(machine),
            silent_for: self.now.since(machine.heard),
            devices: machine.hello.devices.iter().map(device).collect(),
        }
    }

    fn machine_state(&self, machine: &Machine) -> String {
        let member = self
            .phase
            .group()
            .is_some_and(|group| group.has_machine(machine.name()));
        match (&machine.standing, machine.link, &self.phase) {
            (_, Link::Down { until }, _) => {
                let left = until.since(self.now).as_secs_f64();
                format!("connection lost; waited for another {left:.1} s")
            }
            (Standing::Checking, ..) => "checking data".to_owned(),
            (Standing::Unable { reason }, ..) => format!("cannot train: {reason}"),
            (Standing::Leaving, ..) => "leaving".to_owned(),
            (Standing::Ready(_), ..) if self.history.set_aside.contains_key(machine.name()) => {
                let reason = self
                    .history
                    .set_aside
                    .get(machine.name())
                    .map_or("", String::as_str);
                format!("set aside: {reason}")
            }
            (Standing::Ready(_), _, Phase::Forming { .. }) if member => "starting".to_owned(),
            (Standing::Ready(_), _, Phase::Draining { .. }) if member => "draining".to_owned(),
            (Standing::Ready(_), _, _) if member => "training".to_owned(),
            (Standing::Ready(_), _, Phase::Gathering { .. } | Phase::Regrouping { .. } | Phase::Paused) => {
                "ready".to_owned()
            }
            (Standing::Ready(_), ..) => "spare".to_owned(),
        }
    }

    fn device_status(&self, device: &DeviceId, kind: &str) -> DeviceStatus {
        let group = self.phase.group();
        let member = group.and_then(|group| group.members.get(device));
        let ranks = group.map(|group| ranks_of(group, device)).unwrap_or_default();
        DeviceStatus {
            index: device.index,
            kind: kind.to_owned(),
            shard: self.shard_of(&ranks),
            ranks,
            step: member.map_or(Step(0), |member| member.step),
            data_wait: member.map_or(0.0, |member| member.data_wait),
            bottleneck: member.and_then(|member| member.bottleneck),
            slow_files: member.map(|member| member.slow_files.clone()).unwrap_or_default(),
        }
    }

    /// The positions of each global batch that these ranks compute; they are contiguous.
    fn shard_of(&self, ranks: &[Rank]) -> Range<u64> {
        let (Some(plan), Some(&first), Some(&last)) = (&self.plan, ranks.first(), ranks.last()) else {
            return 0..0;
        };
        plan.shards.positions_in_batch(first).start..plan.shards.positions_in_batch(last).end
    }
}

fn ranks_of(group: &LiveGroup, device: &DeviceId) -> Vec<Rank> {
    let placed = group
        .placement
        .devices
        .iter()
        .find(|placed| placed.device == *device);
    placed.map(|placed| placed.ranks.clone()).unwrap_or_default()
}
