//! Time: what happens when nothing happens.

use std::time::Duration;

use m2t_common::{MachineName, Timestamp};

use crate::machine::{Link, Machine};
use crate::phase::Phase;
use crate::{Core, Effect, EndCause, LostBy};

impl Core {
    /// When to send an [`Input::Tick`](crate::Input::Tick) at the latest; none while nothing is waited for.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let phase = match &self.phase {
            Phase::Gathering { n_available, since } => {
                let enough = *n_available >= self.settings.n_needed() && self.verifying.is_empty();
                let wait = if self.some_are_about_to_join() {
                    self.settings.patience()
                } else {
                    self.settings.grace()
                };
                enough.then(|| since.after(wait))
            }
            Phase::Recovering { until, .. }
            | Phase::Forming { until, .. }
            | Phase::Draining { until, .. } => Some(*until),
            Phase::Regrouping { since, until, .. } => {
                let ready = since.after(self.settings.replace_wait);
                [*until, ready].into_iter().filter(|at| *at > self.now).min()
            }
            Phase::Training { progressed, .. } => {
                let stalled = progressed.after(self.step_deadline());
                Some(self.growth_deadline().map_or(stalled, |grown| grown.min(stalled)))
            }
            Phase::Paused => None,
            Phase::Finished { .. } | Phase::Stopped { .. } | Phase::Failed(_) => None,
        };
        let timeout = self.settings.heartbeat_timeout();
        let machines = self.machines.values().map(|machine| lost_at(machine, timeout));
        machines.chain(phase).min()
    }

    /// Acts on every deadline that has passed; on none, does nothing.
    pub(crate) fn tick(&mut self, effects: &mut Vec<Effect>) {
        let timeout = self.settings.heartbeat_timeout();
        let overdue = self
            .machines
            .values()
            .filter(|machine| lost_at(machine, timeout) <= self.now);
        let lost: Vec<(MachineName, LostBy)> = overdue
            .map(|machine| (machine.name().clone(), seen_by(machine, timeout)))
            .collect();
        for (name, by) in lost {
            self.lose(&name, by, effects);
        }
        match &self.phase {
            Phase::Recovering { until, .. } if *until <= self.now => self.recovering_timed_out(effects),
            Phase::Forming { until, .. } if *until <= self.now => self.forming_timed_out(effects),
            Phase::Draining { until, .. } if *until <= self.now => self.draining_timed_out(effects),
            Phase::Training { progressed, .. } if progressed.after(self.step_deadline()) <= self.now => {
                self.stalled(effects);
            }
            _ => {}
        }
    }
}

impl Core {
    /// How long a step may take before its group counts as stuck: long until a few are measured, then many times the
    /// longest of the last ones. No shorter than ten heartbeat timeouts, for a checkpoint on a slow disk holds up a step.
    pub(crate) fn step_deadline(&self) -> Duration {
        let floor = self.settings.waits().step();
        match self.speed.longest_of_enough() {
            Some(longest) => (longest * 10).max(floor),
            None => self.settings.patience(),
        }
    }

    /// No step was committed for too long: somewhere in the group something hangs. Nobody knows where, for in a
    /// collective all wait for all; so all trainers end, the one that hangs by its daemon's kill.
    fn stalled(&mut self, effects: &mut Vec<Effect>) {
        let after = self.step_deadline();
        let step = self.committed.next();
        self.end_generation(EndCause::Stalled { step, after }, effects);
    }
}

/// When a machine counts as lost, if nothing is heard of it until then.
fn lost_at(machine: &Machine, timeout: Duration) -> Timestamp {
    match machine.link {
        Link::Up(_) => machine.heard.after(timeout),
        Link::Down { until } => until,
    }
}

fn seen_by(machine: &Machine, timeout: Duration) -> LostBy {
    match machine.link {
        Link::Up(_) => LostBy::Silence(timeout),
        Link::Down { .. } => LostBy::Disconnection(timeout),
    }
}
