//! One run as its report shows it: curves in bounded memory, regroups, evaluations and what else its folder records.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use m2t_common::ledger::Account;
use m2t_common::manifest::CheckpointName;

use super::curve::Curve;
use crate::operator::record::{self, Evaluation, Events, METRICS, Notes, RecipeRecord, StepLine};

/// What is plotted over the steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Curves {
    pub(super) loss: Curve,
    pub(super) learning_rate: Curve,
    pub(super) parameter_momentum: Curve,
    pub(super) statistics_momentum: Curve,
    pub(super) gradient_norm: Curve,
    pub(super) images_per_second: Curve,
    pub(super) data_wait: Curve,
}

/// A generation that took over from another one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Regroup {
    /// The first step it did.
    pub(super) step: u64,
    /// Its number.
    pub(super) generation: u64,
    /// Why the one before ended.
    pub(super) reason: Option<String>,
    /// From the last step of the one before to its first, in seconds.
    pub(super) seconds: Option<f64>,
}

/// A run.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// What to call it.
    pub(super) name: String,
    /// Its output folder.
    pub(super) folder: PathBuf,
    pub(super) recipe: Option<RecipeRecord>,
    pub(super) account: Option<Account>,
    pub(super) events: Events,
    pub(super) evaluations: Vec<Evaluation>,
    pub(super) curves: Curves,
    pub(super) regroups: Vec<Regroup>,
    /// The first and the last step that is told.
    pub(super) first: Option<StepLine>,
    pub(super) last: Option<StepLine>,
    /// Steps that are told.
    pub(super) n_steps: u64,
    /// Of all steps together, in seconds; regroups and pauses are not in it.
    pub(super) stepping_seconds: f64,
    /// Checkpoints that lie in the folder, oldest first.
    pub(super) checkpoints: Vec<CheckpointName>,
    /// What could not be read.
    pub(super) notes: Notes,
}

impl Run {
    /// Reads the output folder of a run.
    ///
    /// # Errors
    /// Where it holds no run, or a file of it cannot be read.
    pub(super) fn read(folder: &Path, name: String) -> anyhow::Result<Self> {
        record::require_run(folder)?;
        let mut notes = Notes::default();
        let of = |file: &str| format!("could not read {}", folder.join(file).display());
        let recipe = record::recipe(folder, &mut notes);
        let account = record::account(folder, &mut notes);
        let events = Events::read(folder, &mut notes).with_context(|| of(record::EVENTS))?;
        let evaluations = Evaluation::all(folder, &mut notes).with_context(|| of(record::EVALUATIONS))?;
        let mut run = Self {
            name,
            recipe,
            account,
            events,
            evaluations,
            curves: Curves::default(),
            regroups: Vec::new(),
            first: None,
            last: None,
            n_steps: 0,
            stepping_seconds: 0.0,
            checkpoints: checkpoints(folder).unwrap_or_default(),
            notes: Notes::default(),
            folder: folder.to_owned(),
        };
        StepLine::each(folder, &mut notes, |line| run.take(line)).with_context(|| of(METRICS))?;
        let n = run.curves.loss.n_not_finite;
        if n > 0 {
            notes.add(format_args!(
                "{METRICS}: the loss of {n} steps is no finite number and is not drawn."
            ));
        }
        run.notes = notes;
        Ok(run)
    }

    /// Images of a step over all ranks.
    pub(super) fn batch(&self) -> Option<u64> {
        self.recipe.as_ref()?.keys.get("batch")?.parse().ok()
    }

    /// Whether it trains a linear head on an encoder, and not an encoder.
    pub(super) fn is_linear(&self) -> bool {
        let recipe = self.recipe.as_ref().and_then(|recipe| recipe.recipe.as_ref());
        recipe.is_some_and(|recipe| recipe.training.linear.is_some())
    }

    /// Steps of an epoch, where recipe and data say it.
    pub(super) fn steps_per_epoch(&self) -> Option<u64> {
        let n_samples = self
            .account
            .as_ref()
            .map(|account| account.n_samples)
            .filter(|&n| n > 0)?;
        let steps = n_samples / self.batch().filter(|&batch| batch > 0)?;
        (steps > 0).then_some(steps)
    }

    /// Steps of the whole run, where recipe and data say it.
    pub(super) fn total_steps(&self) -> Option<u64> {
        let number = |key: &str| self.recipe.as_ref()?.keys.get(key)?.parse::<u64>().ok();
        number("steps").or_else(|| Some(number("epochs")? * self.steps_per_epoch()?))
    }

    /// The last step that is told; 0 without one.
    pub(super) fn last_step(&self) -> u64 {
        self.last.as_ref().map_or(0, |line| line.step)
    }

    fn take(&mut self, line: &StepLine) {
        let generation_before = self.last.as_ref().and_then(|last| last.generation);
        if let (Some(before), Some(now)) = (generation_before, line.generation)
            && before != now
        {
            let mut ends = self.events.ends.range(before..now);
            self.regroups.push(Regroup {
                step: line.step,
                generation: now,
                reason: ends.next().map(|(_, cause)| cause.clone()),
                seconds: line.regroup_seconds(),
            });
        }
        let curves = &mut self.curves;
        for (curve, value) in [
            (&mut curves.loss, Some(line.loss.unwrap_or(f64::NAN))),
            (&mut curves.learning_rate, line.learning_rate),
            (&mut curves.parameter_momentum, line.parameter_momentum),
            (&mut curves.statistics_momentum, line.statistics_momentum),
            (&mut curves.gradient_norm, line.gradient_norm),
            (&mut curves.images_per_second, line.images_per_second),
            (&mut curves.data_wait, line.data_wait),
        ] {
            if let Some(value) = value {
                curve.add(line.step, value);
            }
        }
        let batch = self.batch();
        self.stepping_seconds += batch.and_then(|batch| line.seconds(batch)).unwrap_or(0.0);
        self.n_steps += 1;
        self.first.get_or_insert_with(|| line.clone());
        self.last = Some(line.clone());
    }
}

/// Those in the folder, oldest first.
fn checkpoints(folder: &Path) -> io::Result<Vec<CheckpointName>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder.join("checkpoints"))? {
        let name = entry?.file_name();
        names.extend(name.to_str().and_then(CheckpointName::parse));
    }
    names.sort();
    Ok(names)
}
