//! Makes a pack of a data folder.
//!
//! ```text
//!  new or empty ──► unfinished.m2t ──► shard 0, 1, … each: .part ──► synced, renamed ──► unfinished.m2t becomes index.m2t
//! ```
//! Each name appears once its content is on the disk, so whoever is killed at any point leaves a pack that the same call
//! goes on with, shard by shard, to the same bytes. Nothing that is there is overwritten but a `.part`.
//!
//! It does not look whether an image decodes: a pack holds what its folder holds.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use m2t_common::shard::Sample;

use super::{Hash, INDEX, Look, UNFINISHED};
use crate::index::{Cache, Columns, Index, IndexError};
use crate::parallel::{self, WAITING};

/// Bytes of a shard unless told otherwise; more if there would be too many.
pub const SHARD_SIZE: u64 = 1 << 30;
/// Most shards: every trainer has all of them open, and a process may have 1,024 files open on most systems.
const MOST_SHARDS: u64 = 512;
/// What is read before it is written, many files at a time.
const FILES_AT_ONCE: u64 = 256;
const BYTES_AT_ONCE: u64 = 64 << 20;

/// What to pack.
#[derive(Clone, Debug)]
pub struct Pack {
    /// The data folder.
    pub from: PathBuf,
    /// A new or empty folder, or one that an earlier call began.
    pub to: PathBuf,
    /// Bytes of images in a shard; a larger image has one of its own. Nothing: about a GiB.
    pub shard_size: Option<u64>,
}

/// What was packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// N.
    pub n_samples: u64,
    /// Of all images.
    pub bytes: u64,
    /// Files that hold them.
    pub n_shards: usize,
    /// Of these, those that an earlier call had made.
    pub n_there: usize,
    /// Of the folder, and of the pack.
    pub fingerprint: String,
}

