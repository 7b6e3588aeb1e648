//! CSV: a line a step, and in a second file a line an evaluation. The columns are those of [`STEPS`] and [`EVALUATIONS`], in this order, in
//! every version; a new one comes last. What a run does not tell is left empty.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::Context;
use csv::Writer;

use super::Timed;
use crate::operator::Refused;
use crate::operator::record::{Evaluation, StepLine};

/// `time` is in seconds since 1970; the others are called as in `metrics.jsonl`, and `regroup_seconds` is the sum of `recovery`.
pub(super) const STEPS: [&str; 13] = [
    "run",
    "step",
    "epoch",
    "generation",
    "time",
    "loss",
    "learning_rate",
    "parameter_momentum",
    "statistics_momentum",
    "gradient_norm",
    "images_per_second",
    "data_wait",
    "regroup_seconds",
];

/// Called as in `evaluations.jsonl`.
pub(super) const EVALUATIONS: [&str; 12] = [
    "run",
    "step",
    "epoch",
    "generation",
    "time",
    "encoder",
    "method",
    "top1",
    "top5",
    "n_correct",
    "n_images",
    "seconds",
];

/// The two files.
pub(super) struct Csv {
    steps: Sheet,
    evaluations: Sheet,
}

/// A file and what is written to it.
struct Sheet {
    path: PathBuf,
    writer: Writer<File>,
}

impl Csv {
    /// Begins the file `path` and the one of evaluations beside it.
    ///
    /// # Errors
    /// [`Refused`] where either is there and is none of these.
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        let beside = path.with_extension("evaluations.csv");
        require_replaceable(path, &STEPS)?;
        require_replaceable(&beside, &EVALUATIONS)?;
        Ok(Self {
            steps: Sheet::create(path, &STEPS)?,
            evaluations: Sheet::create(&beside, &EVALUATIONS)?,
        })
    }

    pub(super) fn step(&mut self, run: &str, step: &Timed<'_, StepLine>) -> anyhow::Result<()> {
        let Timed { what, at } = step;
        self.steps.add(&[
            run.to_owned(),
            what.step.to_string(),
            text(what.epoch),
            text(what.generation),
            moment(*at),
            text(what.loss),
            text(what.learning_rate),
            text(what.parameter_momentum),
            text(what.statistics_momentum),
            text(what.gradient_norm),
            text(what.images_per_second),
            text(what.data_wait),
            text(what.regroup_seconds()),
        ])
    }

    pub(super) fn evaluation(&mut self, run: &str, evaluation: &Timed<'_, Evaluation>) -> anyhow::Result<()> {
        let Timed { what, at } = evaluation;
        self.evaluations.add(&[
            run.to_owned(),
            what.step.to_string(),
            text(what.epoch),
            text(what.generation),
            moment(*at),
            what.encoder.clone(),
            what.method.clone(),
            what.top1.to_string(),
            text(what.top5),
            text(what.n_correct),
            text(what.n_images),
            text(what.seconds),
        ])
    }

    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        self.steps.flush()?;
        self.evaluations.flush()
    }
}

impl fmt::Display for Csv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (steps, evaluations) = (&self.steps.path, &self.evaluations.path);
        write!(f, "{} and {}", steps.display(), evaluations.display())
    }
}

impl Sheet {
    fn create(path: &Path, columns: &[&str]) -> anyhow::Result<Self> {
        let file = File::create(path).with_context(|| format!("could not write {}", path.display()))?;
        let mut sheet = Self {
            path: path.to_owned(),
            writer: Writer::from_writer(file),
        };
        sheet.add(columns)?;
        sheet.flush()?;
        Ok(sheet)
    }

    fn add(&mut self, cells: &[impl AsRef<[u8]>]) -> anyhow::Result<()> {
        let written = self.writer.write_record(cells);
        written.with_context(|| format!("could not write {}", self.path.display()))
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.writer
            .flush()
            .with_context(|| format!("could not write {}", self.path.display()))
    }
}

/// A number so that it reads back to the same bits, or nothing.
fn text(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

fn moment(at: Option<f64>) -> String {
    at.map_or_else(String::new, |at| format!("{at:.3}"))
}

/// Refuses to replace a file of other columns.
fn require_replaceable(path: &Path, columns: &[&str]) -> Result<(), Refused> {
    let shown = path.display();
    if path.is_dir() {
        return Err(Refused::new(format!(
            "--csv {shown} is a folder; name a file in it"
        )));
    }
    let Ok(file) = File::open(path) else {
        return Ok(());
    };
    let mut first = String::new();
    let read = BufReader::new(std::io::Read::take(file, 4096)).read_line(&mut first);
    if read.is_ok() && first.trim_end() == columns.join(",") {
        return Ok(());
    }
    Err(Refused::new(format!(
        "{shown} is there already and was not written by m2t metrics; name another file with --csv, or remove it"
    )))
}
