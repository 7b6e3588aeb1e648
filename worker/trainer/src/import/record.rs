//! What a run's folder remembers of an import: from which file it began. Whoever gives its weights on can say so.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Its name in the output folder.
const FILE: &str = "imported.json";

/// From which file a run began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The file's name.
    pub file: String,
    /// BLAKE3 of its content.
    pub blake3: String,
    /// What it held, in words.
    pub held: String,
    /// What was taken, drawn and left aside, a sentence each.
    pub summary: Vec<String>,
}

impl Record {
    /// Where it lies in a run's output folder.
    pub fn path(run: &Path) -> PathBuf {
        run.join(FILE)
    }

    /// Of a run's output folder, if the run began from a file.
    pub fn of(run: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(Self::path(run)).ok()?).ok()
    }

    /// As it is written.
    pub(super) fn json(&self) -> io::Result<Vec<u8>> {
        Ok(serde_json::to_vec_pretty(self)?)
    }
}
