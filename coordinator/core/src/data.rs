//! Which data set the run is bound to, who has it, and how much of it may be damaged.
//!
//! Why the most devices decide and not the first machine: machines come in any order, and the one whose copy lacks a file
//! may be the first. So nothing is bound while devices gather; the first generation binds the data set that most of its
//! devices hold, durably. From then on every other is refused, by the machine's own word of where it differs.

use std::collections::BTreeMap;

use m2t_common::machine_link::DataFacts;
use m2t_common::report::ReplacedFile;
use m2t_common::{DeviceId, MachineName};

use crate::machine::{Machine, Standing};
use crate::{Core, Effect, Failure, Notice, Record, Refusal};

impl Core {
    /// A machine looked and can train on what it found.
    pub(crate) fn ready(&mut self, name: &MachineName, facts: DataFacts, effects: &mut Vec<Effect>) {
        match &self.history.data {
            Some(bound) if *bound != facts => return self.not_ours(name, &facts, effects),
            Some(_) => {}
            None => {
                if let Err(refusal) = self.suits(&facts) {
                    return self.refuse(name, refusal, effects);
                }
            }
        }
        let Some(machine) = self.machines.get_mut(name) else {
            return;
        };
        if machine.standing == Standing::Leaving {
            return self.assign(name, effects);
        }
        let standing = Standing::Ready(facts);
        if machine.standing != standing {
            machine.standing = standing;
            let machine = name.clone();
            self.note(Notice::Ready { machine }, effects);
        }
        self.assign(name, effects);
    }

    /// A machine found its data to differ from those the run is bound to.
    pub(crate) fn other_data(
        &mut self,
        name: &MachineName,
        facts: DataFacts,
        difference: String,
        effects: &mut Vec<Effect>,
    ) {
        match &self.history.data {
            Some(bound) if *bound != facts => {
                let refusal = Refusal::OtherData {
                    theirs: facts.n_samples,
                    ours: bound.n_samples,
                    difference,
                };
                self.refuse(name, refusal, effects);
            }
            // It compared with what another coordinator had said.
            _ => self.ready(name, facts, effects),
        }
    }

    /// A machine that looked before the run was bound is told to what, and answers where it differs.
    fn not_ours(&mut self, name: &MachineName, facts: &DataFacts, effects: &mut Vec<Effect>) {
        let Some(machine) = self.machines.get_mut(name) else {
            return;
        };
        if machine.told_data {
            let difference = format!("its fingerprint is {}", facts.fingerprint);
            return self.other_data(name, facts.clone(), difference, effects);
        }
        machine.standing = Standing::Checking;
        self.welcome(name, effects);
    }

    /// Whether the run could be bound to these data.
    fn suits(&self, facts: &DataFacts) -> Result<(), Refusal> {
        if let Some(ours) = self.n_samples_on_disk.filter(|&n| n != facts.n_samples) {
            let theirs = facts.n_samples;
            return Err(Refusal::OtherSize { theirs, ours });
        }
        match self.settings.recipe.plan(facts.n_samples) {
            Ok(_) => Ok(()),
            Err(error) => Err(Refusal::Unsuitable {
                problem: error.to_string(),
            }),
        }
    }

    /// The data set the run is bound to, or would be bound to now: that of the most devices, of the first machine by name where
    /// several have as many.
    pub(crate) fn data(&self) -> Option<&DataFacts> {
        if self.history.data.is_some() {
            return self.history.data.as_ref();
        }
        let mut held: BTreeMap<&str, (usize, &DataFacts)> = BTreeMap::new();
        let mut order = Vec::new();
        for machine in self.machines.values() {
            if let Some(facts) = machine.data() {
                let n_devices = machine.hello.devices.len();
                held.entry(&facts.fingerprint).or_insert((0, facts)).0 += n_devices;
                order.push(facts);
            }
        }
        let most = held.values().map(|(n_devices, _)| *n_devices).max()?;
        order.into_iter().find(|facts| {
            held.get(facts.fingerprint.as_str())
                .is_some_and(|(n, _)| *n == most)
        })
    }

    /// The devices a generation may use now: those that stand by, of machines that can train on the run's data and can be told so.
    pub(crate) fn available(&self) -> Vec<DeviceId> {
        self.machines
            .values()
            .filter(|machine| self.may_train(machine))
            .flat_map(Machine::warm)
            .collect()
    }

    /// Whether a machine's trainers may be started.
    pub(crate) fn may_train(&self, machine: &Machine) -> bool {
        let is_set_aside = self.history.set_aside.contains_key(machine.name());
        machine.data().is_some() && machine.data() == self.data() && !is_set_aside
    }

    /// Binds the run to the data its first generation trains on, and asks machines that hold others to compare.
    pub(crate) fn bind(&mut self, effects: &mut Vec<Effect>) {
        if self.history.data.is_some() {
            return;
        }
        let Some(facts) = self.data().cloned() else {
            return;
        };
        // Machines whose data do not suit the recipe were refused.
        let Ok(plan) = self.settings.recipe.plan(facts.n_samples) else {
            return;
        };
        let notice = Notice::DataBound {
            n_samples: facts.n_samples,
            steps_per_epoch: plan.shards.steps_per_epoch(),
            total_steps: plan.schedule.total_steps,
        };
        self.persist(Record::Data(facts.clone()), effects);
        self.plan = Some(plan);
        self.note(notice, effects);
        let others: Vec<(MachineName, DataFacts)> = self
            .machines
            .values()
            .filter_map(|machine| match &machine.standing {
                Standing::Ready(theirs) if *theirs != facts => Some((machine.name().clone(), theirs.clone())),
                _ => None,
            })
            .collect();
        for (name, theirs) in others {
            self.not_ours(&name, &theirs, effects);
        }
    }

    /// A device waits for files whose reading takes long: each is told of when it is named first.
    pub(crate) fn slow_files(&mut self, device: &DeviceId, files: Vec<String>, effects: &mut Vec<Effect>) {
        let group = self.phase.heard_mut();
        let Some(member) = group.and_then(|group| group.members.get_mut(device)) else {
            return;
        };
        let before = std::mem::replace(&mut member.slow_files, files.clone());
        for path in files.into_iter().filter(|path| !before.contains(path)) {
            let device = device.clone();
            self.note(Notice::SlowFile { device, path }, effects);
        }
    }

    /// Files were replaced: each is told of once, and counts once.
    pub(crate) fn replaced(&mut self, files: &[ReplacedFile], effects: &mut Vec<Effect>) {
        for file in files {
            if !self.history.damaged.contains_key(&file.sample) {
                let file = file.clone();
                self.persist(Record::Replaced(file.clone()), effects);
                self.note(Notice::Replaced { file }, effects);
            }
        }
    }

    /// Whether more files are damaged than the recipe bears.
    pub(crate) fn too_damaged(&self) -> Option<Failure> {
        let n_samples = self.history.data.as_ref()?.n_samples;
        let (n_damaged, limit) = (
            self.history.damaged.len(),
            self.settings.recipe.run.replaced_limit,
        );
        (n_damaged as f64 > limit * n_samples as f64).then(|| Failure::TooDamaged {
            n_damaged,
            n_samples,
            limit: limit.to_string(),
        })
    }
}
