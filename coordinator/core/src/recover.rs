//! A coordinator that was started again finds the generation of its journal at work: its trainers never stopped.
//!
//! Machines come back and say which trainers live; what these did meanwhile they say again. When every member was heard, the
//! generation trains on, under its number. A member that is gone ends it, as it would have without the crash.

use std::collections::BTreeMap;

use m2t_common::{DeviceId, DeviceIndex, Generation, MachineName, Step};

use crate::group::{LiveGroup, Stage};
use crate::phase::Phase;
use crate::{Core, Effect, EndCause, Notice};

impl Core {
    /// Waits for the journal's generation, if it may be at work. `written` is the last step of the metrics.
    pub(crate) fn recover(&mut self, written: Step, effects: &mut Vec<Effect>) {
        let Some(data) = self.history.data.as_ref().filter(|_| !self.history.ended) else {
            return;
        };
        let history = &self.history;
        let group = LiveGroup::new(
            history.generation,
            history.placement.clone(),
            data.n_samples,
            history.start_from.clone(),
        );
        // What the metrics tell was committed by this generation, or by those before it.
        self.committed = self.committed.max(written).max(group.start());
        self.published = written;
        let until = self.now.after(self.settings.recovery());
        self.phase = Phase::Recovering { group, until };
        let generation = self.history.generation;
        self.note(Notice::Recovering { generation }, effects);
    }

    /// A machine came and said which of its trainers live.
    pub(crate) fn recognise(
        &mut self,
        name: &MachineName,
        trainers: &BTreeMap<DeviceIndex, Generation>,
        effects: &mut Vec<Effect>,
    ) {
        let Phase::Recovering { group, .. } = &self.phase else {
            return;
        };
        let generation = group.generation;
        let is_gone = |device: &DeviceId| trainers.get(&device.index) != Some(&generation);
        let mut own = group
            .placement
            .of_machine(name)
            .map(|placed| placed.device.clone());
        if let Some(device) = own.find(is_gone) {
            drop(own);
            let reason = "its daemon came back without it".to_owned();
            self.end_generation(EndCause::TrainerFailed { device, reason }, effects);
        }
    }

    /// Some members did not come back.
    pub(crate) fn recovering_timed_out(&mut self, effects: &mut Vec<Effect>) {
        let devices: Vec<DeviceId> = self
            .phase
            .group()
            .map(|group| group.before(Stage::Running))
            .unwrap_or_default();
        let after = self.settings.recovery();
        self.end_generation(EndCause::NotBack { devices, after }, effects);
    }
}
