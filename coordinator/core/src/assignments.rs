//! What machines are told to do: always the whole of it.

use m2t_common::MachineName;
use m2t_common::machine_link::{Assignment, Boundary, ToMachine, Work};

use crate::input::StreamId;
use crate::machine::Machine;
use crate::phase::Phase;
use crate::{Core, Effect};

impl Core {
    /// Tells a machine its whole current assignment.
    pub(crate) fn assign(&mut self, name: &MachineName, effects: &mut Vec<Effect>) {
        let Some(stream) = self.machines.get(name).and_then(Machine::stream) else {
            return;
        };
        let assignment = self.assignment_of(name);
        if assignment.work == Work::Idle
            && let Some(machine) = self.machines.get_mut(name)
        {
            // Its trainers end.
            machine.idle.clear();
        }
        let message = ToMachine::Assign(assignment);
        effects.push(Effect::Send { stream, message });
    }

    /// Tells every machine its whole current assignment.
    pub(crate) fn assign_all(&mut self, effects: &mut Vec<Effect>) {
        for name in self.machines.keys().cloned().collect::<Vec<_>>() {
            self.assign(&name, effects);
        }
    }

    fn assignment_of(&self, name: &MachineName) -> Assignment {
        let boundary = match &self.phase {
            Phase::Draining { boundary, .. } => *boundary,
            _ => Boundary::GoOn,
        };
        let can_train = self
            .machines
            .get(name)
            .is_some_and(|machine| self.may_train(machine));
        let work = match (&self.phase, self.phase.group()) {
            (_, Some(group)) if group.has_machine(name) => Work::Train(group.to_wire(boundary)),
            (Phase::Regrouping { within, .. }, _) => Work::Hold { within: *within },
            (Phase::Paused, _) => Work::Idle,
            _ if can_train => Work::StandBy,
            _ => Work::Idle,
        };
        Assignment {
            generation: self.history.generation,
            work,
        }
    }
}

/// A last message on a stream.
pub(crate) fn say_last(stream: StreamId, message: ToMachine, effects: &mut Vec<Effect>) {
    effects.push(Effect::Send { stream, message });
    effects.push(Effect::Close { stream });
}
