//! The file of a state: safetensors, streamed out of memory while it is hashed.
//!
//! Why three passes at once instead of one after the other: a checkpoint's two digests (the file's, and the state's, which has other
//! bytes in between) cost as much as writing it, and each is bound by another part of the machine. The file is never read again to
//! be hashed: what was hashed is what was written. A fourth thread has the disk begin as soon as there is something to write, so that
//! little is left for the last fsync.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use m2t_common::manifest::FileEntry;
use safetensors::SafeTensorError;
use safetensors::tensor::{Metadata, TensorInfo};

use crate::state::snapshot::{Piece, Pieces};

/// Bytes after which the disk is asked to begin, and bytes a write has at least, but the last.
const SOON: usize = 32 << 20;
const AT_ONCE: usize = 1 << 20;
/// What the data of a safetensors file begin at a multiple of.
const ALIGNMENT: usize = 8;

/// A file on the disk.
pub(super) struct Written {
    /// Its size and digest.
    pub(super) entry: FileEntry,
    /// [`Pieces::digest`].
    pub(super) state_digest: String,
}

/// Writes the tensors to a new file, durably.
pub(super) fn write(path: &Path, pieces: &Pieces<'_>) -> io::Result<Written> {
    // As the format's own library orders them.
    let mut tensors: Vec<&Piece<'_>> = pieces.tensors.iter().collect();
    tensors.sort_by(|one, other| other.dtype.cmp(&one.dtype).then(one.name.cmp(other.name)));
    let header = header(pieces, &tensors).map_err(io::Error::other)?;
    let file = File::create_new(path)?;
    thread::scope(|scope| {
        let state_digest = scope.spawn(|| pieces.digest());
        let file_digest = scope.spawn(|| digest(&header, &tensors));
        let (soon, asked) = channel();
        let begun = scope.spawn(|| keep_the_disk_busy(&file, asked));
        let size = stream(&file, &header, &tensors, &soon);
        drop(soon);
        let begun = begun.join().expect(NO_PANIC);
        let size = size?;
        begun?;
        file.sync_all()?;
        let name = path.file_name().unwrap_or_default();
        Ok(Written {
            entry: FileEntry {
                name: name.to_string_lossy().into_owned(),
                size,
                blake3: file_digest.join().expect(NO_PANIC),
            },
            state_digest: state_digest.join().expect(NO_PANIC),
        })
    })
}

const NO_PANIC: &str = "hashing and asking for the disk panic nowhere";

/// The length of the description, and the description: JSON with the step, and each tensor's type, shape and place.
fn header(pieces: &Pieces<'_>, tensors: &[&Piece<'_>]) -> Result<Vec<u8>, SafeTensorError> {
    let mut end = 0;
    let infos = tensors.iter().map(|tensor| {
        let begin = end;
        end += tensor.bytes.len();
        let info = TensorInfo {
            dtype: tensor.dtype,
            shape: tensor.shape.to_vec(),
            data_offsets: (begin, end),
        };
        (tensor.name.to_owned(), info)
    });
    let infos = infos.collect();
    let about = HashMap::from([("step".to_owned(), pieces.step.to_string())]);
    let mut json = serde_json::to_vec(&Metadata::new(Some(about), infos)?)?;
    json.resize(json.len().next_multiple_of(ALIGNMENT), b' ');
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.extend(json);
    Ok(header)
}

fn digest(header: &[u8], tensors: &[&Piece<'_>]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(header);
    for tensor in tensors {
        hasher.update(tensor.bytes);
    }
    hasher.finalize().to_hex().to_string()
}

/// Gives the system all bytes, and says now and then that there are some; their number.
fn stream(file: &File, header: &[u8], tensors: &[&Piece<'_>], soon: &Sender<()>) -> io::Result<u64> {
    let mut into = BufWriter::with_capacity(AT_ONCE, file);
    into.write_all(header)?;
    let (mut n_bytes, mut n_told) = (header.len(), 0);
    for tensor in tensors {
        into.write_all(tensor.bytes)?;
        n_bytes += tensor.bytes.len();
        if n_bytes - n_told >= SOON {
            n_told = n_bytes;
            // Whoever has the disk begin may have met an error, which is told in the end.
            let _ = soon.send(());
        }
    }
    into.flush()?;
    Ok(n_bytes as u64)
}

fn keep_the_disk_busy(file: &File, asked: Receiver<()>) -> io::Result<()> {
    while asked.recv().is_ok() {
        // What was asked meanwhile is done by the same.
        asked.try_iter().for_each(drop);
        file.sync_data()?;
    }
    Ok(())
}
