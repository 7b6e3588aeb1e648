//! Devices gather, a generation forms, a generation ends.

use m2t_common::{DeviceId, Placement, Step};

use crate::group::{LiveGroup, Stage};
use crate::machine::{Link, Machine, Standing};
use crate::phase::Phase;
use crate::reason::Waiting;
use crate::{Core, DrainReason, Effect, EndCause, Failure, Notice, Record};

/// Generations in a row that may end before a step is committed.
const FRUITLESS_GENERATIONS: u32 = 3;

impl Core {
    /// Forms a generation when there are enough devices: all that are wanted at once; what is needed after a moment of
    /// grace in which nothing came or went and no machine is about to join.
    pub(crate) fn settle_gathering(&mut self, effects: &mut Vec<Effect>) {
        let devices = self.available();
        let now = self.now;
        let Phase::Gathering { n_available, since } = &mut self.phase else {
            return;
        };
        if *n_available != devices.len() {
            (*n_available, *since) = (devices.len(), now);
        }
        let grace_over = now >= since.after(self.settings.grace());
        let enough = devices.len() >= self.settings.n_wanted()
            || (devices.len() >= self.settings.n_needed() && grace_over && !self.some_are_about_to_join());
        // A checkpoint that is being verified may be the one to start from.
        if enough && self.verifying.is_empty() {
            self.form(&devices, effects);
        }
    }

    /// Whether a machine checks its data or is expected back. Neither lasts for ever: it answers, or it is lost.
    pub(crate) fn some_are_about_to_join(&self) -> bool {
        self.machines.values().any(|machine| match machine.standing {
            Standing::Checking => true,
            Standing::Ready(_) => matches!(machine.link, Link::Down { .. }),
            Standing::Unable { .. } | Standing::Leaving => false,
        })
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
                (Standing::Ready(_), _) => None,
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

    fn form(&mut self, devices: &[DeviceId], effects: &mut Vec<Effect>) {
        self.bind(effects);
        let world = self.settings.recipe.training.world;
        let (Some(plan), Some(data)) = (&self.plan, &self.history.data) else {
            return;
        };
        let start = self.history.start_step();
        if start >= Step(plan.schedule.total_steps) {
            let digest = self.history.newest().map(|report| report.state_digest.clone());
            return self.finish(start, digest.unwrap_or_default(), effects);
        }
        let Some(placement) = Placement::place(world, devices, &self.history.homes) else {
            return;
        };
        let generation = self.history.generation.next();
        let start_from = self.history.newest().map(|report| report.name.clone());
        let group = LiveGroup::new(
            generation,
            placement.clone(),
            data.n_samples,
            (start_from.clone(), start),
        );
        let n_devices = placement.devices.len();
        self.persist(
            Record::Generation {
                generation,
                placement,
                start_from,
            },
            effects,
        );
        effects.push(Effect::CutBack { after: start });
        self.rewind(start);
        let until = self.now.after(self.settings.patience());
        self.phase = Phase::Forming { group, until };
        self.note(
            Notice::Formed {
                generation,
                n_devices,
                start,
            },
            effects,
        );
        self.assign_all(effects);
    }

    /// Forgets what was committed after `start`.
    fn rewind(&mut self, start: Step) {
        self.committed = start;
        self.latest = self.latest.take().filter(|latest| latest.report.step <= start);
        self.speed.clear();
    }

    /// The generation is over: its trainers are told to end, and the devices gather for the next one.
    pub(crate) fn end_generation(&mut self, cause: EndCause, effects: &mut Vec<Effect>) {
        let gathering = Phase::Gathering {
            n_available: 0,
            since: self.now,
        };
        let (group, why) = match std::mem::replace(&mut self.phase, gathering) {
            Phase::Forming { group, .. } | Phase::Training { group, .. } => (group, None),
            Phase::Draining { group, why, .. } => (group, Some(why)),
            other => {
                self.phase = other;
                return;
            }
        };
        self.note(
            Notice::Ended {
                generation: group.generation,
                cause: cause.clone(),
            },
            effects,
        );
        match (why, self.too_damaged()) {
            (Some(DrainReason::Stop), _) => return self.stopped(effects),
            (_, Some(failure)) => return self.fail(failure, effects),
            (_, None) => {}
        }
        if self.was_fruitless(&group, &cause) {
            self.fruitless += 1;
            if self.fruitless >= FRUITLESS_GENERATIONS {
                let n = self.fruitless;
                return self.fail(Failure::CrashLoop { n, last: cause }, effects);
            }
        }
        self.let_leaving_go(effects);
        self.assign_all(effects);
    }

    /// Whether this end counts towards giving up. A machine that is lost or leaves does not: the next generation forms
    /// without it.
    fn was_fruitless(&self, group: &LiveGroup, cause: &EndCause) -> bool {
        let by_trainers = matches!(
            cause,
            EndCause::TrainerFailed { .. } | EndCause::NotReady { .. } | EndCause::Stalled { .. }
        );
        by_trainers && self.committed <= group.start
    }

    fn let_leaving_go(&mut self, effects: &mut Vec<Effect>) {
        let leaving = self
            .machines
            .values()
            .filter(|machine| machine.standing == Standing::Leaving);
        let names: Vec<_> = leaving.map(|machine| machine.name().clone()).collect();
        for name in names {
            self.let_go(&name, effects);
        }
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
