//! A data folder as a few large files: the bytes of its images unchanged, end to end, in the order of their samples.
//!
//! ```text
//! OUT/index.m2t         the folder's index, with the first sample of each shard; written last, so a pack is whole or none
//! OUT/shard-00000.m2t   the files of its samples, then BLAKE3 of each, then BLAKE3 of those, bound to pack and place
//! OUT/unfinished.m2t    while it is being made: what will be index.m2t
//! ```
//! A pack has the fingerprint and the sample numbers of its folder, so it takes its place anywhere.
//!
//! Why shards are read and not mapped: their pages are used once an epoch, and whoever reads a mapped file that was
//! shortened, or whose disk fails, is killed by SIGBUS; `pread` gives an error that names the file, and is tried again.
//! Lengths are compared when a pack is opened; contents only by [`check`](crate::check) and [`unpack`](unpack::unpack).

pub mod make;
pub mod unpack;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::index::{Bytes, Columns, Mapped};

const INDEX: &str = "index.m2t";
const UNFINISHED: &str = "unfinished.m2t";
/// A BLAKE3.
type Hash = [u8; HASH];
const HASH: usize = 32;

/// A pack that is not as it was made.
#[derive(Debug, thiserror::Error)]
pub enum PackDamage {
    /// A file of it cannot be opened or read.
    #[error(
        "the pack's file {} cannot be read; restore it, or make the pack again with m2t data pack",
        path.display()
    )]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of it is not what was written.
    #[error("the pack's file {} is damaged ({what}); restore it, or make the pack again with m2t data pack", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// In what.
        what: String,
    },
}

/// What a folder is, as far as packs go.
pub(crate) enum Look {
    NoPack,
    Unfinished,
    Finished,
}

/// Tells by the names in it.
pub(crate) fn look(dir: &Path) -> Look {
    if dir.join(INDEX).is_file() {
        Look::Finished
    } else if dir.join(UNFINISHED).is_file() {
        Look::Unfinished
    } else {
        Look::NoPack
    }
}

/// The shards of a pack, opened; each as long as it should be.
#[derive(Debug)]
pub(crate) struct Shards {
    shards: Vec<(PathBuf, File)>,
}

/// Opens a finished pack.
pub(crate) fn open(dir: &Path) -> Result<(Columns, Shards), PackDamage> {
    let columns = read_index(&dir.join(INDEX))?;
    let mut shards = Vec::new();
    for shard in 0..columns.n_shards() {
        let path = dir.join(shard_name(shard));
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (found, file) = opened.map_err(|source| unreadable(&path, source))?;
        let expected = shard_length(&columns, shard);
        if found != expected {
            let what = format!("it has {found} bytes instead of {expected}");
            return Err(PackDamage::Damaged { path, what });
        }
        shards.push((path, file));
    }
    Ok((columns, Shards { shards }))
}

fn read_index(path: &Path) -> Result<Columns, PackDamage> {
    let mapped = File::open(path).and_then(|file| Mapped::of(&file));
    let mapped = mapped.map_err(|source| unreadable(path, source))?;
    let damaged = |what: String| PackDamage::Damaged {
        path: path.to_owned(),
        what,
    };
    let columns = Columns::parse(Bytes::Mapped(mapped)).map_err(|unsound| damaged(unsound.to_string()))?;
    if columns.n_shards() == 0 {
        return Err(damaged("it is the index of no pack".to_owned()));
    }
    Ok(columns)
}

impl Shards {
    /// Reads the file of a sample into an empty buffer.
    pub(crate) fn read(&self, columns: &Columns, sample: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
        let shard = columns.shard_of(sample);
        let (start, end) = (columns.start(sample), columns.start(sample + 1));
        let within = start - columns.start(columns.shard(shard).start);
        bytes.resize(usize::try_from(end - start).map_err(io::Error::other)?, 0);
        let (path, file) = &self.shards[shard];
        file.read_exact_at(bytes, within)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => {
                    let what = format!("the pack's file {} ends too early", path.display());
                    io::Error::new(error.kind(), what)
                }
                _ => error,
            })
    }

    /// BLAKE3 of each file, in the order of the samples, as it was packed.
    pub(crate) fn hashes(&self, columns: &Columns) -> Result<Vec<Hash>, PackDamage> {
        let mut all = Vec::new();
        for (shard, opened) in self.shards.iter().enumerate() {
            all.extend(shard_hashes(columns, shard, opened)?);
        }
        Ok(all)
    }
}

/// BLAKE3 of each file of a shard, from its end.
fn shard_hashes(
    columns: &Columns,
    shard: usize,
    (path, file): &(PathBuf, File),
) -> Result<Vec<Hash>, PackDamage> {
    let n_bytes = shard_bytes(columns, shard);
    let mut end = vec![0; usize::try_from(shard_length(columns, shard) - n_bytes).unwrap_or_default()];
    file.read_exact_at(&mut end, n_bytes)
        .map_err(|source| unreadable(path, source))?;
    let (hashes, seal) = end.split_at(end.len() - HASH);
    let hashes: Vec<Hash> = hashes
        .chunks_exact(HASH)
        .map(|hash| hash.try_into().expect("a chunk is as long as asked for"))
        .collect();
    if seal != sealed(columns, shard, &hashes) {
        let (path, what) = (path.clone(), "its list of checksums is another's".to_owned());
        return Err(PackDamage::Damaged { path, what });
    }
    Ok(hashes)
}

fn shard_name(shard: usize) -> String {
    format!("shard-{shard:05}.m2t")
}

/// Bytes of the images of a shard.
fn shard_bytes(columns: &Columns, shard: usize) -> u64 {
    let samples = columns.shard(shard);
    columns.start(samples.end) - columns.start(samples.start)
}

/// Bytes of a shard: its images, the hash of each, and the seal.
fn shard_length(columns: &Columns, shard: usize) -> u64 {
    let samples = columns.shard(shard);
    shard_bytes(columns, shard) + (samples.end - samples.start + 1) * HASH as u64
}

/// What a shard ends with: it is this shard of this pack, and these are its hashes.
fn sealed(columns: &Columns, shard: usize, hashes: &[Hash]) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"m2t shard 1\n");
    hasher.update(&columns.fingerprint());
    hasher.update(&(shard as u64).to_le_bytes());
    for hash in hashes {
        hasher.update(hash);
    }
    hasher.finalize().into()
}

fn unreadable(path: &Path, source: io::Error) -> PackDamage {
    let path = path.to_owned();
    PackDamage::Read { path, source }
}

#[cfg(test)]
mod tests;
