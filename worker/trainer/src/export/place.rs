//! Where an export goes: refused before any work where it cannot go, and put there whole or not at all.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use m2t_common::manifest::MANIFEST_FILE;

/// A file that cannot be put where it should.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum PlaceError {
    #[error("{} names no file; give one, such as encoder.safetensors", to.display())]
    NoName { to: PathBuf },
    #[error("there is no folder {} to write {} into; make it first", folder.display(), to.display())]
    NoFolder { folder: PathBuf, to: PathBuf },
    #[error("{} is no plain file and is left as it is; give another name", to.display())]
    NotAFile { to: PathBuf },
    #[error("{} would lie in a checkpoint's folder, which holds its own files only; write it elsewhere", to.display())]
    InACheckpoint { to: PathBuf },
    #[error("{} would be replaced by the export's card, and is none; move it away, or add --no-card", card.display())]
    NoCard { card: PathBuf },
    #[error("cannot write {}", to.display())]
    Write { to: PathBuf, source: io::Error },
}

/// Refuses a place where nothing can or should be written.
pub(crate) fn require(to: &Path) -> Result<(), PlaceError> {
    let (to, folder) = (to.to_owned(), folder_of(to));
    if to.file_name().is_none() {
        return Err(PlaceError::NoName { to });
    }
    if !folder.is_dir() {
        let folder = folder.to_owned();
        return Err(PlaceError::NoFolder { folder, to });
    }
    // Not even a link to a file: what it stands for is not what was named.
    if fs::symlink_metadata(&to).is_ok_and(|there| !there.is_file()) {
        return Err(PlaceError::NotAFile { to });
    }
    if folder.join(MANIFEST_FILE).is_file() {
        return Err(PlaceError::InACheckpoint { to });
    }
    Ok(())
}

/// Lets `fill` write a file beside `to` and renames it, durably.
pub(crate) fn put(to: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), PlaceError> {
    write(to, fill).map_err(|source| PlaceError::Write {
        to: to.to_owned(),
        source,
    })
}

fn write(to: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let folder = folder_of(to);
    let beside = folder.join(format!(".m2t-export-{}", std::process::id()));
    let written = File::create(&beside)
        .and_then(|mut file| {
            fill(&mut file)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&beside, to));
    if let Err(error) = written {
        // What there is of it may be what fills the disk; should it not go away, the first error is the one to tell.
        let _ = fs::remove_file(&beside);
        return Err(error);
    }
    File::open(folder)?.sync_all()
}

fn folder_of(to: &Path) -> &Path {
    match to.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => to,
    }
}
