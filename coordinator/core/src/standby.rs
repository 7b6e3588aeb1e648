//! Trainers that are in no group: they live and wait, or they failed and are started again by their daemon.

use m2t_common::{DeviceId, Generation};

use crate::machine::Idle;
use crate::{Core, Effect, Notice};

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

    /// Whether that is news.
    pub(crate) fn set_idle(&mut self, device: &DeviceId, idle: Idle) -> bool {
        let machine = self.machines.get_mut(&device.machine);
        machine.is_some_and(|machine| machine.idle.insert(device.index, idle) != Some(idle))
    }
}
