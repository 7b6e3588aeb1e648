//! Checkpoints read back. Whichever way, all of one is verified: each file as its manifest says, and the state as a whole.
//!
//! Why [`load`] streams: a resume waits for it. Each block is read once and looked at while it is in the processor's cache, by three
//! threads that share it: one hashes the state, one brings its tensors into place, and one hashes the file, if that says more. No
//! second copy of the state is made. The state's digest covers each tensor's name, type, shape and bytes, and the step; if the
//! file's description is, byte for byte, the one that is written for these, every byte of the file is verified by that.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use m2t_common::manifest::{FORMAT, FileEntry, MANIFEST_FILE, Manifest, STATE_FILE};
use m2t_torch::put_bytes;
use safetensors::SafeTensors;
use safetensors::tensor::{Metadata, TensorInfo, TensorView};
use tch::Tensor;

use super::{CheckpointError, file};
use crate::state::contents::{Entry, entries, vectors};
use crate::state::snapshot::{Digest, NamedBytes, dtype, require};
use crate::state::{Snapshot, SnapshotError, State};

/// What is read at once.
const BLOCK: usize = 1 << 20;
/// Blocks under way to each of those who look at them, and so many that none is filled while somebody looks at it.
const WAITING: usize = 2;
const N_BLOCKS: usize = WAITING + 3;
/// What a safetensors file's description may have, as its own library has it.
const LARGEST_HEADER: u64 = 100_000_000;

/// A checkpoint that is not brought into a state.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum LoadError {
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    State(#[from] SnapshotError),
}

/// The manifest of the checkpoint in `folder`; nothing else is looked at.
pub fn manifest(folder: &Path) -> Result<Manifest, CheckpointError> {
    let bytes = fs::read(folder.join(MANIFEST_FILE)).map_err(unreadable(folder))?;
    let manifest: Manifest =
        serde_json::from_slice(&bytes).map_err(|e| damaged(folder, format!("its manifest: {e}")))?;
    if manifest.format != FORMAT {
        let problem = format!("its format is {}, this version reads {FORMAT}", manifest.format);
        return Err(damaged(folder, problem));
    }
    Ok(manifest)
}

/// Reads the checkpoint in `folder` and verifies it, file by file and as a whole.
pub fn read(folder: &Path) -> Result<(Manifest, Snapshot), CheckpointError> {
    let manifest = manifest(folder)?;
    let expected = verify_others(folder, &manifest)?;
    let bytes = fs::read(folder.join(STATE_FILE)).map_err(unreadable(folder))?;
    let (found, snapshot) = thread::scope(|scope| {
        let found = scope.spawn(|| blake3::hash(&bytes).to_hex().to_string());
        let snapshot = parse(folder, &manifest, &bytes);
        (found.join().expect(NO_PANIC), snapshot)
    });
    require_file(folder, expected, (bytes.len() as u64, &found))?;
    let snapshot = snapshot?;
    require_state(folder, &manifest, &snapshot.digest())?;
    Ok((manifest, snapshot))
}

fn parse(folder: &Path, manifest: &Manifest, bytes: &[u8]) -> Result<Snapshot, CheckpointError> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| damaged(folder, format!("{STATE_FILE}: {e}")))?;
    let named = |(name, view): (String, TensorView<'_>)| (name, NamedBytes::from(view));
    Ok(Snapshot {
        step: manifest.step,
        tensors: file.tensors().into_iter().map(named).collect(),
    })
}

