//! What is journalled, and the one code that folds it: while running and after a crash.
//!
//! Not journalled: heartbeats, streams, each step. A coordinator that starts again hears of the steps since the last
//! record from the machines, which keep what they said.

use std::collections::{BTreeMap, BTreeSet};

use m2t_common::ledger::Ledger;
use m2t_common::machine_link::{DataFacts, StartFrom};
use m2t_common::manifest::CheckpointName;
use m2t_common::placement::Homes;
use m2t_common::report::{CheckpointReport, ReplacedFile};
use m2t_common::shard::Sample;
use m2t_common::{DeviceId, Generation, MachineName, Placement, Recipe, Step};
use serde::{Deserialize, Serialize};

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// The run began.
    Run {
        /// Its recipe; a resume with another is refused by the differing keys.
        recipe: Box<Recipe>,
    },
    /// The data set is known and binds every machine.
    Data(DataFacts),
    /// A placement was formed.
    Generation {
        /// Its number.
        generation: Generation,
        /// Which device hosts which ranks.
        placement: Placement,
        /// The state it starts from.
        start_from: StartFrom,
    },
    /// The newest generation is over and nobody keeps its state: the next one starts from a checkpoint.
    Ended,
    /// A checkpoint is complete and verified.
    Checkpoint(CheckpointReport),
    /// A checkpoint is no longer one to start from.
    CheckpointDropped {
        /// Which.
        name: CheckpointName,
        /// Why.
        why: Dropped,
    },
    /// The steps up to here count, done by the present generation.
    Committed {
        /// The state's step after the last of them.
        upto: Step,
    },
    /// A file that cannot be decoded was met for the first time.
    Replaced(ReplacedFile),
    /// A machine's trainers kept failing: it takes part no more until it is taken back.
    SetAside {
        /// Which.
        machine: MachineName,
        /// What kept failing, and the last reason.
        reason: String,
    },
    /// An operator took a machine back.
    Readmitted {
        /// Which.
        machine: MachineName,
    },
    /// All devices held the same state at this step.
    Vouched {
        /// The state's step.
        step: Step,
    },
    /// Those devices held another state than most.
    Differ {
        /// At which step.
        step: Step,
        /// Which: what they keep is not gone on with until all agree again.
        devices: BTreeSet<DeviceId>,
    },
    /// The devices' states differed, and none was held by most: the run is paused.
    NoMajority {
        /// At which step.
        step: Step,
    },
    /// An operator paused the run.
    Paused,
    /// An operator resumed it.
    Resumed,
    /// All steps are done.
    Finished {
        /// The last step.
        step: Step,
        /// Digest of the final state.
        state_digest: String,
    },
}

/// Why a checkpoint left the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dropped {
    /// Enough newer ones are there.
    Superseded,
    /// Its files do not match its manifest.
    Damaged,
    /// Its folder is gone.
    Missing,
    /// It was written when the devices' states no longer agreed.
    Suspect,
}

/// A journal that cannot be continued with this recipe.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ResumeError {
    /// The mathematics differ.
    #[error(
        "the run in the output folder was begun with another recipe; it differs in {}; give the same recipe, or another --output",
        describe(differences)
    )]
    OtherRecipe {
        /// (key, now, then).
        differences: Vec<(String, String, String)>,
    },
}

fn describe(differences: &[(String, String, String)]) -> String {
    let one = |(key, now, then): &(String, String, String)| format!("{key} (now {now}, then {then})");
    differences.iter().map(one).collect::<Vec<_>>().join(", ")
}

impl ResumeError {
    /// Refuses `now` where its mathematics differ from those the run was begun with.
    pub fn check(now: &Recipe, then: &Recipe) -> Result<(), Self> {
        let differences = now.differences(then);
        if differences.is_empty() {
            Ok(())
        } else {
            Err(Self::OtherRecipe { differences })
        }
    }
}

