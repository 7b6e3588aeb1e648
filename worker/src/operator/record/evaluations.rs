//! `evaluations.jsonl`: a line an evaluation of the encoder, made while the run trains or after it.

use std::fmt;
use std::io;
use std::path::Path;

use serde::Deserialize;

use super::Notes;
use super::lines::Lines;

/// Its file name.
pub const EVALUATIONS: &str = "evaluations.jsonl";

/// How well the encoder of a step did. Only step and top-1 are needed.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Evaluation {
    /// The state's step.
    pub step: u64,
    /// Its epoch.
    #[serde(default)]
    pub epoch: Option<u64>,
    /// Which placement trained it.
    #[serde(default)]
    pub generation: Option<u64>,
    /// `teacher` or `student`.
    #[serde(default = "unnamed")]
    pub encoder: String,
    /// `knn`, `probe` or `linear`.
    #[serde(default = "unnamed")]
    pub method: String,
    /// Share of images whose class was named right, 0 to 1.
    pub top1: f64,
    /// Share of images whose class was among the five named first.
    #[serde(default)]
    pub top5: Option<f64>,
    /// Images that were named right.
    #[serde(default)]
    pub n_correct: Option<u64>,
    /// Images in all.
    #[serde(default)]
    pub n_images: Option<u64>,
    /// How long it took.
    #[serde(default)]
    pub seconds: Option<f64>,
}

fn unnamed() -> String {
    "encoder".to_owned()
}

impl Evaluation {
    /// All of a run, by step; of two of the same kind at the same step the later one counts. There need not be any.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn all(folder: &Path, notes: &mut Notes) -> io::Result<Vec<Self>> {
        let Some(mut lines) = Lines::<Self>::open(&folder.join(EVALUATIONS))? else {
            return Ok(Vec::new());
        };
        let mut all: Vec<Self> = Vec::new();
        let mut n_impossible = 0;
        while let Some(line) = lines.read()? {
            if (0.0..=1.0).contains(&line.top1) {
                all.retain(|other| (other.step, other.kind()) != (line.step, line.kind()));
                all.push(line);
            } else {
                n_impossible += 1;
            }
        }
        if n_impossible > 0 {
            notes.add(format_args!(
                "{EVALUATIONS}: {n_impossible} with a top-1 beyond 0 to 1 left out."
            ));
        }
        notes.tally(EVALUATIONS, &lines.tally);
        all.sort_by_key(|evaluation| evaluation.step);
        Ok(all)
    }

    /// What it is an evaluation of: encoder and method.
    pub fn kind(&self) -> Kind<'_> {
        Kind {
            encoder: &self.encoder,
            method: &self.method,
        }
    }
}

/// Evaluations that may be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind<'a> {
    /// How the class was found.
    pub method: &'a str,
    /// Whose features.
    pub encoder: &'a str,
}

impl fmt::Display for Kind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let method = match self.method {
            "knn" => "kNN",
            other => other,
        };
        write!(f, "{method}, {}", self.encoder)
    }
}
