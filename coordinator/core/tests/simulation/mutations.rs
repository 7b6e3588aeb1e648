//! Bugs put in on purpose, to show that each invariant catches one. They sit between the core and the world, and tamper with
//! what the core decided, as a core with that bug would have: the core itself knows nothing of them.

use m2t_common::machine_link::{StartFrom, ToMachine, Work};
use m2t_common::manifest::CheckpointName;
use m2t_common::status::Status;
use m2t_common::{Generation, Placement, Step, Timestamp};
use m2t_coordinator_core::{Effect, Record};

use crate::history::{History, Kind};
use crate::observed::Observed;

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// Machines that stand by are told so in the generation before.
    SendsAnOldGeneration,
    /// A surplus checkpoint is deleted before the journal says so.
    DeletesTooEarly,
    /// A checkpoint counts when a device says it is written.
    BelievesUnverified,
    /// The committed step is shown one too low.
    ShowsTooFew,
    /// The deadline is told ten seconds too late.
    TellsDeadlinesLate,
    /// The donor is not the survivor who is farthest.
    PicksADonorBehind,
    /// The donor is a device that does not take part.
    PicksADonorOutside,
    /// The exit comes before the last words.
    ExitsTooEarly,
    /// The run is finished one step before its last.
    FinishesTooEarly,
    /// A generation's number is left out.
    SkipsAGeneration,
    /// A new generation is not journalled.
    ForgetsAGeneration,
    /// The steps of the generation that was are not counted before another is formed.
    ForgetsToCount,
    /// Steps are counted twice.
    CountsTwice,
    /// A step's metrics go out twice.
    DoublesMetrics,
    /// A generation starts from an older checkpoint than the newest.
    TakesAnOldCheckpoint,
    /// A generation starts from a checkpoint although survivors hold more. (Of a paused run that is two bugs in one.)
    ThrowsMemoryAway,
    /// An operator is not answered.
    LeavesUnanswered,
    /// An operator is answered before the wish is journalled.
    AnswersTooEarly,
    /// It is not journalled that the run was resumed.
    ForgetsTheResume,
    /// Two devices of a placement have the same rank, and another rank has none.
    HostsARankTwice,
    /// A verified checkpoint is not journalled.
    ForgetsACheckpoint,
    /// It is not journalled that a machine was taken back.
    ForgetsTheReadmission,
    /// A stream is closed before the last word on it.
    ClosesTooEarly,
    /// Nobody is told where to meet.
    KeepsTheMeetingPoint,
}

/// Every bug, and the invariant that must catch it.
const CAUGHT_BY: [(Mutation, &str); 24] = [
    (Mutation::SendsAnOldGeneration, "assignments"),
    (Mutation::DeletesTooEarly, "checkpoint_kept"),
    (Mutation::BelievesUnverified, "checkpoint_verified"),
    (Mutation::ShowsTooFew, "committed"),
    (Mutation::TellsDeadlinesLate, "deadlines"),
    (Mutation::PicksADonorBehind, "donor"),
    (Mutation::PicksADonorOutside, "donor"),
    (Mutation::ExitsTooEarly, "exit"),
    (Mutation::FinishesTooEarly, "finished"),
    (Mutation::SkipsAGeneration, "generations"),
    (Mutation::ForgetsAGeneration, "journalled_first"),
    (Mutation::ForgetsToCount, "ledger"),
    (Mutation::CountsTwice, "ledger"),
    (Mutation::DoublesMetrics, "metrics"),
    (Mutation::TakesAnOldCheckpoint, "newest_state"),
    (Mutation::ThrowsMemoryAway, "no_step_lost"),
    (Mutation::LeavesUnanswered, "orders"),
    (Mutation::AnswersTooEarly, "orders"),
    (Mutation::ForgetsTheResume, "paused"),
    (Mutation::HostsARankTwice, "ranks"),
    (Mutation::ForgetsACheckpoint, "reload"),
    (Mutation::ForgetsTheReadmission, "set_aside"),
    (Mutation::ClosesTooEarly, "streams"),
    (Mutation::KeepsTheMeetingPoint, "progress"),
];