/// Brings the checkpoint in `folder`, of this manifest, into `state`, which comes back only if all of the checkpoint is verified.
///
/// # Errors
/// When the checkpoint is not as its manifest says, or is whole and of another network.
pub fn load(folder: &Path, manifest: &Manifest, mut state: State) -> Result<State, LoadError> {
    let expected = verify_others(folder, manifest)?;
    let mut state_file = File::open(folder.join(STATE_FILE)).map_err(unreadable(folder))?;
    let header = header(&mut state_file).map_err(unreadable(folder))?;
    let tensors = tensors(&header).map_err(|problem| damaged(folder, format!("{STATE_FILE}: {problem}")))?;
    let (targets, misfit) = match targets(&state, &tensors) {
        Ok(targets) => (targets, None),
        // Damage, if it is that, is told instead of what it looks like.
        Err(misfit) => (vec![None; tensors.len()], Some(misfit)),
    };
    let canonical = file::header(manifest.step, tensors.clone()).is_ok_and(|canonical| canonical == header);
    let plan = Plan { tensors, targets };
    let statistics = state.history.own().into_iter().collect();
    let vectors = vectors(&state, &statistics);
    let found = thread::scope(|scope| {
        let (to_state, of_state) = sync_channel(WAITING);
        let (to_tensors, of_tensors) = sync_channel(WAITING);
        let mut senders = vec![to_state, to_tensors];
        let (plan, header) = (&plan, &header);
        let file_digest = (!canonical).then(|| {
            let (to_file, of_file) = sync_channel(WAITING);
            senders.push(to_file);
            scope.spawn(move || hash_file(header, of_file))
        });
        let read = scope.spawn(move || plan.read(&mut state_file, &senders));
        let state_digest = scope.spawn(|| plan.hash_state(Digest::of(manifest.step), of_state));
        plan.put(vectors, of_tensors);
        let n_read = read.join().expect(NO_PANIC)?;
        let size = header.len() as u64 + n_read;
        io::Result::Ok((
            size,
            file_digest.map(|hashing| hashing.join().expect(NO_PANIC)),
            state_digest.join().expect(NO_PANIC),
        ))
    });
    let (size, file_digest, state_digest) = found.map_err(unreadable(folder))?;
    let same = |file: &FileEntry| {
        let digest = file_digest.as_ref().unwrap_or(&file.blake3);
        require_file(folder, Some(file), (size, digest))
    };
    expected.map_or(Ok(()), same)?;
    require_state(folder, manifest, &state_digest)?;
    if let Some(misfit) = misfit {
        return Err(misfit.into());
    }
    state.step = manifest.step;
    Ok(state)
}

const NO_PANIC: &str = "reading and hashing panic nowhere";

/// A part of a tensor.
#[derive(Debug, Default)]
struct Block {
    /// Which tensor.
    tensor: usize,
    /// Its first byte there.
    begin: usize,
    bytes: Vec<u8>,
}

/// What is read and where it goes.
struct Plan {
    /// In the order of the file.
    tensors: Vec<(String, TensorInfo)>,
    /// Where in the state, if this device has a place for it.
    targets: Vec<Option<Entry>>,
}

impl Plan {
    /// Hands every tensor to all, block by block, and looks whether something follows; the bytes read.
    fn read(&self, file: &mut File, senders: &[SyncSender<Arc<Block>>]) -> io::Result<u64> {
        let mut blocks = Vec::from_iter((0..N_BLOCKS).map(|_| Arc::new(Block::default())));
        let (mut n_blocks, mut n_bytes) = (0, 0);
        for (tensor, (_, info)) in self.tensors.iter().enumerate() {
            let (first, end) = info.data_offsets;
            let at_once = self.unit(tensor) * (BLOCK / self.unit(tensor)).max(1);
            for begin in (0..end - first).step_by(at_once) {
                let slot = &mut blocks[n_blocks % N_BLOCKS];
                if Arc::get_mut(slot).is_none() {
                    *slot = Arc::default();
                }
                let block = Arc::get_mut(slot).expect("nobody else has it");
                (block.tensor, block.begin) = (tensor, begin);
                let n = at_once.min(end - first - begin);
                block.bytes.clear();
                let n_read = file.take(n as u64).read_to_end(&mut block.bytes)?;
                n_bytes += n_read as u64;
                if n_read < n {
                    return Ok(n_bytes);
                }
                n_blocks += 1;
                for sender in senders {
                    // None of them ends before the last block.
                    let _ = sender.send(Arc::clone(slot));
                }
            }
        }
        Ok(n_bytes + io::copy(file, &mut io::sink())?)
    }

    /// Bytes of a tensor that belong together.
    fn unit(&self, tensor: usize) -> usize {
        let width = self.tensors[tensor].1.dtype.bitsize().div_ceil(8);
        let unit = self.targets[tensor]
            .as_ref()
            .map_or(1, |entry| entry.order().unit());
        unit * width
    }

    fn hash_state(&self, mut digest: Digest, blocks: Receiver<Arc<Block>>) -> String {
        for block in blocks {
            if block.begin == 0 {
                let (name, info) = &self.tensors[block.tensor];
                digest.begin(name, info.dtype, &info.shape);
            }
            digest.add(&block.bytes);
        }
        digest.text()
    }

