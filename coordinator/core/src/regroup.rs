//! A generation ends, and the next one goes on from what its survivors keep in memory.
//!
//! Every member is told to hold: to leave the group at once and to say where it stands. The one that is farthest becomes the
//! donor of the next generation: a step that one device committed is whole, for the sum over all devices was complete. Steps are
//! lost only where no survivor has them, and then they are done again, to the same bits.
//!
//! Why it does not wait for the missing: the bits do not depend on the placement. So the group shrinks at once, and grows
//! (see `growth`) when replacements stand by. `--replace-wait` is for people who would rather wait.
//!
//! Where each rank has its own teacher statistics (`teacher_statistics = "local"`) a lost device takes its ranks' histories along, so
//! the next generation starts from a checkpoint.

use std::collections::BTreeMap;
use std::time::Duration;

use m2t_common::machine_link::StartFrom;
use m2t_common::recipe::TeacherStatistics;
use m2t_common::{DeviceId, MachineName, Step};

use crate::group::{LiveGroup, Stage};
use crate::machine::{Link, Standing};
use crate::phase::Phase;
use crate::recovery::Marks;
use crate::{Core, DrainReason, Effect, EndCause, Failure, Notice, Record};

/// Generations in a row that may end before a step is committed.
const FRUITLESS_GENERATIONS: u32 = 3;

impl Core {
    /// The generation is over: its trainers are told to hold, or to end where nothing of theirs is needed.
    pub(crate) fn end_generation(&mut self, cause: EndCause, effects: &mut Vec<Effect>) {
        // After a drain with a checkpoint, and before the first step, nothing is in memory that is not on the disk.
        let all_stopped = self
            .phase
            .group()
            .is_some_and(|group| group.before(Stage::Stopped).is_empty());
        let is_on_disk = match cause {
            EndCause::Drained { .. } => all_stopped,
            EndCause::Paused | EndCause::NoMajority { .. } => true,
            _ => false,
        };
        let (group, why, awaited) = match std::mem::replace(&mut self.phase, Phase::gathering()) {
            Phase::Recovering { group, until } => (group, None, until > self.now),
            Phase::Forming { group, .. } | Phase::Training { group, .. } => (group, None, false),
            Phase::Draining { group, why, .. } => (group, Some(why), false),
            other => {
                self.phase = other;
                return;
            }
        };
        let generation = group.generation;
        let was_fruitless = self.was_fruitless(&group, &cause);
        self.note(
            Notice::Ended {
                generation,
                cause: cause.clone(),
            },
            effects,
        );
        self.stopping |= why == Some(DrainReason::Stop);
        let begun = Marks::begin(self.last_step_at, self.now);
        self.marks.get_or_insert(begun);
        self.phase = if is_on_disk || !self.keeps_state_in_memory() {
            self.persist(Record::Ended, effects);
            Phase::Gathering {
                n_available: 0,
                since: self.now,
            }
        } else {
            self.regrouping(group, &cause, awaited)
        };
        if let Some(failure) = self.too_damaged() {
            return self.fail(failure, effects);
        }
        if was_fruitless {
            self.fruitless += 1;
            if self.fruitless >= FRUITLESS_GENERATIONS {
                let n = self.fruitless;
                return self.fail(Failure::CrashLoop { n, last: cause }, effects);
            }
        }
        self.let_leaving_go(effects);
        self.assign_all(effects);
    }

    /// Whether one device's memory holds all that the next generation needs.
    pub(crate) fn keeps_state_in_memory(&self) -> bool {
        self.settings.recipe.training.teacher_statistics == TeacherStatistics::Global
    }

