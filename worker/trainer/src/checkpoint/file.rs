//! The file of a state: safetensors, streamed out of memory while it is hashed.
//!
//! Why three passes at once instead of one after the other: a checkpoint's two digests (the file's, and the state's, which has other
//! bytes in between) cost as much as writing it, and each is bound by another part of the machine. The file is never read again to
//! be hashed: what was hashed is what was written. The disk is told to begin as soon as there is something to write, so that
//! little is left for the fsync; an fsync on the way would wait, and commit the file system's journal each time.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::num::NonZeroU64;
use std::path::Path;
use std::thread;

use m2t_common::Step;
use m2t_common::manifest::FileEntry;
use rustix::fs::{Advice, fadvise};
use safetensors::SafeTensorError;
use safetensors::tensor::{Metadata, TensorInfo};

use crate::state::snapshot::{Piece, Pieces};

/// Bytes after which the disk is asked to begin, and bytes a write has at least, but the last.
const SOON: u64 = 32 << 20;
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
    let header = header(pieces.step, infos(&tensors)).map_err(io::Error::other)?;
    let file = File::create_new(path)?;
    thread::scope(|scope| {
        let state_digest = scope.spawn(|| pieces.digest());
        let file_digest = scope.spawn(|| digest(&header, &tensors));
        let size = stream(&file, &header, &tensors)?;
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

const NO_PANIC: &str = "hashing bytes in memory panics nowhere";

/// Where each tensor stands in the file.
fn infos(tensors: &[&Piece<'_>]) -> Vec<(String, TensorInfo)> {
    let mut end = 0;
    let info = |tensor: &&Piece<'_>| {
        let begin = end;
        end += tensor.bytes.len();
        let info = TensorInfo {
            dtype: tensor.dtype,
            shape: tensor.shape.to_vec(),
            data_offsets: (begin, end),
        };
        (tensor.name.to_owned(), info)
    };
    tensors.iter().map(info).collect()
}

/// The length of the description, and the description: JSON with the step, and each tensor's type, shape and place.
pub(super) fn header(step: Step, infos: Vec<(String, TensorInfo)>) -> Result<Vec<u8>, SafeTensorError> {
    let about = HashMap::from([("step".to_owned(), step.to_string())]);
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

/// Gives the system all bytes, and has it begin with each stretch of them; their number.
fn stream(file: &File, header: &[u8], tensors: &[&Piece<'_>]) -> io::Result<u64> {
    let mut into = BufWriter::with_capacity(AT_ONCE, file);
    into.write_all(header)?;
    let (mut end, mut begun) = (header.len() as u64, 0);
    for tensor in tensors {
        into.write_all(tensor.bytes)?;
        end += tensor.bytes.len() as u64;
        if let Some(stretch) = NonZeroU64::new(end - begun).filter(|n| n.get() >= SOON) {
            // Advice that the bytes are not needed in memory starts writing them, without waiting. It may be refused: fsync writes all.
            let _ = fadvise(file, begun, Some(stretch), Advice::DontNeed);
            begun = end;
        }
    }
    into.flush()?;
    Ok(end)
}
