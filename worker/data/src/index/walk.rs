//! Walks the class folders, several at a time: a network file system answers each question late, but many at once.

use std::ffi::OsStr;
use std::fs::{self, DirEntry};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::IndexError;
use super::columns::{Draft, Stamp, Texts};
use crate::parallel::{self, WAITING};

/// Files of one claim when sizes are asked for.
const FILES_A_CLAIM: usize = 256;

/// What is in one class folder.
#[derive(Default)]
struct Listed {
    /// The sorted images, below the class.
    files: Texts,
    /// The folder and those below it, below the root, each with its times before it was read.
    folders: Vec<(PathBuf, Stamp)>,
}

/// All images of the classes `names` below `root`, in their order whatever the timing.
pub(super) fn walk(root: &Path, names: &[String], walking: &Walking) -> Result<Draft, IndexError> {
    let mut draft = Draft::default();
    draft.walked_at = walking.began;
    let mut folders = vec![(PathBuf::new(), walking.root)];
    let of_class = |class: u64| list(root, &names[class as usize]);
    let lists = parallel::map(WAITING, names.len() as u64, || (), |(), class| of_class(class));
    for (name, listed) in names.iter().zip(lists) {
        let listed = listed?;
        draft.push_class(name);
        draft.push_files(&listed.files);
        folders.extend(listed.folders);
    }
    for (folder, stamp) in folders {
        draft.folders.push(folder.as_os_str().as_bytes());
        draft.stamps.push(stamp);
    }
    let sizes = sizes(root, &draft)?;
    *draft.sizes_mut() = sizes;
    Ok(draft)
}

/// When a walk began, and the root's times then.
pub(super) struct Walking {
    began: u64,
    root: Stamp,
}

impl Walking {
    /// To be called before anything is read.
    pub(super) fn begin(root: &Path) -> Result<Self, IndexError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Ok(Self {
            began: now.map_or(0, |now| u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)),
            root: stamp(root).map_err(|source| unreadable(root, source))?,
        })
    }
}

/// A folder's times now.
pub(super) fn stamp(folder: &Path) -> io::Result<Stamp> {
    let found = fs::metadata(folder)?;
    Ok(Stamp([
        found.mtime(),
        found.mtime_nsec(),
        found.ctime(),
        found.ctime_nsec(),
    ]))
}

fn list(root: &Path, name: &str) -> Result<Listed, IndexError> {
    let mut listed = Listed::default();
    let mut files = Vec::new();
    let class = Path::new(name);
    collect(root, (class, Path::new("")), &mut listed.folders, &mut files)?;
    if files.is_empty() {
        return Err(IndexError::EmptyClass(root.join(name)));
    }
    files.sort_unstable();
    for file in &files {
        listed.files.push(file);
    }
    Ok(listed)
}

/// Appends the images in `root/class/below` and below it.
fn collect(
    root: &Path,
    (class, below): (&Path, &Path),
    folders: &mut Vec<(PathBuf, Stamp)>,
    files: &mut Vec<Vec<u8>>,
) -> Result<(), IndexError> {
    let folder = class.join(below);
    let at = root.join(&folder);
    let times = stamp(&at).map_err(|source| unreadable(&at, source))?;
    folders.push((folder, times));
    for entry in visible(&at)? {
        let error = |source| unreadable(&entry.path(), source);
        let path = below.join(entry.file_name());
        // The type mostly comes with the name; only a link costs a question of its own.
        let kind = entry.file_type().map_err(error)?;
        let is_folder =
            kind.is_dir() || (kind.is_symlink() && fs::metadata(entry.path()).map_err(error)?.is_dir());
        if is_folder {
            collect(root, (class, &path), folders, files)?;
        } else if is_image(&path) {
            files.push(path.into_os_string().into_vec());
        }
    }
    Ok(())
}

/// The size of each file; the first file, in order, that has none is the error.
fn sizes(root: &Path, draft: &Draft) -> Result<Vec<u64>, IndexError> {
    let mut sizes = vec![0; draft.n_samples()];
    let classes: Vec<(&[u8], std::ops::Range<usize>)> = draft.classes().collect();
    let n_claims = sizes.len().div_ceil(FILES_A_CLAIM);
    let claims = Mutex::new(sizes.chunks_mut(FILES_A_CLAIM).enumerate());
    let failed = parallel::gather(WAITING.min(n_claims), || {
        loop {
            let claim = claims.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((number, sizes)) = claim else {
                return Vec::new();
            };
            for (sample, size) in (number * FILES_A_CLAIM..).zip(sizes) {
                let class = classes.partition_point(|(_, samples)| samples.end <= sample);
                let path = root
                    .join(OsStr::from_bytes(classes[class].0))
                    .join(OsStr::from_bytes(draft.below(sample)));
                match fs::metadata(&path) {
                    Ok(found) => *size = found.len(),
                    Err(source) => return vec![(sample, unreadable(&path, source))],
                }
            }
        }
    });
    match failed.into_iter().min_by_key(|(sample, _)| *sample) {
        Some((_, error)) => Err(error),
        None => Ok(sizes),
    }
}

/// The visible files that are no images in a class folder.
pub(super) fn ignored<'a>(
    root: &Path,
    classes: impl Iterator<Item = &'a str>,
) -> Result<Vec<PathBuf>, IndexError> {
    let mut files = Vec::new();
    for entry in visible(root)? {
        if !entry.path().is_dir() {
            files.push(entry.file_name().into());
        }
    }
    let mut folders: Vec<PathBuf> = classes.map(PathBuf::from).collect();
    while let Some(folder) = folders.pop() {
        for entry in visible(&root.join(&folder))? {
            let path = folder.join(entry.file_name());
            let kind = entry
                .file_type()
                .map_err(|source| unreadable(&entry.path(), source))?;
            if kind.is_dir() || (kind.is_symlink() && entry.path().is_dir()) {
                folders.push(path);
            } else if !is_image(&path) {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The entries of a folder whose names do not begin with a dot.
pub(super) fn visible(folder: &Path) -> Result<Vec<DirEntry>, IndexError> {
    let error = |source| unreadable(folder, source);
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(error)? {
        let entry = entry.map_err(error)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            entries.push(entry);
        }
    }
    Ok(entries)
}

fn unreadable(path: &Path, source: io::Error) -> IndexError {
    let path = path.to_owned();
    IndexError::Read { path, source }
}

pub(crate) fn is_image(path: &Path) -> bool {
    path.extension().is_some_and(|extension| {
        ["jpg", "jpeg", "png"]
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
    })
}