    /// Who may have survived: members that can be asked, or, where `awaited`, may come back and be asked.
    fn regrouping(&self, group: LiveGroup, cause: &EndCause, awaited: bool) -> Phase {
        let failed =
            |device: &DeviceId| matches!(cause, EndCause::TrainerFailed { device: it, .. } if it == device);
        let survivors: BTreeMap<DeviceId, Option<Step>> = group
            .members
            .iter()
            .filter(|(device, _)| !failed(device) && !self.is_distrusted(device))
            .filter(|(device, _)| self.can_be_asked(&device.machine, awaited))
            .map(|(device, member)| {
                (
                    device.clone(),
                    (member.stage == Stage::Held).then_some(member.step),
                )
            })
            .collect();
        let within = self.answer_within();
        Phase::Regrouping {
            group,
            survivors,
            since: self.now,
            within,
            until: self.now.after(within + self.settings.heartbeat_timeout()),
        }
    }

    fn can_be_asked(&self, machine: &MachineName, awaited: bool) -> bool {
        self.machines
            .get(machine)
            .map_or(awaited, |machine| machine.stream().is_some())
    }

    /// How long a trainer may take to leave its group: it looks up only between the forward and backward passes of a step.
    fn answer_within(&self) -> Duration {
        let timeout = self.settings.heartbeat_timeout();
        match self.speed.longest_of_enough() {
            Some(longest) => timeout.max(longest * 2),
            None => self.settings.waits().answer(),
        }
    }

    /// Whether this end counts towards giving up. A machine that is lost or leaves does not: the next generation forms
    /// without it.
    fn was_fruitless(&self, group: &LiveGroup, cause: &EndCause) -> bool {
        let by_trainers = matches!(
            cause,
            EndCause::TrainerFailed { .. }
                | EndCause::NotReady { .. }
                | EndCause::Stalled { .. }
                | EndCause::Broken { .. }
        );
        by_trainers && self.committed <= group.start()
    }

    /// A member of the group that was says where it stands.
    pub(crate) fn survivor_holds(&mut self, device: &DeviceId, step: Step) {
        let is_trusted = !self.is_distrusted(device);
        if let Phase::Regrouping { group, survivors, .. } = &mut self.phase
            && let Some(member) = group.members.get_mut(device)
        {
            member.step = member.step.max(step);
            if let Some(marks) = &mut self.marks {
                marks.aborted = self.now;
            }
            if is_trusted {
                survivors.insert(device.clone(), Some(step));
            }
        }
    }

    /// Those devices have no state, or nobody can ask them for it.
    pub(crate) fn no_survivors(&mut self, is_gone: impl Fn(&DeviceId) -> bool) {
        if let Phase::Regrouping { survivors, .. } = &mut self.phase {
            survivors.retain(|device, _| !is_gone(device));
        }
    }

    /// Forms the next generation once every survivor has answered and there are enough devices.
    pub(crate) fn settle_regroup(&mut self, effects: &mut Vec<Effect>) {
        let now = self.now;
        let Phase::Regrouping {
            survivors,
            since,
            until,
            ..
        } = &mut self.phase
        else {
            return;
        };
        let since = *since;
        if *until <= now {
            survivors.retain(|_, step| step.is_some());
        }
        if survivors.values().any(Option::is_none) {
            return;
        }
        let best = survivors.values().max().copied().flatten();
        let donors: Vec<DeviceId> = survivors
            .iter()
            .filter(|(_, step)| **step == best)
            .map(|(device, _)| device.clone())
            .collect();
        if self.verifying.iter().any(|name| Some(name.step()) > best) {
            return;
        }
        // A checkpoint that is ahead of all survivors: the one who wrote it is gone.
        let Some(best_step) = best.filter(|best| *best >= self.history.start_step()) else {
            return self.give_memory_up(effects);
        };
        let total_steps = self
            .plan
            .as_ref()
            .map_or(u64::MAX, |plan| plan.schedule.total_steps);
        if self.last_on_disk(total_steps).is_some() {
            return self.give_memory_up(effects);
        }
        let devices = self.available();
        let Some(donor) = donors.into_iter().find(|device| devices.contains(device)) else {
            // It is not the donors' machines' turn, as when they leave: their state is saved first.
            return self.rescue(effects);
        };
        // Where there are more devices than ranks, those that have a state go first: the donor must take part.
        let mut devices = devices;
        devices.sort_by_key(|device| std::cmp::Reverse(self.survived_at(device)));
        devices.truncate(self.settings.n_wanted());
        let replaced = now >= since.after(self.settings.replace_wait);
        let enough =
            devices.len() >= self.settings.n_wanted() || (devices.len() >= self.n_needed() && replaced);
        if enough {
            self.go_on_from(donor, best_step, &devices, effects);
        }
    }

