//! The manifest of a checkpoint: what its folder must hold to count as complete.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::Step;
use crate::recipe::{Recipe, RecipeDigest};

/// The format this version writes and reads.
pub const FORMAT: u32 = 1;
/// The manifest's file name.
pub const MANIFEST_FILE: &str = "manifest.json";
/// The tensors' file name.
pub const STATE_FILE: &str = "state.safetensors";

/// `manifest.json` in a checkpoint's folder. Written last, so that a folder with a manifest was complete once; sizes
/// and digests tell whether it still is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// The step of the state: the next step to take.
    pub step: Step,
    /// Images in the data set the run is bound to.
    pub n_samples: u64,
    /// Digest of the recipe's mathematics.
    pub recipe_digest: RecipeDigest,
    /// The whole recipe, so that a difference can be named and an encoder rebuilt from the folder alone.
    pub recipe: Recipe,
    /// Digest of the whole state: equal states, equal digests, in whatever file layout.
    pub state_digest: String,
    /// Every other file of the folder.
    pub files: Vec<FileEntry>,
}

/// One file of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Name within the folder.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
    /// BLAKE3 of the content, in hex.
    pub blake3: String,
}

/// The name of a checkpoint's folder, `step-000000400`. Sorts by step.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CheckpointName(String);

/// A text that is no checkpoint's name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is no checkpoint's name, such as step-000000400")]
pub struct BadCheckpointName(String);

impl TryFrom<String> for CheckpointName {
    type Error = BadCheckpointName;

    fn try_from(name: String) -> Result<Self, BadCheckpointName> {
        Self::parse(&name).ok_or(BadCheckpointName(name))
    }
}

impl From<CheckpointName> for String {
    fn from(name: CheckpointName) -> Self {
        name.0
    }
}

impl CheckpointName {
    /// The name for a state at `step`.
    pub fn new(step: Step) -> Self {
        Self(format!("step-{:09}", step.0))
    }

    /// A folder's name, if it is one of a checkpoint.
    pub fn parse(name: &str) -> Option<Self> {
        let step = Step(name.strip_prefix("step-")?.parse().ok()?);
        let canonical = Self::new(step);
        (canonical.0 == name).then_some(canonical)
    }

    /// The step it was taken at.
    pub fn step(&self) -> Step {
        Step(self.0["step-".len()..].parse().unwrap_or_default())
    }

    /// The folder's name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CheckpointName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_by_step_and_reject_strangers() {
        assert_eq!(CheckpointName::new(Step(400)).as_str(), "step-000000400");
        assert!(CheckpointName::new(Step(999)) < CheckpointName::new(Step(1_000)));
        assert_eq!(CheckpointName::parse("step-000000400").unwrap().step(), Step(400));
        for stranger in [
            "step-400",
            "step-",
            "checkpoint",
            ".step-000000400",
            "step-000000400.tmp",
        ] {
            assert_eq!(CheckpointName::parse(stranger), None, "{stranger}");
        }
    }
}
