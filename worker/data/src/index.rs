//! The index of a data folder: ImageFolder as ImageNet ships it, `DIR/CLASS/…/FILE`, or a [pack] of one.
//!
//! A sample's number is its place in this index, so the order must be the same on every machine: classes sorted by
//! name, files by class and then by the bytes of their relative path. Files are looked at (name and size), not
//! opened; whether one decodes is found out by the loader, or by [`check`](crate::check).
//!
//! [`Index::open`] walks a folder once: the [cache](Cache) keeps what was found, and all processes of a machine share it.

mod cache;
mod columns;
mod mapped;
mod refusal;
mod walk;

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use m2t_common::machine_link::DataFacts;
use m2t_common::shard::Sample;

use crate::pack::{self, Shards};
pub use cache::Cache;
pub use columns::EntryRef;
pub(crate) use columns::{Bytes, Columns, Draft};
pub(crate) use mapped::Mapped;
pub use refusal::IndexError;
pub(crate) use walk::is_image;

/// All image files of a data folder, in the order that numbers the samples. A clone shares them.
#[derive(Clone, Debug)]
pub struct Index {
    root: PathBuf,
    columns: Arc<Columns>,
    store: Store,
    origin: Origin,
    /// Set if not all samples are in it: the numbers of those that are, in their order.
    picked: Option<Arc<[u64]>>,
}

/// Where the bytes of a sample come from.
#[derive(Clone, Debug)]
enum Store {
    Folder,
    Pack(Arc<Shards>),
}

/// How an index came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was kept from an earlier walk, and nothing changed since.
    Kept,
    /// The folder was walked.
    Walked {
        /// Why the index could not be kept for the next time, if it was not.
        not_kept: Option<String>,
    },
    /// It came with a pack.
    Packed,
}

/// A file that is not as long as it was when it was indexed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it has {found} bytes and had {indexed} when it was indexed")]
pub struct ChangedSize {
    /// Bytes then.
    pub indexed: u64,
    /// Bytes now.
    pub found: u64,
}

impl Index {
    /// The index of the folder `dir`: the one that `cache` keeps of it if nothing changed since, else a new one, which
    /// is kept. A pack brings its own.
    pub fn open(dir: &Path, cache: &Cache) -> Result<Self, IndexError> {
        if let Some(packed) = Self::of_pack(dir)? {
            return Ok(packed);
        }
        let place = place(dir)?;
        match cache.find(&place) {
            Some(columns) => Ok(Self::of_folder(dir, columns, Origin::Kept)),
            None => Self::walk(dir, &place, cache),
        }
    }

    /// As [`Self::open`], but a folder is walked whatever is kept of it.
    pub fn open_anew(dir: &Path, cache: &Cache) -> Result<Self, IndexError> {
        if let Some(packed) = Self::of_pack(dir)? {
            return Ok(packed);
        }
        Self::walk(dir, &place(dir)?, cache)
    }

    fn walk(dir: &Path, place: &Path, cache: &Cache) -> Result<Self, IndexError> {
        let mut draft = walk(dir)?;
        Ok(match cache.keep(place, &mut draft) {
            Ok(columns) => Self::of_folder(dir, columns, Origin::Walked { not_kept: None }),
            Err(error) => {
                let not_kept = Some(error.to_string());
                Self::of_folder(dir, draft.finish(), Origin::Walked { not_kept })
            }
        })
    }

    /// As [`Self::open`], without a cache: in this process's memory, and walked.
    pub fn read(dir: &Path) -> Result<Self, IndexError> {
        Self::open_anew(dir, &Cache::none())
    }

    fn of_pack(dir: &Path) -> Result<Option<Self>, IndexError> {
        if !dir.is_dir() {
            return Err(IndexError::Missing(dir.to_owned()));
        }
        match pack::look(dir) {
            pack::Look::NoPack => Ok(None),
            pack::Look::Unfinished => Err(IndexError::UnfinishedPack(dir.to_owned())),
            pack::Look::Finished => {
                let (columns, shards) = pack::open(dir)?;
                Ok(Some(Self {
                    root: dir.to_owned(),
                    columns: Arc::new(columns),
                    store: Store::Pack(Arc::new(shards)),
                    origin: Origin::Packed,
                    picked: None,
                }))
            }
        }
    }

    pub(crate) fn of_folder(dir: &Path, columns: Columns, origin: Origin) -> Self {
        Self {
            root: dir.to_owned(),
            columns: Arc::new(columns),
            store: Store::Folder,
            origin,
            picked: None,
        }
    }

    /// The same with some samples only, numbered anew in this order: to look at, not to train on.
    pub fn pick(&self, samples: impl Iterator<Item = Sample>) -> Self {
        Self {
            picked: Some(samples.map(|sample| self.row(sample)).collect()),
            ..self.clone()
        }
    }

