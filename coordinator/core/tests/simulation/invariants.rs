//! What must hold whatever happens.
//!
//! | invariant | source |
//! | --- | --- |
//! | generations rise by one; no two placements have one number | architecture, "generation" |
//! | a placement hosts each rank once | architecture, "placement" |
//! | a generation starts from the newest checkpoint of the journal, or from a member's memory that is no older | architecture, "Regroup" |
//! | an Assign's placement is journalled before it is sent | architecture, "`Persist` precedes `Assign`" |
//! | only a connected stream is spoken to, and nothing after its Close | contract of the effects |
//! | metrics ascend by step, none twice, and are cut back to where a generation starts | "committed step" |
//! | the committed step never falls below the newest checkpoint | "committed step" |
//! | a checkpoint that a generation may start from is never deleted | "Checkpoints" |
//! | a reload knows what was journalled | "`status()` before and after a crash is equal" |
//! | a finished run has its last checkpoint | "Checkpoints" |

use std::collections::{BTreeMap, BTreeSet};

use m2t_common::machine_link::{StartFrom, ToMachine, Work};
use m2t_common::manifest::CheckpointName;
use m2t_common::{Generation, Placement, Rank, Step};
use m2t_coordinator_core::{Core, Effect, Record, StreamId};

/// What was seen, folded from journal and effects by code of its own.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    last: Step,
    placements: BTreeMap<Generation, Placement>,
    checkpoints: BTreeSet<CheckpointName>,
    metrics: Step,
    paused: bool,
    closed: BTreeSet<StreamId>,
}

impl Ledger {
    /// Of a run of so many steps.
    pub(crate) fn new(total: u64) -> Self {
        Self {
            last: Step(total),
            ..Self::default()
        }
    }

    /// An effect is about to be carried out.
    pub(crate) fn check(&mut self, effect: &Effect) {
        match effect {
            Effect::Persist(record) => self.check_record(record),
            Effect::Send { stream, message } => {
                assert!(
                    !self.closed.contains(stream),
                    "{stream:?} is closed, but was sent {message:?}"
                );
                self.check_message(message);
            }
            Effect::Close { stream } => {
                self.closed.insert(*stream);
            }
            Effect::Metrics(step) => {
                assert!(
                    step.report.step > self.metrics,
                    "metrics of {} after {}",
                    step.report.step,
                    self.metrics
                );
                self.metrics = step.report.step;
            }
            Effect::CutBack { after } => self.metrics = self.metrics.min(*after),
            Effect::DeleteCheckpoint(name) | Effect::SetAsideCheckpoint(name) => {
                assert!(
                    !self.checkpoints.contains(name),
                    "{name} is deleted, but was not dropped before"
                );
            }
            Effect::Samples(_) => {}
            Effect::VerifyCheckpoint(_) | Effect::Answer { .. } | Effect::Notice { .. } | Effect::Exit(_) => {
            }
        }
    }

    fn check_record(&mut self, record: &Record) {
        match record {
            Record::Ended | Record::Committed { .. } | Record::Replaced(_) => {}
            Record::SetAside { .. } | Record::Readmitted { .. } => {}
            Record::Paused => self.paused = true,
            Record::Resumed => self.paused = false,
            Record::Generation {
                generation,
                placement,
                start_from,
            } => {
                let highest = self.placements.keys().next_back().copied().unwrap_or_default();
                assert_eq!(*generation, highest.next(), "generations rise by one");
                let is_to_be_saved = matches!(start_from, StartFrom::Donor { .. });
                assert!(
                    !self.paused || is_to_be_saved,
                    "generation {generation} forms although the run is paused"
                );
                let ranks: Vec<Rank> = placement
                    .devices
                    .iter()
                    .flat_map(|placed| placed.ranks.clone())
                    .collect();
                assert_eq!(
                    ranks,
                    (0..4).map(Rank).collect::<Vec<_>>(),
                    "each rank is hosted once"
                );
                let newest = self.checkpoints.last();
                match start_from {
                    StartFrom::Initial => assert_eq!(newest, None, "there is a checkpoint to start from"),
                    StartFrom::Checkpoint(name) => {
                        assert_eq!(Some(name), newest, "it starts from the newest checkpoint");
                    }
                    StartFrom::Donor { device, step, .. } => {
                        assert!(
                            placement.index_of(device).is_some(),
                            "the donor {device} takes part"
                        );
                        let on_disk = newest.map_or(Step(0), CheckpointName::step);
                        assert!(
                            *step >= on_disk,
                            "memory at {step} is older than {on_disk} on the disk"
                        );
                    }
                }
                self.placements.insert(*generation, placement.clone());
            }
            Record::Checkpoint(report) => {
                self.checkpoints.insert(report.name.clone());
            }
            Record::CheckpointDropped { name, .. } => {
                self.checkpoints.remove(name);
            }
            Record::Finished { step, .. } => {
                assert_eq!(*step, self.last, "finished at the last step");
            }
            Record::Run { .. } | Record::Data(_) | Record::Vouched { .. } => {}
            Record::Differ { .. } | Record::NoMajority { .. } => {}
        }
    }

    fn check_message(&self, message: &ToMachine) {
        if let ToMachine::Assign(assignment) = message {
            let highest = self.placements.keys().next_back().copied().unwrap_or_default();
            assert_eq!(
                assignment.generation, highest,
                "an assignment is of the newest generation"
            );
            if let Work::Train(group) = &assignment.work {
                let journalled = self.placements.get(&assignment.generation);
                assert_eq!(
                    journalled,
                    Some(&group.placement),
                    "its placement was journalled before"
                );
            }
        }
    }

    /// After an input was handled whole.
    pub(crate) fn check_state(&self, core: &Core, reloaded: &Core) {
        let (now, after) = (core.status(), reloaded.status());
        assert_eq!(now.generation, after.generation);
        assert_eq!(now.checkpoint, after.checkpoint);
        assert_eq!((now.experiment, now.world), (after.experiment, after.world));
        let (progress, again) = (now.progress, after.progress);
        assert_eq!(progress.is_some(), again.is_some(), "the data set is journalled");
        if let (Some(progress), Some(checkpoint)) = (progress, now.checkpoint) {
            assert!(
                progress.step >= checkpoint.step,
                "{} is below checkpoint {}",
                progress.step,
                checkpoint.step
            );
        }
    }

    /// The last step of the metrics.
    pub(crate) fn metrics(&self) -> Step {
        self.metrics
    }

    /// Checkpoints of the journal.
    pub(crate) fn checkpoints(&self) -> impl Iterator<Item = u64> {
        self.checkpoints.iter().map(|name| name.step().0)
    }
}
