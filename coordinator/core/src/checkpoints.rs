//! The registry of checkpoints: a checkpoint counts once it is verified, the newest ones are kept, a damaged one is
//! replaced by the one before.

use m2t_common::manifest::CheckpointName;
use m2t_common::report::CheckpointReport;
use m2t_common::{DeviceId, Step};

use crate::history::Dropped;
use crate::input::{DiskFacts, FoundCheckpoint};
use crate::phase::Phase;
use crate::{Core, Effect, Notice, Record};

impl Core {
    /// What follows from the journal, before anything happens.
    pub(crate) fn recall(&mut self) {
        self.committed = self.history.start_step();
        self.published = self.committed;
        let data = self.history.data.as_ref();
        // A journalled data set was planned for when it was bound, with the same mathematics.
        self.plan = data.and_then(|data| self.settings.recipe.plan(data.n_samples).ok());
    }

    /// Reconciles the registry with the disk, which may have gone on while no coordinator ran.
    pub(crate) fn started(&mut self, disk: DiskFacts, effects: &mut Vec<Effect>) {
        self.samples.recall(disk.samples);
        self.evaluations.clone_from(&disk.evaluations);
        let fresh = self.history.recipe.is_none();
        if fresh {
            let recipe = Box::new(self.settings.recipe.clone());
            self.persist(Record::Run { recipe }, effects);
        }
        if let Some((step, state_digest)) = self.history.finished.clone() {
            return self.finish(step, state_digest, effects);
        }
        self.n_samples_on_disk = disk.found.last().map(|found| found.n_samples);
        for (name, problem) in disk.damaged {
            self.set_aside(name, problem, effects);
        }
        self.drop_missing(&disk.found, effects);
        for found in disk.found.clone() {
            if !self.history.checkpoints.contains_key(&found.report.name) {
                self.persist(Record::Checkpoint(found.report), effects);
            }
        }
        // Also where the coordinator before was killed between the two records.
        self.count_upto(self.history.start_step(), effects);
        self.keep_newest(effects);
        self.recall();
        self.recover(disk.metrics, effects);
        let notice = if fresh && self.history.checkpoints.is_empty() {
            Notice::Begun
        } else {
            Notice::Continued {
                generation: self.history.generation,
                step: self.committed,
            }
        };
        self.note(notice, effects);
    }

    fn drop_missing(&mut self, found: &[FoundCheckpoint], effects: &mut Vec<Effect>) {
        let is_found = |name: &CheckpointName| found.iter().any(|found| found.report.name == *name);
        let missing = self.history.checkpoints.keys().filter(|name| !is_found(name));
        for name in missing.cloned().collect::<Vec<_>>() {
            let why = Dropped::Missing;
            let record = Record::CheckpointDropped {
                name: name.clone(),
                why,
            };
            self.persist(record, effects);
            self.note(Notice::Missing { name }, effects);
        }
    }

    fn set_aside(&mut self, name: CheckpointName, problem: String, effects: &mut Vec<Effect>) {
        if self.history.checkpoints.contains_key(&name) {
            let why = Dropped::Damaged;
            let record = Record::CheckpointDropped {
                name: name.clone(),
                why,
            };
            self.persist(record, effects);
        }
        effects.push(Effect::SetAsideCheckpoint(name.clone()));
        self.note(Notice::Damaged { name, problem }, effects);
    }

    /// The first device wrote a checkpoint. Its step is committed: no device can be at a step that the sum over all
    /// devices has not completed.
    pub(crate) fn checkpointed(
        &mut self,
        device: &DeviceId,
        report: CheckpointReport,
        effects: &mut Vec<Effect>,
    ) {
        if matches!(self.phase, Phase::Regrouping { .. }) && self.is_suspect(device, report.step) {
            return self.late_checkpoint(device, report, effects);
        }
        let is_first = self.phase.heard().and_then(|group| group.placement.first()) == Some(device);
        let last = self.plan.as_ref().map_or(0, |plan| plan.schedule.total_steps);
        if is_first && report.step.0 <= last {
            self.commit(report.step, effects);
            self.look_at_checkpoint(report, effects);
        }
    }

