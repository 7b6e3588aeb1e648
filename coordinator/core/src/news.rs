//! News of devices. Only those of the current generation's members change anything.

use m2t_common::report::{News, Rendezvous};
use m2t_common::{DeviceId, Generation, Step};

use crate::group::Stage;
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
        let group = self.phase.group();
        let current =
            group.is_some_and(|group| group.generation == generation && group.members.contains_key(device));
        if !current {
            return self.late_news(device, generation, news, effects);
        }
        match news {
            News::Rendezvous { rendezvous } => self.meet(device, rendezvous, effects),
            News::Ready { step } => self.device_ready(device, step, effects),
            News::Stepped(report) => {
                self.reach(device, Stage::Running);
                self.stepped(device, report, effects);
                self.train_when_ready(effects);
            }
            News::Checkpointed(report) => self.checkpointed(device, report, effects),
            News::CheckpointFailed { step, reason } => self.checkpoint_failed(step, reason, effects),
            News::Stopped { step } => {
                self.reach(device, Stage::Stopped);
                self.arrive(device, step, effects);
            }
            News::Finished { step, state_digest } => {
                self.device_finished(device, step, state_digest, effects);
            }
            News::Failed { reason } => self.device_failed(device, reason, effects),
        }
    }

    /// Of what comes late only a failure in the generation that has just ended is told: that "a peer is gone" may arrive
    /// before the word of the trainer that broke the group, and people want the cause.
    fn late_news(
        &mut self,
        device: &DeviceId,
        generation: Generation,
        news: News,
        effects: &mut Vec<Effect>,
    ) {
        let newest = self.history.generation;
        let just_ended =
            generation.next() == newest || (generation == newest && self.phase.group().is_none());
        if let (true, News::Failed { reason }) = (just_ended, news) {
            let device = device.clone();
            self.note(
                Notice::AlsoFailed {
                    generation,
                    device,
                    reason,
                },
                effects,
            );
        }
    }

    /// The first device made the meeting point: every member is told.
    fn meet(&mut self, device: &DeviceId, rendezvous: Rendezvous, effects: &mut Vec<Effect>) {
        let Some(group) = self.phase.group_mut() else {
            return;
        };
        if group.rendezvous.is_none() && group.placement.first() == Some(device) {
            group.rendezvous = Some(rendezvous);
            self.assign_all(effects);
        }
    }

    fn device_ready(&mut self, device: &DeviceId, step: Step, effects: &mut Vec<Effect>) {
        let start = self.phase.group().map_or(Step(0), |group| group.start);
        if step < start {
            let reason = format!("it stands at step {step}, but the generation starts at step {start}");
            return self.device_failed(device, reason, effects);
        }
        self.reach(device, Stage::Running);
        self.train_when_ready(effects);
    }

    fn device_finished(&mut self, device: &DeviceId, step: Step, digest: String, effects: &mut Vec<Effect>) {
        self.reach(device, Stage::Finished);
        if let Some(group) = self.phase.group_mut() {
            group.final_digest.get_or_insert(digest);
        }
        self.arrive(device, step, effects);
        if matches!(self.phase, Phase::Forming { .. } | Phase::Training { .. }) {
            self.begin_drain(DrainReason::LastStep, effects);
        }
    }

    /// A trainer that has nothing more to do may end as it likes.
    fn device_failed(&mut self, device: &DeviceId, reason: String, effects: &mut Vec<Effect>) {
        let stage = self
            .phase
            .group()
            .and_then(|group| group.members.get(device))
            .map(|member| member.stage);
        if stage.is_some_and(|stage| stage < Stage::Stopped) {
            let device = device.clone();
            self.end_generation(EndCause::TrainerFailed { device, reason }, effects);
        }
    }

    /// Moves a member down its stages; never up.
    fn reach(&mut self, device: &DeviceId, stage: Stage) {
        if let Some(member) = self
            .phase
            .group_mut()
            .and_then(|group| group.members.get_mut(device))
        {
            member.stage = member.stage.max(stage);
        }
    }

    fn train_when_ready(&mut self, effects: &mut Vec<Effect>) {
        match std::mem::replace(&mut self.phase, Phase::gathering()) {
            Phase::Forming { group, .. } if group.before(Stage::Running).is_empty() => {
                let generation = group.generation;
                let progressed = self.now;
                self.phase = Phase::Training { group, progressed };
                self.note(Notice::Training { generation }, effects);
            }
            other => self.phase = other,
        }
    }
}
