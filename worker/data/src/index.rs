//! The index of a data folder: ImageFolder as ImageNet ships it, `DIR/CLASS/…/FILE`.
//!
//! A sample's number is its place in this index, so the order must be the same on every machine: classes sorted by
//! name, files by class and then by the bytes of their relative path. Files are looked at (name and size), never
//! opened; whether one decodes is found out by the loader, or by [`check`](crate::check).

mod walk;

use std::io;
use std::path::{Path, PathBuf};

use m2t_common::machine_link::DataFacts;
pub(crate) use walk::is_image;

/// One image file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Path below the index's root.
    pub path: PathBuf,
    /// Which of the index's classes it belongs to.
    pub class: u32,
    /// Size in bytes.
    pub size: u64,
}

/// All image files of a data folder, in the order that numbers the samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// The data folder.
    pub root: PathBuf,
    /// Names of the class folders, sorted.
    pub classes: Vec<String>,
    /// The files, sorted by class and then by the bytes of their path.
    pub files: Vec<Entry>,
}

/// A folder that is no data set.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// It is not there, or not a folder.
    #[error(
        "the data folder {} does not exist on this machine; pass the folder that holds one folder a class with --data",
        .0.display()
    )]
    Missing(PathBuf),
    /// It holds no folder.
    #[error(
        "the data folder {} holds no class folder; put the images of each class into a folder of its own below it \
         (one folder will do for images without classes)",
        .0.display()
    )]
    NoClass(PathBuf),
    /// It is ImageNet's validation set as it ships.
    #[error(
        "the data folder {} holds ImageNet's validation images without class folders; arrange them with \
         m2t data arrange {} --labels FILE",
        .0.display(),
        .0.display()
    )]
    FlatValidation(PathBuf),
    /// A class folder holds no image.
    #[error(
        "the class folder {} holds no .jpg, .jpeg or .png file; add images or remove the folder",
        .0.display()
    )]
    EmptyClass(PathBuf),
    /// Its folders are the splits of a data set, not classes.
    #[error(
        "the folders of {} look like parts of a data set ({names}), not like classes; pass one of them with --data",
        root.display()
    )]
    Splits {
        /// The data folder.
        root: PathBuf,
        /// Its folders.
        names: String,
    },
    /// A class's name is not text.
    #[error("the name of the class folder {} is not UTF-8; rename it", .0.display())]
    Name(PathBuf),
    /// Something below it cannot be listed or looked at.
    #[error("{} cannot be read; check that it exists and that its permissions allow it", path.display())]
    Read {
        /// What cannot be read.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Index {
    /// Indexes the folder `dir`. Hidden entries and files beside the class folders are ignored; folders below a class
    /// belong to it; links are followed.
    pub fn read(dir: &Path) -> Result<Self, IndexError> {
        if !dir.is_dir() {
            return Err(IndexError::Missing(dir.to_owned()));
        }
        let mut classes = class_names(dir)?;
        classes.sort();
        refuse_splits(dir, &classes)?;

        let mut files = Vec::new();
        for of_class in walk::classes(dir, &classes) {
            files.append(&mut of_class?);
        }
        Ok(Self {
            root: dir.to_owned(),
            classes,
            files,
        })
    }

    /// N and the fingerprint: BLAKE3 over the classes' names and each file's relative path, class and size. Two
    /// folders with equal facts number the same samples.
    pub fn facts(&self) -> DataFacts {
        facts(&self.classes, &self.files)
    }

    /// The files that do not count, below the folder, sorted: neither images by their names nor hidden.
    pub fn ignored(&self) -> Result<Vec<PathBuf>, IndexError> {
        walk::ignored(&self.root, &self.classes)
    }

    /// Where the file of an entry is.
    pub fn locate(&self, entry: &Entry) -> PathBuf {
        self.root.join(&entry.path)
    }
}

/// See [`Index::facts`].
pub(crate) fn facts(classes: &[String], files: &[Entry]) -> DataFacts {
    let mut hasher = blake3::Hasher::new();
    let mut text = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    for class in classes {
        text(class.as_bytes());
    }
    for Entry { path, class, size } in files {
        text(bytes(path));
        text(&class.to_le_bytes());
        text(&size.to_le_bytes());
    }
    DataFacts {
        n_samples: files.len() as u64,
        fingerprint: hasher.finalize().to_hex().to_string(),
    }
}

fn class_names(dir: &Path) -> Result<Vec<String>, IndexError> {
    let mut names = Vec::new();
    let mut is_validation = false;
    for entry in walk::visible(dir)? {
        let (name, path) = (entry.file_name(), entry.path());
        if path.is_dir() {
            names.push(name.into_string().map_err(|_| IndexError::Name(path))?);
        } else {
            is_validation |= name.as_encoded_bytes().starts_with(b"ILSVRC2012_val_");
        }
    }
    if names.is_empty() && is_validation {
        return Err(IndexError::FlatValidation(dir.to_owned()));
    }
    if names.is_empty() {
        return Err(IndexError::NoClass(dir.to_owned()));
    }
    Ok(names)
}

/// A folder of `train` and `val` would silently train on both, as two classes.
fn refuse_splits(dir: &Path, classes: &[String]) -> Result<(), IndexError> {
    let is_split = |name: &String| {
        let name = name.to_ascii_lowercase();
        matches!(name.as_str(), "train" | "val" | "valid" | "validation" | "test")
    };
    if classes.iter().all(is_split) {
        return Err(IndexError::Splits {
            root: dir.to_owned(),
            names: classes.join(", "),
        });
    }
    Ok(())
}

/// Paths are compared and hashed by their bytes: `Path`'s own order compares component by component.
pub(crate) fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}

#[cfg(test)]
mod tests;
