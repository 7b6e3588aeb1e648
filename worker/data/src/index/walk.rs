//! Walks the class folders, several at a time: a network file system answers each question late, but many at once.

use std::fs::{self, DirEntry};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Entry, IndexError, bytes};

/// Folders read at a time. Their readers wait rather than compute.
const THREADS: usize = 16;

/// The sorted images of each class, in the classes' order whatever the timing.
pub(super) fn classes(root: &Path, names: &[String]) -> Vec<Result<Vec<Entry>, IndexError>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let class = next.fetch_add(1, Ordering::Relaxed);
            let Some(name) = names.get(class) else {
                return done;
            };
            done.push((class, class_files(root, name, class)));
        }
    };
    let mut read = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS.min(names.len())).map(|_| scope.spawn(work)).collect();
        let done = threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("walking does not panic"));
        done.collect::<Vec<_>>()
    });
    read.sort_by_key(|(class, _)| *class);
    read.into_iter().map(|(_, files)| files).collect()
}

fn class_files(root: &Path, name: &str, class: usize) -> Result<Vec<Entry>, IndexError> {
    let class = u32::try_from(class).expect("fewer classes than 2^32");
    let mut files = Vec::new();
    collect(root, Path::new(name), class, &mut files)?;
    if files.is_empty() {
        return Err(IndexError::EmptyClass(root.join(name)));
    }
    files.sort_unstable_by(|a, b| bytes(&a.path).cmp(bytes(&b.path)));
    Ok(files)
}

/// Appends the images in `root/folder` and below.
fn collect(root: &Path, folder: &Path, class: u32, files: &mut Vec<Entry>) -> Result<(), IndexError> {
    for entry in visible(&root.join(folder))? {
        let error = |source| IndexError::Read {
            path: entry.path(),
            source,
        };
        let path = folder.join(entry.file_name());
        // The type mostly comes with the name; only an image's size and a link cost a question of their own.
        let kind = entry.file_type().map_err(error)?;
        if kind.is_dir() {
            collect(root, &path, class, files)?;
        } else if kind.is_symlink() {
            let target = fs::metadata(entry.path()).map_err(error)?;
            if target.is_dir() {
                collect(root, &path, class, files)?;
            } else if is_image(&path) {
                let size = target.len();
                files.push(Entry { path, class, size });
            }
        } else if is_image(&path) {
            let size = entry.metadata().map_err(error)?.len();
            files.push(Entry { path, class, size });
        }
    }
    Ok(())
}

/// The visible files that are no images in a class folder.
pub(super) fn ignored(root: &Path, classes: &[String]) -> Result<Vec<PathBuf>, IndexError> {
    let mut files = Vec::new();
    for entry in visible(root)? {
        if !entry.path().is_dir() {
            files.push(entry.file_name().into());
        }
    }
    let mut folders: Vec<PathBuf> = classes.iter().map(PathBuf::from).collect();
    while let Some(folder) = folders.pop() {
        for entry in visible(&root.join(&folder))? {
            let path = folder.join(entry.file_name());
            let kind = entry.file_type().map_err(|source| IndexError::Read {
                path: entry.path(),
                source,
            })?;
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
    let error = |source| IndexError::Read {
        path: folder.to_owned(),
        source,
    };
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(error)? {
        let entry = entry.map_err(error)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            entries.push(entry);
        }
    }
    Ok(entries)
}

pub(crate) fn is_image(path: &Path) -> bool {
    path.extension().is_some_and(|extension| {
        ["jpg", "jpeg", "png"]
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
    })
}