    /// The data folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// How it came about.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// N.
    pub fn n_samples(&self) -> u64 {
        let of_all = || self.columns.n_samples();
        self.picked
            .as_ref()
            .map_or_else(of_all, |picked| picked.len() as u64)
    }

    /// How many classes there are.
    pub fn n_classes(&self) -> u32 {
        self.columns.n_classes()
    }

    /// Names of the class folders, sorted.
    pub fn classes(&self) -> impl Iterator<Item = &str> {
        (0..self.n_classes()).map(|class| self.columns.class_name(class))
    }

    /// The file of a sample; its number is below N.
    pub fn entry(&self, sample: Sample) -> EntryRef<'_> {
        self.columns.entry(self.row(sample))
    }

    /// The files in the order of the samples.
    pub fn entries(&self) -> impl Iterator<Item = EntryRef<'_>> {
        (0..self.n_samples()).map(|sample| self.entry(Sample(sample)))
    }

    /// N and the fingerprint: BLAKE3 over the classes' names and each file's relative path, class and size. Two
    /// folders with equal facts number the same samples.
    pub fn facts(&self) -> DataFacts {
        self.columns.facts()
    }

    /// The files that do not count, below the folder, sorted: neither images by their names nor hidden. A pack has none.
    pub fn ignored(&self) -> Result<Vec<PathBuf>, IndexError> {
        match self.store {
            Store::Folder => walk::ignored(&self.root, self.classes()),
            Store::Pack(_) => Ok(Vec::new()),
        }
    }

    /// Where the file of a sample is; of a pack, where it would be.
    pub fn locate(&self, sample: Sample) -> PathBuf {
        self.root.join(self.entry(sample).path())
    }

    /// Reads the file of a sample, in place of what the buffer held.
    ///
    /// # Errors
    /// Those of the disk; and one that holds [`ChangedSize`] if the file is not as long as it was.
    pub fn read_file(&self, sample: Sample, bytes: &mut Vec<u8>) -> io::Result<()> {
        bytes.clear();
        match &self.store {
            // The path is put together in a thread's own memory: a training reads millions of files.
            Store::Folder => PATH.with_borrow_mut(|path| {
                let entry = self.entry(sample);
                path.clear();
                path.extend([self.root.as_path(), Path::new(entry.class_name), entry.below]);
                read_whole(path, entry.size, bytes)
            }),
            Store::Pack(shards) => shards.read(&self.columns, self.row(sample), bytes),
        }
    }

    pub(crate) fn columns(&self) -> &Arc<Columns> {
        &self.columns
    }

    /// Of a pack, where its bytes are.
    pub(crate) fn shards(&self) -> Option<&Shards> {
        match &self.store {
            Store::Folder => None,
            Store::Pack(shards) => Some(shards),
        }
    }

    fn row(&self, sample: Sample) -> u64 {
        let Sample(number) = sample;
        self.picked
            .as_ref()
            .map_or(number, |picked| picked[number as usize])
    }
}

impl Columns {
    /// See [`Index::facts`].
    pub(crate) fn facts(&self) -> DataFacts {
        DataFacts {
            n_samples: self.n_samples(),
            fingerprint: blake3::Hash::from_bytes(self.fingerprint()).to_hex().to_string(),
        }
    }
}

thread_local! {
    /// See [`Index::read_file`].
    static PATH: RefCell<PathBuf> = const { RefCell::new(PathBuf::new()) };
}

/// Reads one byte more than there should be, so that a file that grew is noticed.
fn read_whole(path: &Path, size: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
    let file = File::open(path)?;
    bytes.reserve(usize::try_from(size).map_err(io::Error::other)?.saturating_add(1));
    (&file).take(size.saturating_add(1)).read_to_end(bytes)?;
    if bytes.len() as u64 == size {
        return Ok(());
    }
    let found = file.metadata()?.len();
    if found == size {
        // Someone is writing it, or the disk gave less than there is.
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let indexed = size;
    Err(io::Error::new(
        io::ErrorKind::InvalidData,
        ChangedSize { indexed, found },
    ))
}

/// The folder's own path, without links.
fn place(dir: &Path) -> Result<PathBuf, IndexError> {
    dir.canonicalize()
        .map_err(|_| IndexError::Missing(dir.to_owned()))
}

/// Hidden entries and files beside the class folders are ignored; folders below a class belong to it; links are followed.
fn walk(dir: &Path) -> Result<Draft, IndexError> {
    let walking = walk::Walking::begin(dir)?;
    let mut classes = class_names(dir)?;
    classes.sort();
    refuse_splits(dir, &classes)?;
    walk::walk(dir, &classes, &walking)
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

#[cfg(test)]
mod tests;