    /// Writes into the state's vectors what has a place there.
    fn put(&self, mut vectors: Vec<Tensor>, blocks: Receiver<Arc<Block>>) {
        let mut turned = Vec::new();
        for block in blocks {
            if let Some(entry) = &self.targets[block.tensor] {
                let vector = &mut vectors[entry.vector];
                let width = vector.kind().elt_size_in_bytes();
                let first = entry.offset.unsigned_abs() as usize + block.begin / width;
                let bytes = entry.order().to_vector(&block.bytes, width, &mut turned);
                put_bytes(vector, first, bytes);
            }
        }
    }
}

fn hash_file(header: &[u8], blocks: Receiver<Arc<Block>>) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(header);
    for block in blocks {
        hasher.update(&block.bytes);
    }
    hasher.finalize().to_hex().to_string()
}

/// The length of the description, and the description, as far as they are there.
fn header(file: &mut File) -> io::Result<Vec<u8>> {
    let mut header = Vec::new();
    file.take(8).read_to_end(&mut header)?;
    if let Ok(n) = header.as_slice().try_into().map(u64::from_le_bytes) {
        file.take(n.min(LARGEST_HEADER)).read_to_end(&mut header)?;
    }
    Ok(header)
}

/// Names, types, shapes and places, in the order of the places.
fn tensors(header: &[u8]) -> Result<Vec<(String, TensorInfo)>, String> {
    let json = header.get(8..).unwrap_or_default();
    let metadata: Metadata = serde_json::from_slice(json).map_err(|e| e.to_string())?;
    let info = |name: String| {
        let info = metadata.info(&name).cloned();
        info.map(|info| (name, info))
    };
    Ok(metadata.offset_keys().into_iter().filter_map(info).collect())
}

/// Where each tensor goes, if all that the state needs are there.
fn targets(state: &State, tensors: &[(String, TensorInfo)]) -> Result<Vec<Option<Entry>>, SnapshotError> {
    let prefixes: Vec<String> = state
        .history
        .own()
        .into_iter()
        .map(|(prefix, _)| prefix)
        .collect();
    let kind = dtype(state.momentum.kind());
    let mut targets = vec![None; tensors.len()];
    for entry in entries(&state.form, prefixes.iter()) {
        let found = tensors.iter().position(|(name, _)| *name == entry.name);
        let found = found.ok_or_else(|| SnapshotError::Missing {
            name: entry.name.clone(),
        })?;
        let info = &tensors[found].1;
        require(&entry.name, (info.dtype, &info.shape), (kind, &entry.sides()))?;
        targets[found] = Some(entry);
    }
    Ok(targets)
}

/// Verifies the files that are not the state's; the state's is yet to be.
fn verify_others<'a>(
    folder: &Path,
    manifest: &'a Manifest,
) -> Result<Option<&'a FileEntry>, CheckpointError> {
    for expected in manifest.files.iter().filter(|file| file.name != STATE_FILE) {
        let mut hasher = blake3::Hasher::new();
        let mut file = File::open(folder.join(&expected.name)).map_err(unreadable(folder))?;
        let size = io::copy(&mut file, &mut hasher).map_err(unreadable(folder))?;
        let found = hasher.finalize().to_hex().to_string();
        require_file(folder, Some(expected), (size, &found))?;
    }
    Ok(manifest.files.iter().find(|file| file.name == STATE_FILE))
}

fn require_file(
    folder: &Path,
    expected: Option<&FileEntry>,
    found: (u64, &str),
) -> Result<(), CheckpointError> {
    match expected {
        Some(file) if (file.size, file.blake3.as_str()) != found => Err(damaged(
            folder,
            format!("{} is not as its manifest says", file.name),
        )),
        _ => Ok(()),
    }
}

fn require_state(folder: &Path, manifest: &Manifest, found: &str) -> Result<(), CheckpointError> {
    if found == manifest.state_digest {
        return Ok(());
    }
    let problem = "its tensors do not have the digest its manifest says";
    Err(damaged(folder, problem.to_owned()))
}

fn unreadable(folder: &Path) -> impl FnOnce(io::Error) -> CheckpointError {
    let path = folder.to_owned();
    |source| CheckpointError::Read { path, source }
}

fn damaged(folder: &Path, problem: String) -> CheckpointError {
    let path = folder.to_owned();
    CheckpointError::Damaged { path, problem }
}
