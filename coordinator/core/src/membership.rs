//! What attached machines can and want to do, and how they go: unable, leaving, refused, lost. Ready is in `data`.
//!
//! A stream that ends is waited for until the heartbeat timeout, because the trainers go on without it.

use m2t_common::MachineName;
use m2t_common::machine_link::{Outcome, ToMachine};

use crate::assignments::say_last;
use crate::input::StreamId;
use crate::machine::{Link, Machine, Standing};
use crate::phase::Phase;
use crate::{Core, DrainReason, Effect, EndCause, LostBy, Notice, Refusal};

impl Core {
    pub(crate) fn unable(&mut self, name: &MachineName, reason: String, effects: &mut Vec<Effect>) {
        let Some(machine) = self.machines.get_mut(name) else {
            return;
        };
        let standing = Standing::Unable {
            reason: reason.clone(),
        };
        if machine.standing == standing {
            return;
        }
        machine.standing = standing;
        let machine = name.clone();
        self.note(Notice::Unable { machine, reason }, effects);
        self.assign(name, effects);
    }

    pub(crate) fn leaving(&mut self, name: &MachineName, effects: &mut Vec<Effect>) {
        let Some(machine) = self.machines.get_mut(name) else {
            return;
        };
        if machine.standing == Standing::Leaving {
            return self.assign(name, effects);
        }
        machine.standing = Standing::Leaving;
        self.note(
            Notice::Leaving {
                machine: name.clone(),
            },
            effects,
        );
        let is_member = self.phase.group().is_some_and(|group| group.has_machine(name));
        match &self.phase {
            Phase::Training { .. } if is_member => self.begin_drain(DrainReason::Leaving, effects),
            Phase::Draining { .. } | Phase::Recovering { .. } if is_member => self.assign(name, effects),
            Phase::Forming { .. } if is_member => {
                let machine = name.clone();
                self.end_generation(EndCause::MachineLeaves { machine }, effects);
            }
            // The regroup finds a way to save its state first.
            Phase::Regrouping { .. } if self.is_needed_to_save(name) => self.assign(name, effects),
            _ => self.let_go(name, effects),
        }
    }

    /// Lets a machine that wants to leave go.
    pub(crate) fn let_go(&mut self, name: &MachineName, effects: &mut Vec<Effect>) {
        let Some(machine) = self.forget(name) else {
            return;
        };
        if let Some(stream) = machine.stream() {
            say_last(stream, ToMachine::Dismiss(Outcome::Stopped), effects);
        }
        self.note(
            Notice::Left {
                machine: name.clone(),
            },
            effects,
        );
    }

    pub(crate) fn refuse(&mut self, name: &MachineName, refusal: Refusal, effects: &mut Vec<Effect>) {
        let Some(machine) = self.forget(name) else {
            return;
        };
        let reason = refusal.to_string();
        let machine_name = name.clone();
        self.note(
            Notice::Refused {
                machine: machine_name,
                refusal,
            },
            effects,
        );
        if let Some(stream) = machine.stream() {
            say_last(stream, ToMachine::Refuse { reason }, effects);
        }
        if self.phase.group().is_some_and(|group| group.needs_machine(name)) {
            let machine = name.clone();
            self.end_generation(EndCause::MachineLeaves { machine }, effects);
        }
    }

    /// A stream ended. The machine may come back; its trainers go on meanwhile.
    pub(crate) fn stream_ended(&mut self, stream: StreamId, effects: &mut Vec<Effect>) {
        let Some(name) = self.streams.remove(&stream) else {
            return;
        };
        let until = self.now.after(self.settings.heartbeat_timeout());
        let Some(machine) = self.machines.get_mut(&name) else {
            return;
        };
        machine.link = Link::Down { until };
        self.no_survivors(|device| device.machine == name);
        self.note(Notice::Disconnected { machine: name }, effects);
    }

    /// A machine is gone; a generation that needs it ends.
    pub(crate) fn lose(&mut self, name: &MachineName, by: LostBy, effects: &mut Vec<Effect>) {
        let Some(machine) = self.forget(name) else {
            return;
        };
        if let Some(stream) = machine.stream() {
            effects.push(Effect::Close { stream });
        }
        self.note(
            Notice::Lost {
                machine: name.clone(),
                by,
            },
            effects,
        );
        if self.phase.group().is_some_and(|group| group.needs_machine(name)) {
            let machine = name.clone();
            self.end_generation(EndCause::MachineLost { machine, by }, effects);
        }
    }

    fn forget(&mut self, name: &MachineName) -> Option<Machine> {
        let machine = self.machines.remove(name)?;
        self.no_survivors(|device| device.machine == *name);
        if let Some(stream) = machine.stream() {
            self.streams.remove(&stream);
        }
        Some(machine)
    }
}
