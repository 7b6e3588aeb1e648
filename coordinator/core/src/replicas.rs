//! The replica check: with one history for all ranks every device holds the same whole state, to the bit, and every so many
//! steps each says its digest. Where one differs, a memory or a processor did what it should not have.
//!
//! ```text
//!  all members said the digest of a step
//!    ├── all the same ──────► vouched: what the disk holds up to there is known to be good
//!    ├── a majority agrees ─► the others are distrusted: the generation ends, a device of the majority is the donor, and they
//!    │                        take the whole state from it, until a later check vouches for them again
//!    └── no majority ───────► nobody can tell whose state is right: the run pauses, and goes on from the newest checkpoint of
//!                             before the last agreement
//! ```
//! A checkpoint written since the last agreement by a device that differs now, or by any where there is no majority, may hold a
//! wrong state: it is set aside, and the newest one from before is kept for as long as it is needed (see `checkpoints`).
//!
//! Why a majority goes on and takes no step back: all of its devices made the same of the same sums. What the device that differs
//! added to these sums since the last agreement is in them; that much is a price of checking seldom, and the notice names the steps.
//!
//! Not here: how a digest is made; who starts from what (`regroup`).

use std::collections::{BTreeMap, BTreeSet};

use m2t_common::manifest::CheckpointName;
use m2t_common::{DeviceId, Step};

use crate::history::Dropped;
use crate::phase::Phase;
use crate::{Core, Effect, EndCause, Notice, Record};

/// The digests that members of a group said and that not all have said yet.
#[derive(Debug, Default)]
pub(crate) struct Digests {
    /// The last step that was compared.
    compared: Step,
    /// By step and device.
    said: BTreeMap<Step, BTreeMap<DeviceId, String>>,
}

/// What a comparison shows.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Equal states.
    Agree,
    /// Most agree; these do not.
    Differ(BTreeSet<DeviceId>),
    /// No state is held by more than half of the devices.
    NoMajority,
}

impl Digests {
    /// Takes in a digest. Once all of `n_members` said theirs of a step, these; what is older will not be compared any more.
    fn say(
        &mut self,
        (device, step): (&DeviceId, Step),
        digest: String,
        n_members: usize,
    ) -> Option<BTreeMap<DeviceId, String>> {
        if step <= self.compared {
            return None;
        }
        let said = self.said.entry(step).or_default();
        said.entry(device.clone()).or_insert(digest);
        if said.len() < n_members {
            return None;
        }
        let said = self.said.remove(&step);
        self.said.retain(|&other, _| other > step);
        self.compared = step;
        said
    }
}

fn verdict(said: &BTreeMap<DeviceId, String>) -> Verdict {
    let mut holders: BTreeMap<&str, usize> = BTreeMap::new();
    for digest in said.values() {
        *holders.entry(digest).or_default() += 1;
    }
    let most = holders.into_iter().max_by_key(|(_, n)| *n);
    match most {
        Some((_, n)) if n == said.len() => Verdict::Agree,
        Some((right, n)) if 2 * n > said.len() => {
            let differ = said.iter().filter(|(_, digest)| *digest != right);
            Verdict::Differ(differ.map(|(device, _)| device.clone()).collect())
        }
        _ => Verdict::NoMajority,
    }
}

impl Core {
    /// A member of the group says the digest of its whole state at `step`.
    pub(crate) fn state_said(
        &mut self,
        device: &DeviceId,
        step: Step,
        digest: String,
        effects: &mut Vec<Effect>,
    ) {
        let Some(group) = self.phase.heard_mut() else {
            return;
        };
        let n_members = group.members.len();
        let Some(said) = group.digests.say((device, step), digest, n_members) else {
            return;
        };
        match verdict(&said) {
            Verdict::Agree => self.persist(Record::Vouched { step }, effects),
            Verdict::Differ(devices) => self.replicas_differ(step, &devices, effects),
            Verdict::NoMajority => self.no_majority(step, said.into_keys().collect(), effects),
        }
    }

    /// Whether the state this device keeps is not to be gone on with.
    pub(crate) fn is_distrusted(&self, device: &DeviceId) -> bool {
        self.history.distrusted.contains(device)
    }

    /// Those that differ are named, and get the state of the others.
    fn replicas_differ(&mut self, step: Step, devices: &BTreeSet<DeviceId>, effects: &mut Vec<Effect>) {
        let agreed = self.history.vouched;
        let named: Vec<DeviceId> = devices.iter().cloned().collect();
        self.persist(
            Record::Differ {
                step,
                devices: devices.clone(),
            },
            effects,
        );
        self.note(
            Notice::ReplicaDiffers {
                step,
                devices: named.clone(),
                agreed,
            },
            effects,
        );
        self.set_suspects_aside(
            |writer| writer.is_none_or(|writer| devices.contains(writer)),
            effects,
        );
        self.no_survivors(|device| devices.contains(device));
        self.end_generation(EndCause::ReplicaDiffers { devices: named, step }, effects);
    }

    /// Nobody can tell whose state is right.
    fn no_majority(&mut self, step: Step, devices: Vec<DeviceId>, effects: &mut Vec<Effect>) {
        self.set_suspects_aside(|_| true, effects);
        let resume_from = self.history.start_step();
        self.persist(Record::NoMajority { step }, effects);
        self.note(
            Notice::NoMajority {
                step,
                devices: devices.clone(),
                resume_from,
            },
            effects,
        );
        self.no_survivors(|_| true);
        self.end_generation(EndCause::NoMajority { devices, step }, effects);
    }

    /// Sets the checkpoints aside that were written since the last agreement, by a writer of which `is_suspect` says so.
    fn set_suspects_aside(
        &mut self,
        is_suspect: impl Fn(Option<&DeviceId>) -> bool,
        effects: &mut Vec<Effect>,
    ) {
        let agreed = self.history.vouched;
        let of_now = self.phase.heard().and_then(|group| group.placement.first());
        let spans = &self.history.ledger.spans;
        let writer = |step: Step| {
            let span = spans.iter().find(|span| span.from < step && step <= span.upto);
            span.map_or(of_now, |span| span.placement.first())
        };
        let suspect = |name: &&CheckpointName| name.step() > agreed && is_suspect(writer(name.step()));
        let registered: Vec<CheckpointName> =
            self.history.checkpoints.keys().filter(suspect).cloned().collect();
        let verifying: Vec<CheckpointName> = self.verifying.iter().filter(suspect).cloned().collect();
        for name in registered {
            let record = Record::CheckpointDropped {
                name: name.clone(),
                why: Dropped::Suspect,
            };
            self.persist(record, effects);
            self.suspect(name, effects);
        }
        for name in verifying {
            self.verifying.remove(&name);
            self.suspect(name, effects);
        }
    }

    /// Puts a checkpoint out of the way that may hold a wrong state.
    pub(crate) fn suspect(&mut self, name: CheckpointName, effects: &mut Vec<Effect>) {
        effects.push(Effect::SetAsideCheckpoint(name.clone()));
        let agreed = self.history.vouched;
        self.note(Notice::Suspect { name, agreed }, effects);
    }

    /// Whether a checkpoint that a device was still writing when its generation ended may hold a wrong state.
    pub(crate) fn is_suspect(&self, writer: &DeviceId, step: Step) -> bool {
        let undecided = self.history.no_majority.is_some() && matches!(self.phase, Phase::Paused);
        step > self.history.vouched && (undecided || self.is_distrusted(writer))
    }
}
