//! The data folder, indexed and sampled; the output folder, with a file written to it and read back.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use m2t_data::index::Origin;
use m2t_data::sample::sample;
use m2t_data::{Cache, Index};

use super::super::facts::{Data, Output, Presence, Probe, ProbeError};
use crate::ending::sentence;

/// Files of the data set that are looked at.
const SAMPLED: u64 = 256;
/// What is written to the output folder.
const PROBE: usize = 64 << 20;
const PIECE: usize = 1 << 20;
/// By it a machine knows the coordinator's folder.
const MARK: &str = ".probe";

pub(super) fn data(folder: &Path) -> Result<Data, String> {
    let index = Index::open(folder, &Cache::usual()).map_err(|error| sentence(&error))?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let facts = index.facts();
    let not_kept = match index.origin() {
        Origin::Walked { not_kept } => not_kept.clone(),
        Origin::Kept | Origin::Packed => None,
    };
    Ok(Data {
        n_samples: facts.n_samples,
        n_classes: index.n_classes(),
        fingerprint: facts.fingerprint,
        not_kept,
        sampled: sample(&index, SAMPLED, threads),
    })
}

pub(super) fn output(output: &Path) -> Result<Output, String> {
    let say = |error: io::Error| format!("the output folder {}: {error}", output.display());
    let output = std::path::absolute(output).map_err(say)?;
    let folder = output
        .ancestors()
        .find(|folder| folder.exists())
        .unwrap_or(Path::new("/"));
    let presence = if folder != output {
        Presence::Absent
    } else if folder.join(MARK).exists() {
        Presence::Marked
    } else {
        Presence::Unmarked
    };
    let room = rustix::fs::statvfs(folder).map_err(|error| say(error.into()))?;
    Ok(Output {
        folder: folder.to_owned(),
        presence,
        free: room.f_bavail * room.f_frsize,
        probe: probe(folder),
    })
}

/// Writes a file, syncs it, gives it another name, reads it back and removes it.
fn probe(folder: &Path) -> Result<Probe, ProbeError> {
    let failed = |doing| {
        move |error: io::Error| ProbeError {
            doing,
            kind: error.kind(),
            reason: error.to_string(),
        }
    };
    let begin = Instant::now();
    let mut file = tempfile::Builder::new()
        .prefix(".doctor-")
        .tempfile_in(folder)
        .map_err(failed("make"))?;
    for piece in pieces() {
        file.write_all(&piece).map_err(failed("write"))?;
    }
    file.as_file().sync_all().map_err(failed("sync"))?;
    let wrote_in = begin.elapsed();
    let renamed = Removed(file.path().with_extension("renamed"));
    fs::rename(file.path(), &renamed.0).map_err(failed("rename"))?;
    compare(&renamed.0).map_err(failed("read back"))?;
    Ok(Probe {
        bytes: PROBE as u64,
        wrote_in,
    })
}

/// A file that is removed whatever happens.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        // It may not be there yet.
        let _ = fs::remove_file(&self.0);
    }
}

/// The content: pieces that differ, and that no file system can make smaller by much.
fn pieces() -> impl Iterator<Item = Vec<u8>> {
    (0..PROBE / PIECE).map(|number| {
        let mut state = number as u32 + 1;
        let next = |_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state.to_le_bytes()
        };
        (0..PIECE / 4).flat_map(next).collect()
    })
}

fn compare(path: &Path) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut found = vec![0; PIECE];
    for piece in pieces() {
        io::Read::read_exact(&mut file, &mut found)?;
        if found != piece {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it is not what was written",
            ));
        }
    }
    Ok(())
}
