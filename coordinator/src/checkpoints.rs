//! Checkpoints on the disk: looked for at the start, verified byte by byte, deleted or set aside. Which of them counts
//! is the core's decision.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use m2t_common::Recipe;
use m2t_common::manifest::{CheckpointName, FORMAT, MANIFEST_FILE, Manifest, STATE_FILE};
use m2t_common::report::{CheckpointCost, CheckpointReport};
use m2t_coordinator_core::{DiskFacts, FoundCheckpoint, ResumeError};

/// Why a folder is not a complete checkpoint.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Damage {
    /// No manifest: it never was complete.
    #[error("{MANIFEST_FILE} cannot be read: {source}")]
    NoManifest {
        #[source]
        source: io::Error,
    },
    /// Not a manifest.
    #[error("{MANIFEST_FILE} is not a manifest: {source}")]
    BadManifest {
        #[source]
        source: serde_json::Error,
    },
    /// Another version's.
    #[error("its format is {found}, this version reads {FORMAT}")]
    OtherFormat { found: u32 },
    /// The folder was renamed.
    #[error("its manifest is of step {found}")]
    OtherStep { found: u64 },
    /// Another run's.
    #[error("it was made with another recipe")]
    OtherRecipe,
    /// Not the state that was reported.
    #[error("its state digest is {found}, reported was {reported}")]
    OtherState { found: String, reported: String },
    /// The manifest does not list the tensors, or lists a path.
    #[error("its manifest lists no {STATE_FILE}, or a file outside the folder")]
    BadList,
    /// A file is gone.
    #[error("{file} cannot be read: {source}")]
    NoFile {
        file: String,
        #[source]
        source: io::Error,
    },
    /// A file is cut or grown.
    #[error("{file} has {found} bytes, its manifest says {expected}")]
    Size { file: String, found: u64, expected: u64 },
    /// A file holds other bytes.
    #[error("the bytes of {file} are not those its manifest was written for")]
    Bytes { file: String },
}

/// How closely to look at a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Names and sizes.
    Sizes,
    /// Every byte.
    Bytes,
}

/// The `checkpoints` folder of a run.
#[derive(Clone, Debug)]
pub(crate) struct Checkpoints {
    folder: PathBuf,
}

impl Checkpoints {
    /// The checkpoints of an output folder.
    pub(crate) fn of(output: &Path) -> Self {
        Self {
            folder: output.join("checkpoints"),
        }
    }

    /// Every checkpoint there is, oldest first.
    fn names(&self) -> io::Result<Vec<CheckpointName>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry?.file_name().to_str().and_then(CheckpointName::parse));
        }
        names.sort();
        Ok(names)
    }

    /// Looks at all of them, at the newest complete one byte by byte. Refuses a recipe that is not theirs.
    pub(crate) fn survey(&self, recipe: &Recipe) -> anyhow::Result<Result<DiskFacts, ResumeError>> {
        let mut facts = DiskFacts::default();
        for name in self.names()?.into_iter().rev() {
            // The recipe first: a folder of another run is refused, not called damaged.
            if let Ok(manifest) = self.manifest(&name)
                && let Err(refusal) = ResumeError::check(recipe, &manifest.recipe)
            {
                return Ok(Err(refusal));
            }
            let depth = if facts.found.is_empty() {
                Depth::Bytes
            } else {
                Depth::Sizes
            };
            match self.look(&name, recipe, depth) {
                Ok(manifest) => facts.found.push(found(name, manifest)),
                Err(damage) => facts.damaged.push((name, damage.to_string())),
            }
        }
        facts.found.reverse();
        Ok(Ok(facts))
    }

    /// Whether a checkpoint that was reported is complete.
    pub(crate) fn verify(&self, report: &CheckpointReport, recipe: &Recipe) -> Result<(), Damage> {
        let manifest = self.look(&report.name, recipe, Depth::Bytes)?;
        if manifest.state_digest != report.state_digest {
            return Err(Damage::OtherState {
                found: manifest.state_digest,
                reported: report.state_digest.clone(),
            });
        }
        Ok(())
    }

    fn manifest(&self, name: &CheckpointName) -> Result<Manifest, Damage> {
        let path = self.folder.join(name.as_str()).join(MANIFEST_FILE);
        let json = fs::read(path).map_err(|source| Damage::NoManifest { source })?;
        serde_json::from_slice(&json).map_err(|source| Damage::BadManifest { source })
    }

    fn look(&self, name: &CheckpointName, recipe: &Recipe, depth: Depth) -> Result<Manifest, Damage> {
        let manifest = self.manifest(name)?;
        if manifest.format != FORMAT {
            return Err(Damage::OtherFormat {
                found: manifest.format,
            });
        }
        if manifest.step != name.step() {
            return Err(Damage::OtherStep {
                found: manifest.step.0,
            });
        }
        if manifest.recipe_digest != recipe.digest() {
            return Err(Damage::OtherRecipe);
        }
        let within = |file: &str| Path::new(file).components().count() == 1 && file != ".." && file != ".";
        let listed = manifest.files.iter().any(|file| file.name == STATE_FILE);
        if !listed || !manifest.files.iter().all(|file| within(&file.name)) {
            return Err(Damage::BadList);
        }
        for file in &manifest.files {
            let path = self.folder.join(name.as_str()).join(&file.name);
            check_file(&path, file, depth)?;
        }
        Ok(manifest)
    }

    /// Deletes a checkpoint; its manifest goes first, so that a half-deleted folder does not count as complete.
    pub(crate) fn delete(&self, name: &CheckpointName) -> io::Result<()> {
        let folder = self.folder.join(name.as_str());
        match fs::remove_file(folder.join(MANIFEST_FILE)).and_then(|()| fs::remove_dir_all(&folder)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    /// Renames a damaged checkpoint to `NAME.damaged`, in place of an earlier one.
    pub(crate) fn set_aside(&self, name: &CheckpointName) -> io::Result<()> {
        let aside = self.folder.join(format!("{name}.damaged"));
        if aside.exists() {
            fs::remove_dir_all(&aside)?;
        }
        match fs::rename(self.folder.join(name.as_str()), aside) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }
}

fn found(name: CheckpointName, manifest: Manifest) -> FoundCheckpoint {
    FoundCheckpoint {
        report: CheckpointReport {
            name,
            step: manifest.step,
            state_digest: manifest.state_digest,
            cost: CheckpointCost::default(),
        },
        n_samples: manifest.n_samples,
    }
}

fn check_file(path: &Path, entry: &m2t_common::manifest::FileEntry, depth: Depth) -> Result<(), Damage> {
    let unreadable = |source| Damage::NoFile {
        file: entry.name.clone(),
        source,
    };
    let found = fs::metadata(path).map_err(unreadable)?.len();
    if found != entry.size {
        return Err(Damage::Size {
            file: entry.name.clone(),
            found,
            expected: entry.size,
        });
    }
    if depth == Depth::Sizes {
        return Ok(());
    }
    let mut hasher = blake3::Hasher::new();
    let file = fs::File::open(path).map_err(unreadable)?;
    hasher.update_reader(file).map_err(unreadable)?;
    if hasher.finalize().to_hex().as_str() != entry.blake3 {
        return Err(Damage::Bytes {
            file: entry.name.clone(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
