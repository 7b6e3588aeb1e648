//! Time: what happens when nothing happens.

use std::time::Duration;

use m2t_common::{MachineName, Timestamp};

use crate::machine::{Link, Machine};
use crate::phase::Phase;
use crate::{Core, Effect, LostBy};

impl Core {
    /// When to send an [`Input::Tick`](crate::Input::Tick) at the latest; none while nothing is waited for.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let phase = match &self.phase {
            Phase::Gathering { n_available, since } => {
                let in_grace = *n_available >= self.settings.n_needed() && !self.some_are_about_to_join();
                let ready = in_grace && self.verifying.is_empty();
                ready.then(|| since.after(self.settings.grace()))
            }
            Phase::Forming { until, .. } | Phase::Draining { until, .. } => Some(*until),
            Phase::Training { .. } => None,
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
            Phase::Forming { until, .. } if *until <= self.now => self.forming_timed_out(effects),
            Phase::Draining { until, .. } if *until <= self.now => self.draining_timed_out(effects),
            _ => {}
        }
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