/// The fold of all records.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct History {
    /// The recipe the run was begun with.
    pub(crate) recipe: Option<Recipe>,
    /// The data set that binds every machine.
    pub(crate) data: Option<DataFacts>,
    /// The highest generation ever formed.
    pub(crate) generation: Generation,
    /// The placement of that generation.
    pub(crate) placement: Placement,
    /// The state it started from.
    pub(crate) start_from: StartFrom,
    /// Whether it is over for good.
    pub(crate) ended: bool,
    /// Which generation did which steps that count.
    pub(crate) ledger: Ledger,
    /// Files that cannot be decoded, as far as they were met.
    pub(crate) damaged: BTreeMap<Sample, ReplacedFile>,
    /// Where each device was last placed.
    pub(crate) homes: Homes,
    /// Checkpoints to start from.
    pub(crate) checkpoints: BTreeMap<CheckpointName, CheckpointReport>,
    /// Machines whose trainers kept failing, and the last reason.
    pub(crate) set_aside: BTreeMap<MachineName, String>,
    /// The last step at which all devices held the same state.
    pub(crate) vouched: Step,
    /// Devices that differed from the others since.
    pub(crate) distrusted: BTreeSet<DeviceId>,
    /// Whether the run is to be paused.
    pub(crate) paused: bool,
    /// The step at which the states differed and no majority could tell which is right, if that is why it is paused.
    pub(crate) no_majority: Option<Step>,
    /// The end: last step and final digest.
    pub(crate) finished: Option<(Step, String)>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            recipe: None,
            data: None,
            generation: Generation(0),
            placement: Placement::default(),
            start_from: StartFrom::Initial,
            ended: true,
            ledger: Ledger::default(),
            damaged: BTreeMap::new(),
            homes: Homes::new(),
            checkpoints: BTreeMap::new(),
            set_aside: BTreeMap::new(),
            vouched: Step(0),
            distrusted: BTreeSet::new(),
            paused: false,
            no_majority: None,
            finished: None,
        }
    }
}

impl History {
    /// Folds one record.
    pub(crate) fn apply(&mut self, record: &Record) {
        match record {
            Record::Run { recipe } => self.recipe = Some((**recipe).clone()),
            Record::Data(facts) => self.data = Some(facts.clone()),
            Record::Generation {
                generation,
                placement,
                start_from,
            } => {
                self.generation = self.generation.max(*generation);
                self.placement = placement.clone();
                // What was done beyond the start is done again.
                self.ledger.cut(start_from.step());
                self.start_from = start_from.clone();
                if !matches!(start_from, StartFrom::Donor { .. }) {
                    // Nobody goes on with what it keeps.
                    self.distrusted.clear();
                }
                self.ended = false;
                placement.update_homes(&mut self.homes);
            }
            Record::Checkpoint(report) => {
                self.checkpoints.insert(report.name.clone(), report.clone());
            }
            Record::CheckpointDropped { name, .. } => {
                self.checkpoints.remove(name);
            }
            Record::Ended => self.ended = true,
            Record::Committed { upto } => self.ledger.extend(self.generation, &self.placement, *upto),
            Record::Replaced(file) => {
                self.damaged.insert(file.sample, file.clone());
            }
            Record::SetAside { machine, reason } => {
                self.set_aside.insert(machine.clone(), reason.clone());
            }
            Record::Readmitted { machine } => {
                self.set_aside.remove(machine);
            }
            Record::Vouched { step } => {
                self.vouched = *step;
                self.distrusted.clear();
            }
            Record::Differ { devices, .. } => self.distrusted.extend(devices.iter().cloned()),
            Record::NoMajority { step } => {
                self.paused = true;
                self.no_majority = Some(*step);
            }
            Record::Paused => self.paused = true,
            Record::Resumed => {
                self.paused = false;
                self.no_majority = None;
            }
            Record::Finished { step, state_digest } => {
                self.finished = Some((*step, state_digest.clone()));
            }
        }
    }

    /// Refuses a recipe with other mathematics than the run's.
    pub(crate) fn check(&self, recipe: &Recipe) -> Result<(), ResumeError> {
        match &self.recipe {
            Some(then) => ResumeError::check(recipe, then),
            None => Ok(()),
        }
    }

    /// The newest checkpoint.
    pub(crate) fn newest(&self) -> Option<&CheckpointReport> {
        self.checkpoints.values().next_back()
    }

    /// The step a generation starts at that starts from the disk.
    pub(crate) fn start_step(&self) -> Step {
        self.newest().map_or(Step(0), |report| report.step)
    }
}