/// Why there is no pack, or not yet.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The folder is no data set.
    #[error(transparent)]
    Data(#[from] IndexError),
    /// The folder is a pack.
    #[error("{} is a pack already; copy its files as they are", .0.display())]
    IsPack(PathBuf),
    /// The pack would become one of the folder's classes.
    #[error("the pack {} would lie within the data folder {}; put it elsewhere", to.display(), from.display())]
    Within {
        /// The pack.
        to: PathBuf,
        /// The data folder.
        from: PathBuf,
    },
    /// There is something else where the pack is to be.
    #[error("{} holds other files; give a new or an empty folder", .0.display())]
    Occupied(PathBuf),
    /// There is another pack where this one is to be.
    #[error(
        "{} holds a pack of other data or with another shard size; give the same folder and size as then, or a new folder",
        .0.display()
    )]
    OtherPack(PathBuf),
    /// Too many shards.
    #[error("a shard size of {size} would make {n} files, more than {MOST_SHARDS}; pass at least {} with --shard-size", size.saturating_mul(n.div_ceil(MOST_SHARDS).saturating_mul(2)))]
    TooManyShards {
        /// Bytes asked for.
        size: u64,
        /// Shards that would make.
        n: u64,
    },
    /// Another process is at it.
    #[error("another m2t data pack is writing {}; wait for its end", .0.display())]
    Busy(PathBuf),
    /// An image cannot be read, or changed meanwhile.
    #[error(
        "the image {} cannot be packed; see that it can be read and that nothing changes the data folder, and call again",
        path.display()
    )]
    Read {
        /// The image.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The pack cannot be written. A second call goes on from there.
    #[error("{} cannot be written; check permissions and space and call again, and it goes on from there", path.display())]
    Write {
        /// Which file or folder of it.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Packs, and tells `progress` how many images are done of how many.
pub fn pack(what: &Pack, progress: &dyn Fn(u64, u64)) -> Result<Packed, PackError> {
    pack_unless(what, progress, &|_| Ok(()))
}

/// As [`pack()`], asking `before` ahead of each change of the disk; its error is the change's.
pub(super) fn pack_unless(
    what: &Pack,
    progress: &dyn Fn(u64, u64),
    before: &dyn Fn(&Path) -> io::Result<()>,
) -> Result<Packed, PackError> {
    let index = Index::open_anew(&what.from, &Cache::none())?;
    if index.shards().is_some() {
        return Err(PackError::IsPack(what.from.clone()));
    }
    let plan = plan(index.columns(), what.shard_size)?;
    let mut packing = Packing {
        index,
        plan,
        to: &what.to,
        before,
    };
    let _lock = packing.enter(what)?;
    let n_there = packing.run(progress)?;
    let plan = &packing.plan;
    Ok(Packed {
        n_samples: plan.n_samples(),
        bytes: plan.start(plan.n_samples()),
        n_shards: plan.n_shards(),
        n_there,
        fingerprint: plan.facts().fingerprint,
    })
}

/// The index with its shards: each takes as many files as fit.
fn plan(columns: &Columns, shard_size: Option<u64>) -> Result<Columns, PackError> {
    let n = columns.n_samples();
    let size = shard_size.unwrap_or_else(|| SHARD_SIZE.max(columns.start(n).div_ceil(MOST_SHARDS / 2)));
    let mut shards = Vec::new();
    for sample in 0..n {
        let fits = shards.last().is_some_and(|&first| {
            let (begins, ends) = (columns.start(first), columns.start(sample + 1));
            ends - begins <= size
        });
        if !fits {
            shards.push(sample);
        }
    }
    if shards.len() as u64 > MOST_SHARDS {
        let n = shards.len() as u64;
        return Err(PackError::TooManyShards { size, n });
    }
    let mut draft = columns.to_draft();
    draft.shards = shards;
    Ok(draft.finish())
}

/// A file's bytes, and their hash.
type Hashed = (Vec<u8>, Hash);

/// A pack in the making.
struct Packing<'a> {
    index: Index,
    plan: Columns,
    to: &'a Path,
    before: &'a dyn Fn(&Path) -> io::Result<()>,
}

impl Packing<'_> {
    /// Makes sure that the pack may be made there, alone.
    fn enter(&mut self, what: &Pack) -> Result<File, PackError> {
        let to = self.to;
        (self.before)(to)
            .and_then(|()| fs::create_dir_all(to))
            .map_err(|source| unwritable(to, source))?;
        let place = |path: &Path| path.canonicalize().map_err(|source| unwritable(path, source));
        if place(to)?.starts_with(place(&what.from)?) {
            let (to, from) = (to.to_owned(), what.from.clone());
            return Err(PackError::Within { to, from });
        }
        let lock = File::open(to).map_err(|source| unwritable(to, source))?;
        // Where a file system has no locks, it goes without.
        if matches!(lock.try_lock(), Err(TryLockError::WouldBlock)) {
            return Err(PackError::Busy(to.to_owned()));
        }
        Ok(lock)
    }

    /// Does what is left to do; how many shards were there.
    fn run(&self, progress: &dyn Fn(u64, u64)) -> Result<usize, PackError> {
        let n = self.plan.n_samples();
        let begun = match super::look(self.to) {
            Look::NoPack => None,
            Look::Unfinished => Some(UNFINISHED),
            Look::Finished => Some(INDEX),
        };
        match begun {
            None => self.begin()?,
            Some(name) => {
                let path = self.to.join(name);
                let there = fs::read(&path).map_err(|source| unwritable(&path, source))?;
                if there != self.plan.as_bytes() {
                    return Err(PackError::OtherPack(self.to.to_owned()));
                }
            }
        }
        let mut n_there = 0;
        for shard in 0..self.plan.n_shards() {
            if self.is_there(shard) {
                n_there += 1;
            } else {
                self.write_shard(shard, &|sample| progress(sample, n))?;
            }
            progress(self.plan.shard(shard).end, n);
        }
        if begun != Some(INDEX) {
            self.change(INDEX, |to| fs::rename(self.to.join(UNFINISHED), to))?;
            self.sync()?;
        }
        Ok(n_there)
    }

    fn begin(&self) -> Result<(), PackError> {
        let part = part(UNFINISHED);
        let entries = fs::read_dir(self.to).map_err(|source| unwritable(self.to, source))?;
        if entries.flatten().any(|entry| entry.file_name() != *part) {
            return Err(PackError::Occupied(self.to.to_owned()));
        }
        let file = self.change(&part, |path| File::create(path))?;
        self.change(&part, |_| (&file).write_all(self.plan.as_bytes()))?;
        self.finish_file(&file, UNFINISHED)
    }

    /// Whether a shard was made, as far as its length and its end say; it got its name when it was on the disk.
    fn is_there(&self, shard: usize) -> bool {
        let path = self.to.join(super::shard_name(shard));
        let Ok(file) = File::open(&path) else { return false };
        let length = file.metadata().map(|found| found.len());
        length.is_ok_and(|length| length == super::shard_length(&self.plan, shard))
            && super::shard_hashes(&self.plan, shard, &(path, file)).is_ok()
    }

    fn write_shard(&self, shard: usize, progress: &dyn Fn(u64)) -> Result<(), PackError> {
        let name = super::shard_name(shard);
        let part = part(&name);
        let file = self.change(&part, |path| File::create(path))?;
        let samples = self.plan.shard(shard);
        let mut hashes = Vec::new();
        let mut next = samples.start;
        while next < samples.end {
            let group = next..self.group_end(next, samples.end);
            next = group.end;
            for (bytes, hash) in self.read(group)? {
                self.change(&part, |_| (&file).write_all(&bytes))?;
                hashes.push(hash);
            }
            progress(next);
        }
        let mut end = hashes.concat();
        end.extend(super::sealed(&self.plan, shard, &hashes));
        self.change(&part, |_| (&file).write_all(&end))?;
        self.finish_file(&file, &name)
    }

    /// Up to where samples are read at once.
    fn group_end(&self, first: u64, end: u64) -> u64 {
        let most = end.min(first + FILES_AT_ONCE);
        let fits = |next: &u64| self.plan.start(next + 1) - self.plan.start(first) <= BYTES_AT_ONCE;
        (first + 1..most).find(|next| !fits(next)).unwrap_or(most)
    }

    /// The files of these samples, each with its hash.
    fn read(&self, samples: Range<u64>) -> Result<Vec<Hashed>, PackError> {
        let n = samples.end - samples.start;
        let index = &self.index;
        let files = parallel::map(
            WAITING,
            n,
            || (),
            |(), number| {
                let sample = Sample(samples.start + number);
                let mut bytes = Vec::new();
                index
                    .read_file(sample, &mut bytes)
                    .map_err(|source| PackError::Read {
                        path: index.locate(sample),
                        source,
                    })?;
                let hash = *blake3::hash(&bytes).as_bytes();
                Ok((bytes, hash))
            },
        );
        files.into_iter().collect()
    }

    /// To the disk, and then from its `.part` to its name.
    fn finish_file(&self, file: &File, name: &str) -> Result<(), PackError> {
        let part = part(name);
        self.change(&part, |_| file.sync_all())?;
        self.change(name, |to| fs::rename(self.to.join(&part), to))?;
        self.sync()
    }

    fn sync(&self) -> Result<(), PackError> {
        let synced = File::open(self.to).and_then(|folder| folder.sync_all());
        synced.map_err(|source| unwritable(self.to, source))
    }

    fn change<T>(&self, name: &str, what: impl FnOnce(&Path) -> io::Result<T>) -> Result<T, PackError> {
        let path = self.to.join(name);
        (self.before)(&path)
            .and_then(|()| what(&path))
            .map_err(|source| unwritable(&path, source))
    }
}

fn part(name: &str) -> String {
    format!("{name}.part")
}

fn unwritable(path: &Path, source: io::Error) -> PackError {
    let path = path.to_owned();
    PackError::Write { path, source }
}
