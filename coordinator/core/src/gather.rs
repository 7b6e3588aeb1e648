//! Devices gather, a generation forms.

use m2t_common::machine_link::StartFrom;
use m2t_common::{DeviceId, Placement, Step};

use crate::group::{LiveGroup, Stage};
use crate::machine::{Link, Machine, Standing};
use crate::phase::Phase;
use crate::reason::{Waiting, list};
use crate::{Core, Effect, EndCause, Notice, Record};

impl Core {
    /// Forms a generation when there are enough devices: all that are wanted at once; what is needed after a moment of
    /// grace in which nothing came or went and no machine is about to join.
    pub(crate) fn settle_gathering(&mut self, effects: &mut Vec<Effect>) {
        if let Some(failure) = self.all_set_aside() {
            return self.fail(failure, effects);
        }
        if self.is_all_on_disk() {
            self.bind(effects);
            let plan = self.plan.as_ref();
            if let Some((step, digest)) = plan.and_then(|plan| self.last_on_disk(plan.schedule.total_steps)) {
                return self.finish(step, digest, effects);
            }
        }
        let devices = self.available();
        let now = self.now;
        let Phase::Gathering { n_available, since } = &mut self.phase else {
            return;
        };
        if *n_available != devices.len() {
            (*n_available, *since) = (devices.len(), now);
        }
        let since = *since;
        let grace_over = now >= since.after(self.settings.grace());
        let patience_over = now >= since.after(self.settings.patience());
        let nobody_comes = grace_over && !self.some_are_about_to_join();
        let enough = devices.len() >= self.settings.n_wanted()
            || (devices.len() >= self.settings.n_needed() && (nobody_comes || patience_over));
        // A checkpoint that is being verified may be the one to start from.
        if enough && self.verifying.is_empty() {
            let newest = self.history.newest().map(|report| report.name.clone());
            let start_from = newest.map_or(StartFrom::Initial, StartFrom::Checkpoint);
            self.form(&devices, start_from, effects);
        }
    }

    /// Whether a machine checks its data, starts its trainers or is expected back. None of it lasts for ever: it answers, fails or is lost.
    pub(crate) fn some_are_about_to_join(&self) -> bool {
        self.machines.values().any(|machine| match machine.standing {
            Standing::Checking => true,
            Standing::Ready(_) => {
                let starts = self.may_train(machine) && self.starting(machine).next().is_some();
                starts || matches!(machine.link, Link::Down { .. })
            }
            Standing::Unable { .. } | Standing::Leaving => false,
        })
    }

    /// Devices of a machine whose trainers are on their way to stand by.
    fn starting<'a>(&'a self, machine: &'a Machine) -> impl Iterator<Item = DeviceId> + 'a {
        let is_placed = |device: &DeviceId| {
            self.phase
                .heard()
                .is_some_and(|group| group.members.contains_key(device))
        };
        machine
            .devices()
            .filter(move |device| !machine.idle.contains_key(&device.index) && !is_placed(device))
    }

    /// What is waited for.
    pub(crate) fn waiting(&self) -> Waiting {
        let data = self.data();
        let state = |machine: &Machine| {
            let name = machine.name();
            match (&machine.standing, machine.link) {
                (Standing::Leaving, _) => None,
                (_, Link::Down { .. }) => Some(format!("{name} lost its connection")),
                (Standing::Checking, _) => Some(format!("{name} is checking its data")),
                (Standing::Unable { .. }, _) => Some(format!("{name} cannot train")),
                (Standing::Ready(facts), _) if Some(facts) != data => Some(format!(
                    "the data set of {name}, of {} images, is not that of most devices",
                    facts.n_samples
                )),
                (Standing::Ready(_), _) if self.history.set_aside.contains_key(name) => {
                    Some(format!("{name} is set aside"))
                }
                (Standing::Ready(_), _) => {
                    let starting: Vec<DeviceId> = self.starting(machine).collect();
                    (!starting.is_empty()).then(|| format!("starting the trainers of {}", list(&starting)))
                }
            }
        };
        let mut pending: Vec<String> = self.machines.values().filter_map(state).collect();
        pending.extend(
            self.verifying
                .iter()
                .map(|name| format!("verifying checkpoint {name}")),
        );
        Waiting {
            n_available: self.available().len(),
            n_wanted: self.settings.n_wanted(),
            n_needed: self.settings.n_needed(),
            pending,
        }
    }

    /// A placement of `devices` becomes the next generation.
    pub(crate) fn form(&mut self, devices: &[DeviceId], start_from: StartFrom, effects: &mut Vec<Effect>) {
        self.bind(effects);
        let world = self.settings.recipe.training.world;
        let (Some(_), Some(data)) = (&self.plan, &self.history.data) else {
            return;
        };
        let start = start_from.step();
        let Some(placement) = Placement::place(world, devices, &self.history.homes) else {
            return;
        };
        let generation = self.history.generation.next();
        let n_samples = data.n_samples;
        let n_devices = placement.devices.len();
        let group = LiveGroup::new(generation, placement.clone(), n_samples, start_from.clone());
        self.persist(
            Record::Generation {
                generation,
                placement,
                start_from: start_from.clone(),
            },
            effects,
        );
        self.close_samples(start, effects);
        effects.push(Effect::CutBack { after: start });
        self.cut_evaluations(start);
        self.rewind(start);
        for device in group.members.keys() {
            if let Some(machine) = self.machines.get_mut(&device.machine) {
                machine.idle.remove(&device.index);
            }
        }
        let (now, until) = (self.now, self.now.after(self.settings.patience()));
        if let Some(marks) = &mut self.marks {
            marks.placed = now;
        }
        self.phase = Phase::Forming { group, until };
        self.note(
            Notice::Formed {
                generation,
                n_devices,
                start_from,
            },
            effects,
        );
        self.assign_all(effects);
    }

    /// Whether the newest checkpoint is of the last step, by the data the run is bound to, or would be.
    fn is_all_on_disk(&self) -> bool {
        let n_samples = self.data().map(|facts| facts.n_samples);
        let plan = n_samples.and_then(|n_samples| self.settings.recipe.plan(n_samples).ok());
        plan.is_some_and(|plan| self.last_on_disk(plan.schedule.total_steps).is_some())
    }

    /// The last step and its digest, where its checkpoint is complete: nothing is left to do.
    pub(crate) fn last_on_disk(&self, total_steps: u64) -> Option<(Step, String)> {
        let newest = self
            .history
            .newest()
            .filter(|report| report.step >= Step(total_steps));
        newest.map(|report| (report.step, report.state_digest.clone()))
    }

    /// Forgets what was committed after `start`.
    fn rewind(&mut self, start: Step) {
        self.committed = start;
        self.published = self.published.min(start);
        self.latest = self.latest.take().filter(|latest| latest.report.step <= start);
        self.speed.clear();
    }

    /// The trainers of a forming generation did not come up in time.
    pub(crate) fn forming_timed_out(&mut self, effects: &mut Vec<Effect>) {
        let devices = self
            .phase
            .group()
            .map(|group| group.before(Stage::Running))
            .unwrap_or_default();
        let after = self.settings.patience();
        self.end_generation(EndCause::NotReady { devices, after }, effects);
    }
}
