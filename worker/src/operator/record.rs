//! What a run's output folder records, read for people and other tools: steps, events, evaluations, recipe and ledger.
//!
//! Reading is lenient: a run may be under way, was perhaps ended by a power failure, and may be of another version. What cannot be
//! read is counted and told in a sentence ([`Notes`]), and the rest is used. Lines are read one by one, so that a run of millions
//! of steps takes no more memory than a short one. `m2t audit` is the one that forgives nothing.

mod clock;
mod evaluations;
mod events;
mod lines;
mod recipe;
mod steps;

use std::fmt::Display;
use std::path::{Path, PathBuf};

use m2t_common::ledger::{Account, LEDGER_FILE};

use super::Refused;
pub use clock::Clock;
pub use evaluations::{EVALUATIONS, Evaluation};
pub use events::{EVENTS, Events};
pub use lines::{Lines, Tally};
pub use recipe::{Difference, RecipeRecord};
pub use steps::{METRICS, Order, StepLine};

/// What was met on the way and skipped, a sentence each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes(Vec<String>);

impl Notes {
    /// Adds a sentence.
    pub fn add(&mut self, sentence: impl Display) {
        self.0.push(sentence.to_string());
    }

    /// Tells of the lines of `file` that could not be used, if there are any.
    pub fn tally(&mut self, file: &str, tally: &Tally) {
        self.0.extend(tally.told(file));
    }

    /// All of them.
    pub fn sentences(&self) -> &[String] {
        &self.0
    }
}

/// Refuses a folder that holds no run.
///
/// # Errors
/// [`Refused`] says what is missing.
pub fn require_run(folder: &Path) -> Result<(), Refused> {
    let shown = folder.display();
    if !folder.is_dir() {
        return Err(Refused::new(format!(
            "{shown} is no folder; give the output folder of a run"
        )));
    }
    let holds = |file: &str| folder.join(file).is_file();
    if holds(METRICS) || holds(recipe::RECIPE) {
        return Ok(());
    }
    Err(Refused::new(format!(
        "{shown} is no output folder of a run: it holds neither {METRICS} nor {}",
        recipe::RECIPE
    )))
}

/// The recipe of a run, or nothing after a note.
pub fn recipe(folder: &Path, notes: &mut Notes) -> Option<RecipeRecord> {
    let read = std::fs::read(folder.join(recipe::RECIPE)).map_err(|error| error.to_string());
    let parsed = read.and_then(|bytes| RecipeRecord::parse(&bytes).map_err(|error| error.to_string()));
    parsed
        .map_err(|error| notes.add(format_args!("{} was left out: {error}", recipe::RECIPE)))
        .ok()
}

/// The ledger of a run, or nothing after a note.
pub fn account(folder: &Path, notes: &mut Notes) -> Option<Account> {
    let read = std::fs::read(folder.join(LEDGER_FILE)).map_err(|error| error.to_string());
    let parsed =
        read.and_then(|bytes| serde_json::from_slice::<Account>(&bytes).map_err(|error| error.to_string()));
    parsed
        .map_err(|error| notes.add(format_args!("{LEDGER_FILE} was left out: {error}")))
        .ok()
}

/// What to call each of some runs: the folder's own name, or the whole path where two have the same.
pub fn names(folders: &[PathBuf]) -> Vec<String> {
    let short = |folder: &PathBuf| {
        let whole = folder.canonicalize().unwrap_or_else(|_| folder.clone());
        let name = whole.file_name().unwrap_or(whole.as_os_str());
        name.to_string_lossy().into_owned()
    };
    let shorts: Vec<String> = folders.iter().map(short).collect();
    let is_alone = |name: &String| shorts.iter().filter(|other| *other == name).count() == 1;
    let whole = |folder: &PathBuf| folder.display().to_string();
    let each = folders.iter().zip(&shorts);
    each.map(|(folder, name)| {
        if is_alone(name) {
            name.clone()
        } else {
            whole(folder)
        }
    })
    .collect()
}

#[cfg(test)]
mod tests;
