//! Committed steps: a step counts once every device of the generation has reported it, and its numbers go out once.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use m2t_common::report::StepReport;
use m2t_common::{DeviceId, Step};

use crate::effect::CommittedStep;
use crate::phase::Phase;
use crate::{Core, Effect, Notice, Recovery};

/// How long the last steps took.
#[derive(Debug, Default)]
pub(crate) struct Speed {
    recent: VecDeque<Duration>,
}

impl Speed {
    const WINDOW: usize = 20;

    /// One more step.
    fn add(&mut self, duration: Duration) {
        if self.recent.len() == Self::WINDOW {
            self.recent.pop_front();
        }
        self.recent.push_back(duration);
    }

    /// Mean duration of the last steps, in seconds; none before the first.
    pub(crate) fn seconds_per_step(&self) -> Option<f64> {
        let n_steps = self.recent.len();
        let total: f64 = self.recent.iter().map(Duration::as_secs_f64).sum();
        (n_steps > 0).then(|| total / n_steps as f64)
    }

    /// The longest of the last steps; none before enough are measured to judge by.
    pub(crate) fn longest_of_enough(&self) -> Option<Duration> {
        const ENOUGH: usize = 5;
        let longest = self.recent.iter().max().copied();
        longest.filter(|_| self.recent.len() >= ENOUGH)
    }

    /// Forgets: the next generation has other devices.
    pub(crate) fn clear(&mut self) {
        self.recent.clear();
    }
}

impl Core {
    /// A device reports a step. A step it reported before, or one beyond the run, is dropped.
    pub(crate) fn stepped(&mut self, device: &DeviceId, report: StepReport, effects: &mut Vec<Effect>) {
        let last = self
            .plan
            .as_ref()
            .map_or(Step(0), |plan| Step(plan.schedule.total_steps));
        let (committed, published) = (self.committed, self.published);
        let Some(member) = self
            .phase
            .heard_mut()
            .and_then(|group| group.members.get_mut(device))
        else {
            return;
        };
        let step = report.step;
        if step > last || member.reports.contains_key(&step) {
            return;
        }
        if step <= published {
            member.step = member.step.max(step);
            return;
        }
        member.data_wait = share(report.data_wait, report.duration);
        member.bottleneck = report.bottleneck;
        if step <= committed {
            // It was known to be committed before anybody told its numbers: by a checkpoint, say.
            member.step = member.step.max(step);
            return self.publish(vec![report], effects);
        }
        let files = report.replaced.clone();
        member.reports.insert(step, report);
        self.replaced(&files, effects);
        self.arrive(device, step, effects);
    }

    /// A device stands at `step`; commits what that completes.
    pub(crate) fn arrive(&mut self, device: &DeviceId, step: Step, effects: &mut Vec<Effect>) {
        let Some(group) = self.phase.heard_mut() else {
            return;
        };
        if let Some(member) = group.members.get_mut(device) {
            member.step = member.step.max(step);
        }
        let lowest = group.members.values().map(|member| member.step).min();
        self.commit(lowest.unwrap_or_default(), effects);
    }

    /// Commits every step up to `upto`. The numbers are those of the device of rank 0, or of the next one that has them.
    pub(crate) fn commit(&mut self, upto: Step, effects: &mut Vec<Effect>) {
        if upto <= self.committed {
            return;
        }
        self.committed = upto;
        if let Phase::Training { progressed, .. } = &mut self.phase {
            *progressed = self.now;
        }
        self.fruitless = 0;
        self.evaluating = None;
        self.last_step_at = self.now;
        let Some(group) = self.phase.heard_mut() else {
            return;
        };
        let order: Vec<DeviceId> = group
            .placement
            .devices
            .iter()
            .map(|placed| placed.device.clone())
            .collect();
        let reported = group
            .members
            .values()
            .flat_map(|member| member.reports.keys().copied());
        let steps: BTreeSet<Step> = reported.filter(|&step| step <= upto).collect();
        for step in steps {
            let Some(group) = self.phase.heard_mut() else {
                return;
            };
            let mut take = |device| {
                group
                    .members
                    .get_mut(device)
                    .and_then(|member| member.reports.remove(&step))
            };
            let reports: Vec<StepReport> = order.iter().filter_map(&mut take).collect();
            if step > self.published {
                self.publish(reports, effects);
            }
        }
    }

    /// The regroup that this step, the first of its generation, ends.
    fn recovered(&mut self, step: Step, effects: &mut Vec<Effect>) -> Option<Recovery> {
        let group = self.phase.group()?;
        let (generation, is_first) = (group.generation, step > group.start());
        let marks = self.marks.filter(|_| is_first)?;
        self.marks = None;
        let recovery = marks.end(self.now);
        self.note(Notice::Recovered { generation, recovery }, effects);
        Some(recovery)
    }

    /// Sends out one committed step, of which at least one report is there.
    fn publish(&mut self, reports: Vec<StepReport>, effects: &mut Vec<Effect>) {
        let wait = |report: &StepReport| (share(report.data_wait, report.duration), report.bottleneck);
        let worst = reports.iter().map(wait).max_by(|a, b| a.0.total_cmp(&b.0));
        let (data_wait, bottleneck) = worst.unwrap_or_default();
        let slowest = reports
            .iter()
            .map(|report| report.duration)
            .max()
            .unwrap_or_default();
        let (Some(report), Some(plan)) = (reports.into_iter().next(), &self.plan) else {
            return;
        };
        self.speed.add(slowest);
        self.published = report.step;
        let done = Step(report.step.0.saturating_sub(1));
        let total_steps = plan.schedule.total_steps;
        let left = total_steps.saturating_sub(report.step.0) as f64;
        let seconds = slowest.as_secs_f64();
        let committed = CommittedStep {
            generation: self.history.generation,
            epoch: plan.shards.epoch(done),
            step_in_epoch: plan.shards.step_in_epoch(done),
            steps_per_epoch: plan.shards.steps_per_epoch(),
            total_steps,
            rates: plan.schedule.at(done),
            images_per_second: if seconds > 0.0 {
                plan.shards.global_batch() as f64 / seconds
            } else {
                0.0
            },
            data_wait,
            bottleneck,
            recovery: self.recovered(report.step, effects),
            remaining_seconds: left * self.speed.seconds_per_step().unwrap_or(0.0),
            report,
        };
        self.latest = Some(committed.clone());
        effects.push(Effect::Metrics(Box::new(committed)));
    }
}

/// The share `part` has in `whole`, 0 to 1; 0 of nothing.
fn share(part: Duration, whole: Duration) -> f64 {
    if whole.is_zero() {
        return 0.0;
    }
    (part.as_secs_f64() / whole.as_secs_f64()).min(1.0)
}
