//! Checkpoints on disk: written beside and renamed, verified when read.
//!
//! A folder `checkpoints/step-000000400` holds `state.safetensors` and, written last, `manifest.json` with sizes and
//! digests. It appears under its name only when it is complete and on the disk. [`Writer`] writes on a thread of its own
//! from a snapshot, so that training goes on.

mod writer;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use m2t_common::manifest::{CheckpointName, FORMAT, FileEntry, MANIFEST_FILE, Manifest, STATE_FILE};
use m2t_common::recipe::Recipe;
use m2t_common::report::CheckpointReport;
use safetensors::tensor::TensorView;
use safetensors::{SafeTensorError, SafeTensors};

use crate::state::Snapshot;
use crate::state::snapshot::NamedBytes;
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

/// Writes `snapshot` below `folder` (the run's `checkpoints/`), durably.
pub fn write(
    folder: &Path,
    snapshot: &Snapshot,
    belonging: &Belonging,
) -> Result<CheckpointReport, CheckpointError> {
    let name = CheckpointName::new(snapshot.step);
    let beside = folder.join(format!(".{name}.tmp"));
    let target = folder.join(name.as_str());
    let state_digest = snapshot.digest();
    write_folder(&beside, snapshot, belonging, &state_digest)
        .and_then(|()| put_in_place(&beside, &target, folder))
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
        step: snapshot.step,
        state_digest,
    })
}

fn write_folder(
    folder: &Path,
    snapshot: &Snapshot,
    belonging: &Belonging,
    state_digest: &str,
) -> io::Result<()> {
    // What an earlier attempt left.
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::create_dir_all(folder)?;
    let file = folder.join(STATE_FILE);
    let views = snapshot.tensors.iter().map(|(name, tensor)| {
        let view =
            TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes).map_err(io::Error::other)?;
        Ok((name.as_str(), view))
    });
    let views = views.collect::<io::Result<Vec<_>>>()?;
    let metadata = HashMap::from([("step".to_owned(), snapshot.step.to_string())]);
    safetensors::serialize_to_file(views, Some(metadata), &file).map_err(|error| match error {
        SafeTensorError::IoError(source) => source,
        other => io::Error::other(other),
    })?;
    File::open(&file)?.sync_all()?;
    let manifest = Manifest {
        format: FORMAT,
        step: snapshot.step,
        n_samples: belonging.n_samples,
        recipe_digest: belonging.recipe.digest(),
        recipe: belonging.recipe.clone(),
        state_digest: state_digest.to_owned(),
        files: vec![entry(&file)?],
    };
    let state = file;
    let file = folder.join(MANIFEST_FILE);
    fs::write(&file, serde_json::to_vec_pretty(&manifest)?)?;
    File::open(&file)?.sync_all()?;
    // The state was written through a private temporary file; it is for whoever may read the manifest.
    fs::set_permissions(&state, fs::metadata(&file)?.permissions())?;
    File::open(folder)?.sync_all()
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

fn entry(file: &Path) -> io::Result<FileEntry> {
    let mut hasher = blake3::Hasher::new();
    let size = io::copy(&mut File::open(file)?, &mut hasher)?;
    let name = file
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    Ok(FileEntry {
        name,
        size,
        blake3: hasher.finalize().to_hex().to_string(),
    })
}

/// Reads the checkpoint in `folder` and verifies it, file by file and as a whole.
pub fn read(folder: &Path) -> Result<(Manifest, Snapshot), CheckpointError> {
    let unreadable = |source| CheckpointError::Read {
        path: folder.to_owned(),
        source,
    };
    let damaged = |problem: String| CheckpointError::Damaged {
        path: folder.to_owned(),
        problem,
    };
    let bytes = fs::read(folder.join(MANIFEST_FILE)).map_err(unreadable)?;
    let manifest: Manifest =
        serde_json::from_slice(&bytes).map_err(|e| damaged(format!("its manifest: {e}")))?;
    if manifest.format != FORMAT {
        let problem = format!("its format is {}, this version reads {FORMAT}", manifest.format);
        return Err(damaged(problem));
    }
    for expected in &manifest.files {
        let found = entry(&folder.join(&expected.name)).map_err(unreadable)?;
        if found != *expected {
            return Err(damaged(format!("{} is not as its manifest says", expected.name)));
        }
    }
    let bytes = fs::read(folder.join(STATE_FILE)).map_err(unreadable)?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| damaged(format!("{STATE_FILE}: {e}")))?;
    let named = |(name, view): (String, TensorView<'_>)| {
        let tensor = NamedBytes {
            dtype: view.dtype(),
            shape: view.shape().to_vec(),
            bytes: view.data().to_vec(),
        };
        (name, tensor)
    };
    let snapshot = Snapshot {
        step: manifest.step,
        tensors: file.tensors().into_iter().map(named).collect(),
    };
    if snapshot.digest() != manifest.state_digest {
        return Err(damaged(
            "its tensors do not have the digest its manifest says".to_owned(),
        ));
    }
    Ok((manifest, snapshot))
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
