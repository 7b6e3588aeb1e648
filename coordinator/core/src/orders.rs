//! What operators ask: pause, resume, stop, drain a machine.
//!
//! Why the wish to be paused is journalled and no phase alone: it holds whatever happens meanwhile. A paused run whose
//! coordinator is killed comes back paused, and one that is asked to pause while it regroups pauses as soon as it may.

use m2t_common::order::{Accepted, Answer, Order, Refused};

use crate::drain::keeps_memory;
use crate::input::Ticket;
use crate::phase::Phase;
use crate::{Core, DrainReason, Effect, EndCause, Notice, Record};

impl Core {
    /// The wish is journalled, then answered, then carried out: that may end the run, and with it everything.
    pub(crate) fn order(&mut self, ticket: Ticket, order: Order, effects: &mut Vec<Effect>) {
        let answer = self.judge(&order);
        let accepted = matches!(answer, Answer::Accepted(_));
        match &order {
            Order::Pause if accepted && !self.history.paused => self.persist(Record::Paused, effects),
            Order::Resume if accepted => self.persist(Record::Resumed, effects),
            Order::Readmit(machine) if accepted => {
                let machine = machine.clone();
                self.persist(Record::Readmitted { machine }, effects);
            }
            _ => {}
        }
        effects.push(Effect::Answer { ticket, answer });
        if accepted {
            self.note(Notice::Ordered { order: order.clone() }, effects);
            match order {
                Order::Pause => self.pause(effects),
                Order::Resume => self.resume(effects),
                Order::Stop => self.stop(effects),
                Order::Drain(machine) => self.leaving(&machine, effects),
                Order::Readmit(machine) => self.readmit(&machine, effects),
            }
        }
    }

    fn judge(&self, order: &Order) -> Answer {
        let finishing = matches!(self.phase, Phase::Draining { why, .. } if why == DrainReason::LastStep);
        if self.phase.outcome().is_some() || finishing {
            return Answer::Refused(Refused::Over);
        }
        let trains = self.phase.heard().is_some();
        match order {
            Order::Pause if trains => Answer::Accepted(Accepted::WillPause),
            Order::Pause => Answer::Accepted(Accepted::Paused {
                at: self.history.start_step(),
            }),
            Order::Resume if self.history.paused => Answer::Accepted(Accepted::Resumed),
            Order::Resume => Answer::Refused(Refused::NotPaused),
            Order::Stop => Answer::Accepted(Accepted::WillStop),
            Order::Drain(machine) if self.machines.contains_key(machine) => {
                Answer::Accepted(Accepted::WillDrain {
                    machine: machine.clone(),
                })
            }
            Order::Readmit(machine) if self.history.set_aside.contains_key(machine) => {
                Answer::Accepted(Accepted::Readmitted {
                    machine: machine.clone(),
                })
            }
            Order::Readmit(machine) => Answer::Refused(Refused::NotSetAside {
                machine: machine.clone(),
                set_aside: self.history.set_aside.keys().cloned().collect(),
            }),
            Order::Drain(machine) => Answer::Refused(Refused::NoSuchMachine {
                machine: machine.clone(),
                attached: self.machines.keys().cloned().collect(),
            }),
        }
    }

    fn pause(&mut self, effects: &mut Vec<Effect>) {
        match &self.phase {
            Phase::Training { .. } => self.begin_drain(DrainReason::Pause, effects),
            Phase::Forming { group, .. } if keeps_memory(group) => {
                self.begin_drain(DrainReason::Pause, effects);
            }
            // Nothing was done in it that could be lost.
            Phase::Forming { .. } => self.end_generation(EndCause::Paused, effects),
            _ => {}
        }
    }

    fn resume(&mut self, effects: &mut Vec<Effect>) {
        if matches!(self.phase, Phase::Paused) {
            self.phase = Phase::gathering();
            self.assign_all(effects);
        }
    }

    /// Asks for nothing to be formed for as long as the run is to be paused.
    pub(crate) fn settle_pause(&mut self, effects: &mut Vec<Effect>) {
        if self.history.paused && matches!(self.phase, Phase::Gathering { .. }) {
            self.phase = Phase::Paused;
            // The time a run is paused is no time of a regroup.
            self.marks = None;
            let step = self.history.start_step();
            self.note(Notice::Paused { step }, effects);
            self.assign_all(effects);
        }
    }
}
