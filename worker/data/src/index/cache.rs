//! Indices kept on disk, so that a folder is walked once: each in a file of its own, mapped by every process that uses it.
//!
//! A kept index counts if it is whole (its checksum says so), belongs to the folder, and every folder that was walked
//! still has the times it had then: files come and go, and are renamed, by changing their folder. A file that was
//! overwritten in place shows in no folder; whoever reads it finds another size than was indexed, and says so.
//!
//! Why nothing here fails: an index that cannot be kept, or cannot be found, is made in memory, as it would be without.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use super::columns::{Bytes, Columns, Draft, Stamp};
use super::mapped::Mapped;
use super::walk;
use crate::beside;
use crate::parallel::{self, WAITING};

/// Times of a file system may be as coarse as this: what changed so shortly before a walk may have changed after it, unseen.
const COARSEST_TIMES: Duration = Duration::from_secs(2);
/// An index that nobody used for so long is removed.
const UNUSED: Duration = Duration::from_secs(90 * 24 * 3600);
/// What a process that was killed left half-written is removed after so long.
const HALF_WRITTEN: Duration = Duration::from_secs(24 * 3600);
const PREFIX: &str = "index-";
const SUFFIX: &str = ".m2t";
const PREFIX_HALF_WRITTEN: &str = ".index-";

/// Where indices are kept, if anywhere.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: Option<PathBuf>,
    coarsest: Duration,
}

impl Cache {
    /// The folder `M2T_CACHE` names (an empty one: none), else `m2t` in `XDG_CACHE_HOME` or in `~/.cache`.
    pub fn usual() -> Self {
        let named = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let folder = match named("M2T_CACHE") {
            Some(folder) => Some(folder).filter(|folder| !folder.as_os_str().is_empty()),
            // A relative path there is to be ignored, says the XDG specification.
            None => named("XDG_CACHE_HOME")
                .filter(|folder| folder.is_absolute())
                .or_else(|| named("HOME").map(|home| home.join(".cache")))
                .map(|folder| folder.join("m2t")),
        };
        Self {
            folder,
            coarsest: COARSEST_TIMES,
        }
    }

    /// A folder, which is made when an index is kept.
    pub fn at(folder: &Path) -> Self {
        Self {
            folder: Some(folder.to_owned()),
            coarsest: COARSEST_TIMES,
        }
    }

    /// Nowhere.
    pub fn none() -> Self {
        Self {
            folder: None,
            coarsest: COARSEST_TIMES,
        }
    }

    /// A folder on a file system whose times are exact.
    #[cfg(test)]
    pub(crate) fn exact(folder: &Path) -> Self {
        Self {
            coarsest: Duration::ZERO,
            ..Self::at(folder)
        }
    }

    /// The file that keeps the index of a data folder, given as its own path without links.
    pub(crate) fn file_of(&self, data: &Path) -> Option<PathBuf> {
        // Why the machine's name: homes are often shared. Another machine may hold other data at the same path, and its
        // replacing a file that this machine has mapped would end whoever reads on.
        let machine = fs::read("/proc/sys/kernel/hostname").unwrap_or_default();
        let mut hasher = blake3::Hasher::new();
        hasher
            .update(&machine)
            .update(b"\0")
            .update(data.as_os_str().as_bytes());
        let name = hasher.finalize().to_hex();
        Some(
            self.folder
                .as_ref()?
                .join(format!("{PREFIX}{}{SUFFIX}", &name[..24])),
        )
    }

    /// The index of the folder `data`, if it is kept and nothing changed since.
    pub(super) fn find(&self, data: &Path) -> Option<Columns> {
        let path = self.file_of(data)?;
        let file = File::open(&path).ok()?;
        let columns = Columns::parse(Bytes::Mapped(Mapped::of(&file).ok()?)).ok()?;
        if columns.root() != data || !self.is_as_walked(&columns) {
            return None;
        }
        // That it was used; whose file it is may forbid to say so.
        let _ = file.set_modified(SystemTime::now());
        Some(columns)
    }

    fn is_as_walked(&self, columns: &Columns) -> bool {
        let coarsest = u64::try_from(self.coarsest.as_nanos()).unwrap_or(u64::MAX);
        let settled = columns.walked_at().saturating_sub(coarsest);
        let folders: Vec<_> = columns.folders().collect();
        let next = AtomicUsize::new(0);
        let changed = parallel::gather(WAITING.min(folders.len().div_ceil(64)), || {
            while let Some((folder, then)) = folders.get(next.fetch_add(1, Ordering::Relaxed)) {
                let now = walk::stamp(&columns.root().join(folder));
                if !now.is_ok_and(|now| now == *then && is_before(now, settled)) {
                    next.store(folders.len(), Ordering::Relaxed);
                    return vec![()];
                }
            }
            Vec::new()
        });
        changed.is_empty() && !folders.is_empty()
    }

    /// Keeps the index of the folder `data`: beside its place first, then renamed, so that of several that do so at once
    /// the last wins and none is harmed. Gives it back as it is kept.
    pub(super) fn keep(&self, data: &Path, draft: &mut Draft) -> io::Result<Columns> {
        draft.root = data.as_os_str().as_bytes().to_owned();
        self.keep_finished(data, &draft.finish())
    }

    pub(crate) fn keep_finished(&self, data: &Path, columns: &Columns) -> io::Result<Columns> {
        let none = || io::Error::new(io::ErrorKind::NotFound, "there is no folder to keep it in");
        let path = self.file_of(data).ok_or_else(none)?;
        let folder = path.parent().ok_or_else(none)?;
        fs::create_dir_all(folder)?;
        remove_unused(folder, &path);
        let mut beside = beside::create(folder, PREFIX_HALF_WRITTEN)?;
        beside.write_all(columns.as_bytes())?;
        // Mapped before it gets its name, so it is this one whoever renames another meanwhile. What the disk makes of
        // it is checked like any other.
        let kept = Columns::parse(Bytes::Mapped(Mapped::of(beside.as_file())?)).map_err(io::Error::other)?;
        beside.persist(&path)?;
        Ok(kept)
    }
}

/// Whether both of a folder's times lie before `limit`, in nanoseconds since 1970.
fn is_before(Stamp([mtime, mtime_nanos, ctime, ctime_nanos]): Stamp, limit: u64) -> bool {
    let nanoseconds = |s: i64, nanos: i64| i128::from(s) * 1_000_000_000 + i128::from(nanos);
    nanoseconds(mtime, mtime_nanos).max(nanoseconds(ctime, ctime_nanos)) < i128::from(limit)
}

/// As far as it can.
fn remove_unused(folder: &Path, but: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let after = match name.to_str() {
            Some(name) if name.starts_with(PREFIX) && name.ends_with(SUFFIX) => UNUSED,
            Some(name) if name.starts_with(PREFIX_HALF_WRITTEN) => HALF_WRITTEN,
            _ => continue,
        };
        let modified = entry.metadata().and_then(|found| found.modified());
        let is_unused = modified.is_ok_and(|at| at.elapsed().is_ok_and(|since| since > after));
        if is_unused && entry.path() != but {
            let _ = fs::remove_file(entry.path());
        }
    }
}
