//! What a run's output folder says of itself at a checkpoint: its newest metrics and evaluations, and what it began from.
//!
//! A checkpoint's folder may have been copied away from its run; then there is nothing to say, which is no error. Neither are lines that
//! another version wrote, or half a line: they are passed over.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use m2t_common::Step;
use serde_json::Value;

use crate::import::Record;

/// Written by the coordinator, a line a step.
const METRICS: &str = "metrics.jsonl";
/// A line an evaluation.
const EVALUATIONS: &str = "evaluations.jsonl";

/// The newest of each kind, up to a checkpoint's step.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Newest {
    /// The line of the metrics.
    pub(super) metrics: Option<Value>,
    /// The line of each evaluation, by encoder and method.
    pub(super) evaluations: BTreeMap<(String, String), Value>,
    /// From which file the run began, if it did not begin from nothing.
    pub(super) imported: Option<Record>,
}

/// Of the run whose `checkpoints` hold this folder.
pub(super) fn of(checkpoint: &Path, step: Step) -> Newest {
    let mut newest = Newest::default();
    let parents = checkpoint
        .parent()
        .and_then(|folder| Some((folder.file_name()?, folder.parent()?)));
    let Some((_, run)) = parents.filter(|(name, _)| *name == "checkpoints") else {
        return newest;
    };
    newest.imported = Record::of(run);
    for line in lines(&run.join(METRICS), step) {
        newest.metrics = Some(line);
    }
    for line in lines(&run.join(EVALUATIONS), step) {
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        let kind = (text("encoder"), text("method"));
        newest.evaluations.insert(kind, line);
    }
    newest
}

/// The lines that tell of a step up to this one.
fn lines(file: &Path, upto: Step) -> impl Iterator<Item = Value> {
    let lines = File::open(file).map(|file| BufReader::new(file).lines().map_while(Result::ok));
    lines
        .into_iter()
        .flatten()
        .filter_map(|line| serde_json::from_str::<Value>(&line).ok())
        .filter(move |line| line["step"].as_u64().is_some_and(|step| step <= upto.0))
}
