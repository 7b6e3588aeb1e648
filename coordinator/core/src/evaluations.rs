//! What the devices find out, now and then, about the worth of the encoders.
//!
//! An evaluation is no part of a step: it may be done twice, after a regroup at just that step, and counts once. While it lasts no step is
//! committed, so its rounds are what shows that nothing hangs.

use m2t_common::evaluation::{Evaluation, EvaluationLine, Method, Side};
use m2t_common::{DeviceId, Step};

use crate::phase::Phase;
use crate::{Core, Effect, Notice};

/// An evaluation under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evaluating {
    /// Of which step.
    pub(crate) step: Step,
    /// Rounds done.
    pub(crate) done: u64,
    /// Rounds in all.
    pub(crate) of: u64,
}

impl Core {
    /// The group is at an evaluation: that is progress, as a step is.
    pub(crate) fn evaluating(&mut self, device: &DeviceId, evaluating: Evaluating) {
        if !self.speaks_for_all(device) {
            return;
        }
        self.evaluating = Some(evaluating).filter(|evaluating| evaluating.done < evaluating.of);
        let patience = self.settings.patience();
        match &mut self.phase {
            Phase::Training { progressed, .. } => *progressed = self.now,
            Phase::Draining { until, .. } => *until = (*until).max(self.now.after(patience)),
            _ => {}
        }
    }

    /// The group found out what an encoder is worth.
    pub(crate) fn evaluated(&mut self, device: &DeviceId, evaluation: Evaluation, effects: &mut Vec<Effect>) {
        let Evaluation {
            step,
            encoder,
            method,
            ..
        } = evaluation;
        let is_known = |line: &EvaluationLine| line.is_kin(encoder, method) && line.step >= step;
        let Some(plan) = &self.plan else {
            return;
        };
        let is_possible = step.0 > 0 && step.0 <= plan.schedule.total_steps;
        if !self.speaks_for_all(device) || !is_possible || self.evaluations.iter().any(is_known) {
            return;
        }
        let epoch = step.0 / plan.shards.steps_per_epoch();
        let line = EvaluationLine::new(
            &evaluation,
            (epoch, self.history.generation),
            self.settings.recipe.run.neighbours(),
        );
        self.evaluations.push(line.clone());
        self.note(Notice::Evaluated { epoch, evaluation }, effects);
        effects.push(Effect::Evaluated(Box::new(line)));
    }

    /// The group could not find out.
    pub(crate) fn evaluation_failed(
        &mut self,
        device: &DeviceId,
        (step, reason): (Step, String),
        effects: &mut Vec<Effect>,
    ) {
        if self.speaks_for_all(device) {
            self.evaluating = None;
            self.note(Notice::EvaluationFailed { step, reason }, effects);
        }
    }

    /// The next generation does the steps after `after` again, and their evaluations.
    pub(crate) fn cut_evaluations(&mut self, after: Step) {
        self.evaluating = None;
        self.evaluations.retain(|line| line.step <= after);
    }

    /// The newest figure of each encoder and method.
    pub(crate) fn newest_evaluations(&self) -> Vec<EvaluationLine> {
        let newest = |encoder, method| {
            let mut kin = self
                .evaluations
                .iter()
                .filter(|line| line.is_kin(encoder, method));
            kin.next_back().cloned()
        };
        let sides = [Side::Teacher, Side::Student, Side::Random];
        let methods = [Method::Knn, Method::Probe, Method::Linear];
        sides
            .into_iter()
            .flat_map(|side| methods.map(|method| (side, method)))
            .filter_map(|(side, method)| newest(side, method))
            .collect()
    }

    /// What all devices of a group know, its first says.
    fn speaks_for_all(&self, device: &DeviceId) -> bool {
        let group = self.phase.heard();
        group.is_some_and(|group| group.placement.first() == Some(device))
    }
}
