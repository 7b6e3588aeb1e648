//! News of devices. What they say of a generation counts if it is the current one, or the one that was until another is formed.

use m2t_common::report::{News, Rendezvous};
use m2t_common::{DeviceId, Generation, Step};

use crate::evaluations::Evaluating;
use crate::group::{LiveGroup, Stage};
use crate::machine::Idle;
use crate::phase::Phase;
use crate::{Core, DrainReason, Effect, EndCause, Notice};

impl Core {
    /// One piece of news.
    pub(crate) fn news(
        &mut self,
        device: &DeviceId,
        generation: Generation,
        news: News,
        effects: &mut Vec<Effect>,
    ) {
        match news {
            News::Warm => self.device_warm(device),
            News::Held { step, broken } => self.device_holds(device, generation, (step, broken), effects),
            News::Failed { reason } => self.device_failed(device, generation, reason, effects),
            News::Checkpointed(report) if !self.is_current(device, generation) => {
                self.late_checkpoint(device, report, effects);
            }
            news if self.is_current(device, generation) => self.group_news(device, news, effects),
            _ => {}
        }
    }

    /// Whether news of this device in this generation count.
    fn is_current(&self, device: &DeviceId, generation: Generation) -> bool {
        let group = self.phase.heard();
        group.is_some_and(|group| group.generation == generation && group.members.contains_key(device))
    }

    /// News of a member of the group.
    fn group_news(&mut self, device: &DeviceId, news: News, effects: &mut Vec<Effect>) {
        match news {
            News::Rendezvous { rendezvous } => self.meet(device, rendezvous, effects),
            News::Ready { step } => self.device_ready(device, step, effects),
            News::Stepped(mut report) => {
                self.reach(device, Stage::Running);
                let digest = report.state_digest.take().map(|digest| (report.step, digest));
                self.consumed(report.step, std::mem::take(&mut report.samples));
                self.stepped(device, report, effects);
                self.train_when_ready(effects);
                if let Some((step, digest)) = digest {
                    self.state_said(device, step, digest, effects);
                }
            }
            News::Checkpointed(report) => self.checkpointed(device, report, effects),
            News::CheckpointFailed { step, reason } => self.checkpoint_failed(step, reason, effects),
            News::SlowFiles { files } => self.slow_files(device, files, effects),
            News::Evaluating { step, done, of } => self.evaluating(device, Evaluating { step, done, of }),
            News::Evaluated(evaluation) => self.evaluated(device, evaluation, effects),
            News::EvaluationFailed { step, reason } => {
                self.evaluation_failed(device, (step, reason), effects);
            }
            News::Stopped { step } => {
                self.reach(device, Stage::Stopped);
                self.arrive(device, step, effects);
                self.train_when_ready(effects);
            }
            News::Finished { step, state_digest } => {
                self.device_finished(device, step, state_digest, effects);
            }
            News::Warm | News::Held { .. } | News::Failed { .. } => {}
        }
    }

    /// The first device made the meeting point: every member is told.
    fn meet(&mut self, device: &DeviceId, rendezvous: Rendezvous, effects: &mut Vec<Effect>) {
        let Some(group) = self.phase.heard_mut() else {
            return;
        };
        if group.rendezvous.is_none() && group.placement.first() == Some(device) {
            group.rendezvous = Some(rendezvous);
            if let Some(marks) = &mut self.marks {
                marks.met = self.now;
            }
            self.assign_all(effects);
        }
    }

    fn device_ready(&mut self, device: &DeviceId, step: Step, effects: &mut Vec<Effect>) {
        let start = self.phase.group().map_or(Step(0), LiveGroup::start);
        if step < start {
            let reason = format!("it stands at step {step}, but the generation starts at step {start}");
            let generation = self.history.generation;
            return self.device_failed(device, generation, reason, effects);
        }
        self.reach(device, Stage::Running);
        self.train_when_ready(effects);
    }

    fn device_finished(&mut self, device: &DeviceId, step: Step, digest: String, effects: &mut Vec<Effect>) {
        self.reach(device, Stage::Finished);
        if let Some(group) = self.phase.heard_mut() {
            group.final_digest.get_or_insert(digest);
        }
        self.arrive(device, step, effects);
        self.train_when_ready(effects);
        if matches!(self.phase, Phase::Forming { .. } | Phase::Training { .. }) {
            self.begin_drain(DrainReason::LastStep, effects);
        }
    }

    /// A trainer left its group with its state in memory: told to, at a boundary, or because the group broke under it.
    fn device_holds(
        &mut self,
        device: &DeviceId,
        generation: Generation,
        (step, broken): (Step, Option<String>),
        effects: &mut Vec<Effect>,
    ) {
        self.set_idle(device, Idle::Warm);
        if !self.is_current(device, generation) {
            return;
        }
        self.survivor_holds(device, step);
        if self.phase.group().is_none() {
            return;
        }
        self.reach(device, Stage::Held);
        self.arrive(device, step, effects);
        let drains = matches!(self.phase, Phase::Draining { .. });
        if broken.is_some() || !drains {
            let device = device.clone();
            let reason = broken.unwrap_or_else(|| "it left the group".to_owned());
            self.end_generation(EndCause::Broken { device, reason }, effects);
        }
    }

    /// A trainer is gone. One that has nothing more to do may end as it likes.
    fn device_failed(
        &mut self,
        device: &DeviceId,
        generation: Generation,
        reason: String,
        effects: &mut Vec<Effect>,
    ) {
        let active = self
            .phase
            .group()
            .filter(|group| group.generation == generation || group.counts_on(device, generation));
        let stage = active
            .and_then(|group| group.members.get(device))
            .map(|member| member.stage);
        match stage {
            Some(stage) if stage >= Stage::Stopped => {}
            Some(_) => {
                self.set_idle(device, Idle::Failed);
                self.count_failure(device, &reason, effects);
                let device = device.clone();
                self.end_generation(EndCause::TrainerFailed { device, reason }, effects);
            }
            None => self.idle_failed(device, generation, reason, effects),
        }
    }

    /// Moves a member down its stages; never up.
    fn reach(&mut self, device: &DeviceId, stage: Stage) {
        if let Some(member) = self
            .phase
            .heard_mut()
            .and_then(|group| group.members.get_mut(device))
        {
            member.stage = member.stage.max(stage);
        }
    }

    fn train_when_ready(&mut self, effects: &mut Vec<Effect>) {
        match std::mem::replace(&mut self.phase, Phase::gathering()) {
            Phase::Forming { group, .. } | Phase::Recovering { group, .. }
                if group.before(Stage::Running).is_empty() =>
            {
                let generation = group.generation;
                let progressed = self.now;
                self.phase = Phase::Training {
                    group,
                    progressed,
                    spare_since: None,
                };
                if let Some(marks) = &mut self.marks {
                    marks.ready = self.now;
                }
                self.note(Notice::Training { generation }, effects);
                self.assign_all(effects);
            }
            other => self.phase = other,
        }
    }
}
