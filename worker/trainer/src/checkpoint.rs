//! Checkpoints on disk: written beside and renamed, verified when read.
//!
//! A folder `checkpoints/step-000000400` holds `state.safetensors` and, written last, `manifest.json` with sizes and
//! digests. It appears under its name only when it is complete and on the disk. [`Writer`] writes on a thread of its own
//! from a frozen state, so that training goes on; [`load`] brings one back into a state.

mod file;
mod load;
pub mod measure;
mod writer;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use m2t_common::manifest::{CheckpointName, FORMAT, MANIFEST_FILE, Manifest, STATE_FILE};
use m2t_common::recipe::Recipe;
use m2t_common::report::{CheckpointCost, CheckpointReport};

use crate::state::snapshot::Pieces;
use file::Written;
pub use load::{LoadError, load, manifest, read};
pub use writer::{Job, Need, Writer};

/// A checkpoint that cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum CheckpointError {
    #[error("cannot write {}: {cause}; {}", path.display(), way_out(cause))]
    Write { path: PathBuf, cause: io::Error },
    #[error("cannot read the checkpoint {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is no checkpoint: {problem}", path.display())]
    Damaged { path: PathBuf, problem: String },
}

/// What to do about a checkpoint that cannot be written.
fn way_out(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room there",
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => "make it writable",
        io::ErrorKind::NotFound => "make the folder anew",
        _ => "look at the disk and its mount",
    }
}

/// Which run a checkpoint belongs to.
#[derive(Clone, Debug)]
pub struct Belonging {
    /// The whole recipe.
    pub recipe: Recipe,
    /// N of the data set.
    pub n_samples: u64,
}

/// Writes the tensors of a state below `folder` (the run's `checkpoints/`), durably. The report's `stall` is for whoever took them.
pub fn write(
    folder: &Path,
    pieces: &Pieces<'_>,
    belonging: &Belonging,
) -> Result<CheckpointReport, CheckpointError> {
    let began = Instant::now();
    let name = CheckpointName::new(pieces.step);
    let beside = folder.join(format!(".{name}.tmp"));
    let target = folder.join(name.as_str());
    let written = write_folder(&beside, pieces, belonging)
        .and_then(|written| put_in_place(&beside, &target, folder).map(|()| written))
        .map_err(|cause| {
            // Half a checkpoint would keep the disk full that made it half.
            let _ = fs::remove_dir_all(&beside);
            CheckpointError::Write {
                path: target.clone(),
                cause,
            }
        })?;
    Ok(CheckpointReport {
        name,
        step: pieces.step,
        state_digest: written.state_digest,
        cost: CheckpointCost {
            stall: Duration::ZERO,
            writing: began.elapsed(),
            n_bytes: written.entry.size,
        },
    })
}

fn write_folder(folder: &Path, pieces: &Pieces<'_>, belonging: &Belonging) -> io::Result<Written> {
    // What an earlier attempt left.
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::create_dir_all(folder)?;
    let written = file::write(&folder.join(STATE_FILE), pieces)?;
    let manifest = Manifest {
        format: FORMAT,
        step: pieces.step,
        n_samples: belonging.n_samples,
        recipe_digest: belonging.recipe.digest(),
        recipe: belonging.recipe.clone(),
        state_digest: written.state_digest.clone(),
        files: vec![written.entry.clone()],
    };
    let file = folder.join(MANIFEST_FILE);
    fs::write(&file, serde_json::to_vec_pretty(&manifest)?)?;
    File::open(&file)?.sync_all()?;
    File::open(folder)?.sync_all()?;
    Ok(written)
}

fn put_in_place(beside: &Path, target: &Path, folder: &Path) -> io::Result<()> {
    // A checkpoint of the same step may stand there from a generation that broke after it: the state is the same to the bit.
    match fs::remove_dir_all(target) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::rename(beside, target)?;
    File::open(folder)?.sync_all()
}

/// The checkpoint a user means by `path`: the folder itself, or the newest of a run's output folder.
pub fn find(path: &Path) -> PathBuf {
    if path.join(MANIFEST_FILE).exists() {
        return path.to_owned();
    }
    let names = |folder: PathBuf| {
        let entries = fs::read_dir(&folder).ok()?;
        let names = entries
            .flatten()
            .filter_map(|e| CheckpointName::parse(&e.file_name().to_string_lossy()));
        names.max().map(|name| folder.join(name.as_str()))
    };
    names(path.join("checkpoints"))
        .or_else(|| names(path.to_owned()))
        .unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests;
