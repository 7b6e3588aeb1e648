//! The folder of secrets: made for its user alone, refused where others can read it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use m2t_common::access::Role;

use crate::open::Refused;

/// Bits that let others in.
const OTHERS: u32 = 0o077;
/// Nothing here is longer; a file that is, is something else.
const LONGEST: u64 = 1 << 20;

/// `STATE/security`.
#[derive(Clone, Debug)]
pub(super) struct SecurityFolder(PathBuf);

impl SecurityFolder {
    /// Makes it where it is not there.
    ///
    /// # Errors
    /// [`Refused`] where it cannot be made, or others may look into it.
    pub(super) fn open(state: &Path) -> Result<Self, Refused> {
        let folder = state.join("security");
        make(&folder).map_err(|e| Refused::new(format!("could not make {}: {e}", folder.display())))?;
        refuse_others(&folder, "700")?;
        Ok(Self(folder))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// A file in it.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The file of a role's token.
    pub(super) fn token_file(&self, role: Role) -> PathBuf {
        self.file(&format!("{role}.token"))
    }
}

/// Makes a folder for its user alone, and what is above it.
pub(super) fn make(folder: &Path) -> io::Result<()> {
    if let Some(above) = folder.parent() {
        fs::create_dir_all(above)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// The text of a secret file; none where there is none.
///
/// # Errors
/// [`Refused`] where it cannot be read, or others can read it.
pub(super) fn read(path: &Path) -> Result<Option<String>, Refused> {
    let refuse = |e: io::Error| Refused::new(format!("could not read {}: {e}", path.display()));
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refuse(error)),
    };
    refuse_others(path, "600")?;
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).map_err(refuse)?;
    Ok(Some(text))
}

/// Writes a secret file beside its place and renames it, so that nobody reads half of it.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    let beside = path.with_extension(format!("new{}", std::process::id()));
    // One that a killed process left behind has other modes, perhaps.
    let _ = fs::remove_file(&beside);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

/// Refuses what others than its user can reach.
pub(super) fn refuse_others(path: &Path, mode: &str) -> Result<(), Refused> {
    let found =
        fs::metadata(path).map_err(|e| Refused::new(format!("could not look at {}: {e}", path.display())))?;
    let bits = found.permissions().mode() & 0o777;
    if bits & OTHERS == 0 {
        return Ok(());
    }
    Err(Refused::new(format!(
        "{} can be reached by others than its user (mode {bits:03o}, user {}); chmod {mode} {0}, and if somebody may have read it: m2t-coordinator token rotate",
        path.display(),
        found.uid()
    )))
}
