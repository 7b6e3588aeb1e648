//! The ways a run ends, and the drain that comes before: all devices stop after the same step, with a checkpoint.

use m2t_common::Step;
use m2t_common::machine_link::{Outcome, ToMachine};

use crate::assignments::say_last;
use crate::group::Stage;
use crate::phase::Phase;
use crate::{Core, DrainReason, Effect, EndCause, Failure, Notice, Record};

impl Core {
    /// The coordinator was asked to stop. What trains drains first; a generation that only forms has nothing to lose.
    pub(crate) fn stop(&mut self, effects: &mut Vec<Effect>) {
        match &mut self.phase {
            Phase::Training { .. } => self.begin_drain(DrainReason::Stop, effects),
            Phase::Draining { why, .. } if *why != DrainReason::LastStep => *why = DrainReason::Stop,
            Phase::Draining { .. } => {}
            Phase::Gathering { .. } | Phase::Forming { .. } | Phase::Paused => self.stopped(effects),
            Phase::Finished { .. } | Phase::Stopped { .. } | Phase::Failed(_) => {}
        }
    }

    /// The group stops at the next step boundary. Bounded, so that nothing waits for ever.
    pub(crate) fn begin_drain(&mut self, why: DrainReason, effects: &mut Vec<Effect>) {
        let until = self.now.after(self.settings.patience());
        match std::mem::replace(&mut self.phase, Phase::gathering()) {
            Phase::Forming { group, .. } | Phase::Training { group, .. } => {
                self.phase = Phase::Draining { group, why, until };
                self.note(Notice::Draining { why }, effects);
                self.assign_all(effects);
            }
            other => self.phase = other,
        }
    }

    /// Ends a drain when every device has stopped and its checkpoint is verified.
    pub(crate) fn settle_drain(&mut self, effects: &mut Vec<Effect>) {
        let Phase::Draining { group, why, .. } = &self.phase else {
            return;
        };
        if !group.before(Stage::Stopped).is_empty() || !self.verifying.is_empty() {
            return;
        }
        let finished = group.before(Stage::Finished).is_empty();
        let (why, step, digest) = (*why, self.committed, group.final_digest.clone());
        match (finished, digest, why) {
            (true, Some(digest), _) => self.finish(step, digest, effects),
            (_, _, DrainReason::Stop) => self.stopped(effects),
            (
                _,
                _,
                DrainReason::Leaving | DrainReason::Pause | DrainReason::LastStep | DrainReason::TooDamaged,
            ) => {
                self.end_generation(EndCause::Drained { step }, effects);
            }
        }
    }

    /// Some devices did not stop in time: the generation ends without them.
    pub(crate) fn draining_timed_out(&mut self, effects: &mut Vec<Effect>) {
        let devices = self
            .phase
            .group()
            .map(|group| group.before(Stage::Stopped))
            .unwrap_or_default();
        let after = self.settings.patience();
        self.end_generation(EndCause::NotDrained { devices, after }, effects);
    }

    /// All steps are done.
    pub(crate) fn finish(&mut self, step: Step, state_digest: String, effects: &mut Vec<Effect>) {
        // A device that says so has its last step in a checkpoint, also where the word of that was lost.
        self.count_upto(step, effects);
        self.persist(
            Record::Finished {
                step,
                state_digest: state_digest.clone(),
            },
            effects,
        );
        self.end(
            Phase::Finished { step },
            Notice::Finished { step, state_digest },
            effects,
        );
    }

    /// Stopped by hand.
    pub(crate) fn stopped(&mut self, effects: &mut Vec<Effect>) {
        let resume_from = self.history.start_step();
        self.end(
            Phase::Stopped { resume_from },
            Notice::Stopped { resume_from },
            effects,
        );
    }

    /// Cannot go on.
    pub(crate) fn fail(&mut self, failure: Failure, effects: &mut Vec<Effect>) {
        self.end(Phase::Failed(failure.clone()), Notice::Failed(failure), effects);
    }

    /// The run is over for this coordinator: every machine is told.
    fn end(&mut self, phase: Phase, notice: Notice, effects: &mut Vec<Effect>) {
        self.phase = phase;
        let outcome = self.phase.outcome().unwrap_or(Outcome::Stopped);
        self.note(notice, effects);
        for machine in std::mem::take(&mut self.machines).values() {
            if let Some(stream) = machine.stream() {
                say_last(stream, ToMachine::Dismiss(outcome), effects);
            }
        }
        self.streams.clear();
        effects.push(Effect::Exit(outcome));
    }
}