impl Mutation {
    /// Changes what the core decided. `seen` is what was seen before.
    pub(crate) fn tamper(self, seen: &Observed, effects: &mut Vec<Effect>) {
        match self {
            Self::BelievesUnverified
            | Self::PicksADonorBehind
            | Self::PicksADonorOutside
            | Self::FinishesTooEarly
            | Self::SkipsAGeneration
            | Self::TakesAnOldCheckpoint
            | Self::ThrowsMemoryAway
            | Self::HostsARankTwice => effects.iter_mut().for_each(|effect| self.change(seen, effect)),
            Self::SendsAnOldGeneration | Self::KeepsTheMeetingPoint => {
                effects.iter_mut().for_each(|effect| self.change_message(effect));
            }
            Self::DeletesTooEarly | Self::ExitsTooEarly | Self::ClosesTooEarly | Self::AnswersTooEarly => {
                self.reorder(effects);
            }
            Self::CountsTwice | Self::DoublesMetrics => self.double(effects),
            Self::ForgetsToCount => {
                let forms = |effect: &Effect| matches!(effect, Effect::Persist(Record::Generation { .. }));
                if effects.iter().any(forms) {
                    effects.retain(|effect| !self.is_forgotten(effect));
                }
            }
            Self::ForgetsAGeneration
            | Self::LeavesUnanswered
            | Self::ForgetsTheResume
            | Self::ForgetsACheckpoint
            | Self::ForgetsTheReadmission => effects.retain(|effect| !self.is_forgotten(effect)),
            Self::ShowsTooFew | Self::TellsDeadlinesLate => {}
        }
    }

    /// Changes when the core says it wants to be woken.
    pub(crate) fn delay(self, deadline: Option<Timestamp>) -> Option<Timestamp> {
        match self {
            Self::TellsDeadlinesLate => deadline.map(|at| Timestamp(at.0 + 10_000)),
            _ => deadline,
        }
    }

    /// Changes what the core tells of itself.
    pub(crate) fn misreport(self, status: &mut Status) {
        if let (Self::ShowsTooFew, Some(progress)) = (self, &mut status.progress) {
            progress.step = Step(progress.step.0.saturating_sub(1));
        }
    }

    fn is_forgotten(self, effect: &Effect) -> bool {
        match (self, effect) {
            (Self::LeavesUnanswered, Effect::Answer { .. }) => true,
            (_, Effect::Persist(record)) => matches!(
                (self, record),
                (Self::ForgetsAGeneration, Record::Generation { .. })
                    | (Self::ForgetsToCount, Record::Committed { .. })
                    | (Self::ForgetsTheResume, Record::Resumed)
                    | (Self::ForgetsACheckpoint, Record::Checkpoint(_))
                    | (Self::ForgetsTheReadmission, Record::Readmitted { .. })
            ),
            _ => false,
        }
    }

    fn double(self, effects: &mut Vec<Effect>) {
        let is_doubled = |effect: &Effect| match effect {
            Effect::Metrics(_) => self == Self::DoublesMetrics,
            Effect::Persist(Record::Committed { .. }) => self == Self::CountsTwice,
            _ => false,
        };
        let twice = |effect: Effect| {
            let n = if is_doubled(&effect) { 2 } else { 1 };
            std::iter::repeat_n(effect, n)
        };
        *effects = std::mem::take(effects).into_iter().flat_map(twice).collect();
    }

    /// What should come last comes one earlier.
    fn reorder(self, effects: &mut [Effect]) {
        let is_late = |effect: &Effect| match effect {
            Effect::DeleteCheckpoint(_) => self == Self::DeletesTooEarly,
            Effect::Exit(_) => self == Self::ExitsTooEarly,
            Effect::Answer { .. } => self == Self::AnswersTooEarly,
            Effect::Close { .. } => self == Self::ClosesTooEarly,
            _ => false,
        };
        for at in 1..effects.len() {
            if is_late(&effects[at]) {
                effects.swap(at - 1, at);
            }
        }
    }