    /// A checkpoint that a device was still writing when its generation ended. What was committed then is still so: it counts.
    pub(crate) fn late_checkpoint(
        &mut self,
        device: &DeviceId,
        report: CheckpointReport,
        effects: &mut Vec<Effect>,
    ) {
        if self.is_suspect(device, report.step) {
            // Said again, it was set aside already, and a good one of the same step may have taken its name.
            if !self.history.checkpoints.contains_key(&report.name) && !self.verifying.contains(&report.name)
            {
                self.suspect(report.name, effects);
            }
        } else if report.step <= self.committed && self.phase.outcome().is_none() {
            self.look_at_checkpoint(report, effects);
        }
    }

    /// One that is no newer than the newest is no news, or was dropped since: daemons repeat what they said.
    fn look_at_checkpoint(&mut self, report: CheckpointReport, effects: &mut Vec<Effect>) {
        let is_newer = report.step > self.history.start_step();
        if is_newer && self.verifying.insert(report.name.clone()) {
            effects.push(Effect::VerifyCheckpoint(report));
        }
    }

    /// The first device could not write a checkpoint. It tries the last one of a drain again and again, and a drain that is
    /// tried has not timed out: whoever makes room loses nothing.
    pub(crate) fn checkpoint_failed(&mut self, step: Step, reason: String, effects: &mut Vec<Effect>) {
        let patience = self.now.after(self.settings.patience());
        if let Phase::Draining { until, .. } = &mut self.phase {
            *until = patience;
        }
        let failed = Some((step, reason.clone()));
        if self.unwritten != failed {
            self.unwritten = failed;
            self.note(Notice::CheckpointFailed { step, reason }, effects);
        }
    }

    /// A checkpoint is complete on the disk.
    pub(crate) fn checkpoint_verified(&mut self, report: CheckpointReport, effects: &mut Vec<Effect>) {
        if !self.verifying.remove(&report.name) || self.phase.outcome().is_some() {
            return;
        }
        let (name, cost) = (report.name.clone(), report.cost);
        self.unwritten = None;
        let upto = report.step;
        self.persist(Record::Checkpoint(report), effects);
        self.count_upto(upto, effects);
        self.note(Notice::Checkpoint { name, cost }, effects);
        self.keep_newest(effects);
    }

    /// What a checkpoint holds is not done again, so it counts.
    pub(crate) fn count_upto(&mut self, upto: Step, effects: &mut Vec<Effect>) {
        if upto > self.history.ledger.end() {
            self.persist(Record::Committed { upto }, effects);
        }
    }

    /// A checkpoint that was reported is not complete on the disk.
    pub(crate) fn checkpoint_broken(
        &mut self,
        name: CheckpointName,
        problem: String,
        effects: &mut Vec<Effect>,
    ) {
        if self.verifying.remove(&name) && self.phase.outcome().is_none() {
            self.set_aside(name, problem, effects);
        }
    }

    /// Drops what is older than the newest K, but for the newest of which all devices vouched that their states were equal.
    fn keep_newest(&mut self, effects: &mut Vec<Effect>) {
        let keep = self.settings.recipe.run.keep_checkpoints.max(1) as usize;
        let names = || self.history.checkpoints.keys();
        let n_surplus = names().len().saturating_sub(keep);
        let is_vouched = |name: &&CheckpointName| name.step() <= self.history.vouched;
        let vouched = names().rfind(is_vouched);
        let surplus = names().take(n_surplus).filter(|name| Some(*name) != vouched);
        let surplus: Vec<CheckpointName> = surplus.cloned().collect();
        for name in surplus {
            let why = Dropped::Superseded;
            let record = Record::CheckpointDropped {
                name: name.clone(),
                why,
            };
            self.persist(record, effects);
            effects.push(Effect::DeleteCheckpoint(name));
        }
    }
}
