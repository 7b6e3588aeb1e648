//! The folder that a pack was made of: the same paths and bytes, each compared with what was packed.
//!
//! It overwrites nothing; a second call finishes what a first one began.

use std::fs;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use m2t_common::shard::Sample;

use super::Hash;
use crate::beside;
use crate::index::{Cache, Index, IndexError};
use crate::parallel::{self, WAITING};

/// What to unpack.
#[derive(Clone, Debug)]
pub struct Unpack {
    /// The pack.
    pub from: PathBuf,
    /// Where the class folders go.
    pub to: PathBuf,
}

/// What was unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Images written.
    pub n_new: u64,
    /// Images that were there, with equal bytes.
    pub n_there: u64,
}

/// Why it was not, or not wholly.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The pack is none, or damaged.
    #[error(transparent)]
    Pack(#[from] IndexError),
    /// It is a folder.
    #[error("{} is no pack; m2t data pack makes one", .0.display())]
    NoPack(PathBuf),
    /// Bytes of an image changed since they were packed.
    #[error("the bytes of {} in the pack {} are not those that were packed; restore the pack", image.display(), pack.display())]
    Damaged {
        /// The image.
        image: PathBuf,
        /// The pack.
        pack: PathBuf,
    },
    /// An image's path would lead out of the folder.
    #[error("the pack {} has an image at {}, which leads out of the folder; it is no pack of m2t's", pack.display(), image.display())]
    LeadsOut {
        /// The image.
        image: PathBuf,
        /// The pack.
        pack: PathBuf,
    },
    /// There is another file where an image is to be.
    #[error("{} is there and differs from the image in the pack; move it away and call again", .0.display())]
    Occupied(PathBuf),
    /// The folder has files that the pack does not.
    #[error("{} holds other images than the pack; give a new folder", .0.display())]
    Others(PathBuf),
    /// An image cannot be read or written. A second call goes on from there.
    #[error("{} cannot be unpacked; check permissions, space and the disk and call again", path.display())]
    Access {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Unpacks, and tells `progress` how many images are done of how many.
pub fn unpack(what: &Unpack, progress: &(dyn Fn(u64, u64) + Sync)) -> Result<Unpacked, UnpackError> {
    let index = Index::open(&what.from, &Cache::none())?;
    let Some(shards) = index.shards() else {
        return Err(UnpackError::NoPack(what.from.clone()));
    };
    let hashes = shards.hashes(index.columns()).map_err(IndexError::from)?;
    let next = AtomicU64::new(0);
    let n_done = AtomicU64::new(0);
    let mut failed = Vec::new();
    let mut done = Unpacked::default();
    let parts = parallel::gather(WAITING.min(hashes.len()), || {
        let (mut bytes, mut made) = (Vec::new(), Unpacked::default());
        loop {
            let sample = next.fetch_add(1, Ordering::Relaxed);
            let Some(hash) = hashes.get(sample as usize) else {
                return vec![Ok(made)];
            };
            match place(&index, (Sample(sample), hash), &what.to, &mut bytes) {
                Ok(true) => made.n_new += 1,
                Ok(false) => made.n_there += 1,
                Err(error) => {
                    next.store(hashes.len() as u64, Ordering::Relaxed);
                    return vec![Ok(made), Err((sample, error))];
                }
            }
            progress(n_done.fetch_add(1, Ordering::Relaxed) + 1, hashes.len() as u64);
        }
    });
    for part in parts {
        match part {
            Ok(made) => {
                done.n_new += made.n_new;
                done.n_there += made.n_there;
            }
            Err(error) => failed.push(error),
        }
    }
    if let Some((_, error)) = failed.into_iter().min_by_key(|(sample, _)| *sample) {
        return Err(error);
    }
    if Index::read(&what.to).map_err(UnpackError::Pack)?.facts() != index.facts() {
        return Err(UnpackError::Others(what.to.clone()));
    }
    Ok(done)
}

/// Brings an image to its place; whether it is new there.
fn place(
    index: &Index,
    (sample, hash): (Sample, &Hash),
    to: &Path,
    bytes: &mut Vec<u8>,
) -> Result<bool, UnpackError> {
    let image = index.entry(sample).path();
    let pack = || index.root().to_owned();
    if !image
        .components()
        .all(|part| matches!(part, Component::Normal(_)))
    {
        return Err(UnpackError::LeadsOut { image, pack: pack() });
    }
    let there = to.join(&image);
    let failed = |source| UnpackError::Access {
        path: there.clone(),
        source,
    };
    index.read_file(sample, bytes).map_err(failed)?;
    if blake3::hash(bytes).as_bytes() != hash {
        return Err(UnpackError::Damaged { image, pack: pack() });
    }
    match write_new(&there, bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if fs::read(&there).map_err(failed)? == *bytes {
                Ok(false)
            } else {
                Err(UnpackError::Occupied(there))
            }
        }
        Err(error) => Err(failed(error)),
    }
}

/// Beside it first, so that half an image never lies in its place.
fn write_new(there: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::symlink_metadata(there).is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let folder = there.parent().expect("it lies in its class's folder");
    fs::create_dir_all(folder)?;
    let mut beside = beside::create(folder, ".unpacking-")?;
    beside.write_all(bytes)?;
    beside.persist_noclobber(there).map_err(|error| error.error)?;
    Ok(())
}