    fn change_message(self, effect: &mut Effect) {
        let Effect::Send {
            message: ToMachine::Assign(assignment),
            ..
        } = effect
        else {
            return;
        };
        match (self, &mut assignment.work) {
            (Self::SendsAnOldGeneration, Work::StandBy) => {
                assignment.generation = Generation(assignment.generation.0.saturating_sub(1));
            }
            (Self::KeepsTheMeetingPoint, Work::Train(group)) => group.rendezvous = None,
            _ => {}
        }
    }

    fn change(self, seen: &Observed, effect: &mut Effect) {
        if let (Self::BelievesUnverified, Effect::VerifyCheckpoint(report)) = (self, &*effect) {
            *effect = Effect::Persist(Record::Checkpoint(report.clone()));
            return;
        }
        match effect {
            Effect::Persist(Record::Generation {
                generation,
                placement,
                start_from,
            }) => {
                if self == Self::SkipsAGeneration {
                    *generation = generation.next();
                }
                if self == Self::HostsARankTwice {
                    host_twice(placement);
                }
                self.start_elsewhere(seen, placement, start_from);
            }
            Effect::CutBack { after } if self == Self::ThrowsMemoryAway => *after = seen.on_disk(),
            Effect::Persist(Record::Finished { step, .. }) if self == Self::FinishesTooEarly => {
                *step = Step(step.0 - 1);
            }
            _ => {}
        }
    }

    fn start_elsewhere(self, seen: &Observed, placement: &Placement, start: &mut StartFrom) {
        let newest = seen.checkpoints.last().cloned();
        match (self, start) {
            (Self::PicksADonorBehind, StartFrom::Donor { device, step, .. }) => {
                let on_disk = seen.on_disk();
                let behind = |held: &Step| *held < *step && *held >= on_disk;
                let mut others = seen.survivors.iter().filter(|(_, held)| behind(held));
                if let Some((other, held)) = others.find(|(other, _)| placement.index_of(other).is_some()) {
                    (*device, *step) = (other.clone(), *held);
                }
            }
            (Self::PicksADonorOutside, StartFrom::Donor { device, .. }) => {
                device.machine = "elsewhere".parse().unwrap();
            }
            (Self::TakesAnOldCheckpoint, StartFrom::Checkpoint(name)) => {
                let older: Option<&CheckpointName> = seen.checkpoints.range(..name.clone()).next_back();
                if let Some(older) = older {
                    *name = older.clone();
                }
            }
            (Self::ThrowsMemoryAway, start @ StartFrom::Donor { .. }) if !seen.paused => {
                *start = newest.map_or(StartFrom::Initial, StartFrom::Checkpoint);
            }
            _ => {}
        }
    }
}

fn host_twice(placement: &mut Placement) {
    let all = &mut placement.devices;
    if let (Some(first), Some(last)) = (all.first().cloned(), all.last_mut())
        && first.device != last.device
    {
        last.ranks = first.ranks;
    }
}

/// Histories a bug has to show itself in.
const HISTORIES: u64 = 60;

#[test]
fn each_bug_is_caught_by_its_invariant_and_by_no_other() {
    for (mutation, invariant) in CAUGHT_BY {
        let mut n_caught = 0;
        for seed in 0..HISTORIES {
            let history = History::new(Kind::Chaos, seed);
            if let Err(violations) = history.run(Some(mutation)) {
                let names: Vec<&str> = violations.iter().map(|violation| violation.invariant).collect();
                assert_eq!(names, [invariant], "{mutation:?} in {history}: {violations:#?}");
                n_caught += 1;
            }
        }
        assert!(n_caught > 0, "nothing catches {mutation:?}");
    }
}

/// So it is the bug that is caught, and nothing else.
#[test]
fn without_a_bug_nothing_is_caught() {
    for seed in 0..HISTORIES {
        let history = History::new(Kind::Chaos, seed);
        assert_eq!(history.run(None).err(), None, "{history}");
    }
}

#[test]
fn each_invariant_is_shown_to_catch_a_bug() {
    for (invariant, _) in crate::invariants::ALL {
        let is_shown = CAUGHT_BY.iter().any(|(_, by)| *by == invariant);
        assert!(is_shown, "no mutation shows that {invariant} catches anything");
    }
}
