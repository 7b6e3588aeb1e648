//! The course of the daemon itself: signs of life, leaving, ending.

use std::time::Duration;

use m2t_common::machine_link::{Assignment, FromMachine, Work};
use m2t_common::{Generation, Timestamp};

use m2t_common::waits::Waits;

use super::seat::Seat;
use super::{Course, Effect, Link, Notice, Supervisor};
use crate::ending::Ending;

/// How long a finished daemon waits for its coordinator, in heartbeat timeouts.
const UNHEARD: u32 = 40;

/// The heartbeat timeout until the coordinator has named it.
const UNNAMED_TIMEOUT: Duration = Duration::from_secs(3);

impl Supervisor {
    /// First signal: leave with the group. Second: at once.
    pub(super) fn stop_requested(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let is_training = self.seats.values().any(Seat::keeps_state);
        match &self.course {
            Course::Staying if self.link == Link::Down && !is_training => {
                self.end(now, Ending::Stopped, effects);
            }
            Course::Staying => {
                effects.push(Effect::Notify(Notice::Leaving));
                self.ask_to_leave(now, effects);
            }
            Course::Leaving { .. } | Course::Ending(_) => {
                effects.extend(self.seats.values().filter_map(Seat::key).map(Effect::Kill));
                effects.push(Effect::Exit(Ending::Stopped));
            }
        }
    }

    /// Asks the coordinator to drain the group. Nobody drains a group that does not train, nor for a machine that is
    /// not heard: then the daemon leaves after the heartbeat timeout, unless it is heard again before.
    pub(super) fn ask_to_leave(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let is_training = self.seats.values().any(Seat::keeps_state);
        let within = if is_training && self.link == Link::Admitted {
            self.waits().drained()
        } else {
            self.heartbeat_timeout()
        };
        self.course = Course::Leaving {
            until: now.after(within),
        };
        if self.link == Link::Admitted {
            self.send(now, FromMachine::Leaving, effects);
        }
    }

    /// Ends all trainers, then the daemon. The first reason to end stands.
    pub(super) fn end(&mut self, now: Timestamp, ending: Ending, effects: &mut Vec<Effect>) {
        if !matches!(self.course, Course::Ending(_)) {
            self.course = Course::Ending(ending);
            self.reconcile(now, effects);
        }
    }

    /// The coordinator has another run: nothing of the one before counts, its generations least of all.
    pub(super) fn forget_run(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        effects.push(Effect::Notify(Notice::AnotherRun));
        self.assignment = Assignment {
            generation: Generation(0),
            work: Work::Idle,
        };
        for seat in self.seats.values_mut() {
            seat.end(now, effects);
            seat.forget();
        }
    }

    pub(super) fn tick(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let is_due = |seat: &Seat| seat.deadline().is_some_and(|deadline| deadline <= now);
        let is_any_due = self.seats.values().any(is_due);
        for seat in self.seats.values_mut() {
            seat.tick(now, effects);
        }
        if is_any_due {
            self.reconcile(now, effects);
        }
        if self.finished_unheard_at().is_some_and(|deadline| deadline <= now) {
            let silence = now.since(self.last_heard);
            effects.push(Effect::Notify(Notice::FinishedUnheard { silence }));
            self.end(now, Ending::Finished, effects);
        }
        if let Course::Leaving { until } = self.course
            && until <= now
        {
            effects.push(Effect::Notify(Notice::LeftWithoutDrain));
            self.end(now, Ending::Stopped, effects);
        }
        if self.heartbeat_due().is_some_and(|due| due <= now) {
            self.send(now, FromMachine::Heartbeat, effects);
        }
    }

    /// When the daemon ends although nobody dismissed it: its trainers did the last step of the run, and the coordinator, which
    /// would have said so, has been away for long. It has nothing to tell that the output folder does not.
    pub(super) fn finished_unheard_at(&self) -> Option<Timestamp> {
        let assigned = self.assignment.generation;
        let mut logs = self.seats.values().map(Seat::log);
        let is_finished = logs.any(|log| log.generation() == assigned && log.is_finished());
        let is_training = self.seats.values().any(Seat::is_in_group);
        let is_unheard = self.link != Link::Admitted && !matches!(self.course, Course::Ending(_));
        (is_finished && !is_training && is_unheard)
            .then(|| self.last_heard.after(self.heartbeat_timeout() * UNHEARD))
    }

    /// When a sign of life is due; none while nobody listens or the timeout is not known.
    pub(super) fn heartbeat_due(&self) -> Option<Timestamp> {
        let welcome = self.standing.welcome()?;
        (self.link != Link::Down).then(|| {
            self.last_sent
                .after(Waits::of(welcome.heartbeat_timeout).sign_of_life())
        })
    }

    pub(super) fn send(&mut self, now: Timestamp, message: FromMachine, effects: &mut Vec<Effect>) {
        self.last_sent = now;
        effects.push(Effect::Send(message));
    }

    fn waits(&self) -> Waits {
        Waits::of(self.heartbeat_timeout())
    }

    fn heartbeat_timeout(&self) -> Duration {
        self.standing
            .welcome()
            .map_or(UNNAMED_TIMEOUT, |welcome| welcome.heartbeat_timeout)
    }
}