    /// The step of the state a device kept, if it is a survivor.
    fn survived_at(&self, device: &DeviceId) -> Option<Step> {
        match &self.phase {
            Phase::Regrouping { survivors, .. } => survivors.get(device).copied().flatten(),
            _ => None,
        }
    }

    /// The fewest devices that will do: one is enough to save what is in memory before the run stops or pauses.
    pub(crate) fn n_needed(&self) -> usize {
        let is_to_end = self.stopping || self.history.paused;
        if is_to_end { 1 } else { self.settings.n_needed() }
    }

    fn go_on_from(&mut self, donor: DeviceId, step: Step, devices: &[DeviceId], effects: &mut Vec<Effect>) {
        self.commit(step, effects);
        self.count_upto(step, effects);
        let start_from = StartFrom::Donor {
            device: donor,
            step,
            distrusted: self.history.distrusted.clone(),
        };
        self.form(devices, start_from, effects);
        if self.stopping {
            self.begin_drain(DrainReason::Stop, effects);
        } else if self.history.paused {
            self.begin_drain(DrainReason::Pause, effects);
        }
    }

    /// Nobody has a state that is newer than the newest checkpoint.
    fn give_memory_up(&mut self, effects: &mut Vec<Effect>) {
        self.persist(Record::Ended, effects);
        self.phase = Phase::Gathering {
            n_available: 0,
            since: self.now,
        };
        self.let_leaving_go(effects);
        self.assign_all(effects);
    }

    /// The newest state lies only on machines that leave: they form a group once more, to write it to the disk.
    fn rescue(&mut self, effects: &mut Vec<Effect>) {
        let Phase::Regrouping { survivors, .. } = &self.phase else {
            return;
        };
        let best = survivors.iter().rev().max_by_key(|(_, step)| **step);
        let Some((donor, step)) = best.map(|(device, step)| (device.clone(), step.unwrap_or_default()))
        else {
            return;
        };
        self.go_on_from(donor.clone(), step, &[donor], effects);
        if matches!(self.phase, Phase::Forming { .. }) {
            self.begin_drain(DrainReason::Leaving, effects);
        }
    }

    /// Lets every machine go that wants to leave, unless it has the only state there is.
    pub(crate) fn let_leaving_go(&mut self, effects: &mut Vec<Effect>) {
        let leaving = self
            .machines
            .values()
            .filter(|machine| machine.standing == Standing::Leaving);
        let names: Vec<MachineName> = leaving.map(|machine| machine.name().clone()).collect();
        for name in names {
            if !self.is_needed_to_save(&name) {
                self.let_go(&name, effects);
            }
        }
    }

    /// Whether a machine that leaves has survivors and no machine that stays has any.
    pub(crate) fn is_needed_to_save(&self, name: &MachineName) -> bool {
        let Phase::Regrouping { survivors, .. } = &self.phase else {
            return self.phase.group().is_some_and(|group| group.needs_machine(name));
        };
        let stays = |device: &DeviceId| {
            let machine = self.machines.get(&device.machine);
            machine.is_some_and(|machine| {
                machine.standing != Standing::Leaving && matches!(machine.link, Link::Up(_))
            })
        };
        let has_any = survivors.keys().any(|device| device.machine == *name);
        has_any && !survivors.keys().any(stays)
    }
}
