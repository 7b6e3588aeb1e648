//! Trainers that are in no group: they live and wait, or they failed and are started again by their daemon, as long as the restart
//! budget of their device lasts. A machine that spent one is set aside, until it is taken back: what fails again and again would
//! cost the others a regroup each time.

use m2t_common::{DeviceId, Generation, MachineName, Timestamp};

use crate::machine::Idle;
use crate::{Core, Effect, Failure, Notice, Record};

impl Core {
    /// A trainer lives and is in no group.
    pub(crate) fn device_warm(&mut self, device: &DeviceId) {
        // One that answers a hold so has no whole state.
        self.no_survivors(|gone| gone == device);
        self.set_idle(device, Idle::Warm);
    }

    /// A trainer outside the group failed, or one of a group that is over: of the latter, people want the cause that came late.
    pub(crate) fn idle_failed(
        &mut self,
        device: &DeviceId,
        generation: Generation,
        reason: String,
        effects: &mut Vec<Effect>,
    ) {
        let was_member = self
            .phase
            .heard()
            .is_some_and(|group| group.members.contains_key(device));
        self.no_survivors(|gone| gone == device);
        let is_news = self.set_idle(device, Idle::Failed);
        self.count_failure(device, &reason, effects);
        let device = device.clone();
        if was_member {
            self.note(
                Notice::AlsoFailed {
                    generation,
                    device,
                    reason,
                },
                effects,
            );
        } else if is_news {
            self.note(Notice::StandByFailed { device, reason }, effects);
        }
    }

    /// Counts a failure against the budget of the device.
    pub(crate) fn count_failure(&mut self, device: &DeviceId, reason: &str, effects: &mut Vec<Effect>) {
        let run = &self.settings.recipe.run;
        let (window, budget) = (run.restart_window, run.restarts as usize);
        let failures: &mut Vec<Timestamp> = self.failures.entry(device.clone()).or_default();
        failures.retain(|at| at.after(window) > self.now);
        failures.push(self.now);
        let n = failures.len();
        let machine = &device.machine;
        if n > budget && !self.history.set_aside.contains_key(machine) && self.machines.contains_key(machine)
        {
            let within = window.as_secs();
            let reason = format!(
                "the trainer of device {device} failed {n} times within {within} s, the last time because {reason}"
            );
            let machine = machine.clone();
            let record = Record::SetAside {
                machine: machine.clone(),
                reason: reason.clone(),
            };
            self.persist(record, effects);
            self.note(
                Notice::SetAside {
                    machine: machine.clone(),
                    reason,
                },
                effects,
            );
            self.assign(&machine, effects);
        }
    }

    /// An operator took a machine back, with its whole budget.
    pub(crate) fn readmit(&mut self, machine: &MachineName, effects: &mut Vec<Effect>) {
        self.failures.retain(|device, _| device.machine != *machine);
        self.assign(machine, effects);
    }

    /// Why nothing can be formed any more: every machine that could train is set aside.
    pub(crate) fn all_set_aside(&self) -> Option<Failure> {
        let mut reason = None;
        for machine in self.machines.values().filter(|machine| machine.data().is_some()) {
            reason = Some(self.history.set_aside.get(machine.name())?.clone());
        }
        reason.map(|reason| Failure::AllSetAside { reason })
    }

    /// Whether that is news.
    pub(crate) fn set_idle(&mut self, device: &DeviceId, idle: Idle) -> bool {
        let machine = self.machines.get_mut(&device.machine);
        machine.is_some_and(|machine| machine.idle.insert(device.index, idle) != Some(idle))
    }
}
