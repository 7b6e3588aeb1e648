//! A snapshot: every tensor of the state by name, as bytes; and the digest that tells two states apart.

use std::collections::BTreeMap;

use m2t_common::Step;
use m2t_torch::bytes_of;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use tch::{Kind, Tensor};

use super::contents::{entries, vectors};
use super::parameters::stretch;
use super::{Histories, State};

/// The whole state as named bytes, in the order of the names.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Commits done.
    pub step: Step,
    /// Tensors by name.
    pub tensors: BTreeMap<String, NamedBytes>,
}

/// One tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedBytes {
    /// Element type.
    pub dtype: Dtype,
    /// Shape.
    pub shape: Vec<usize>,
    /// Elements in row-major order, little endian.
    pub bytes: Vec<u8>,
}

impl From<TensorView<'_>> for NamedBytes {
    fn from(view: TensorView<'_>) -> Self {
        Self {
            dtype: view.dtype(),
            shape: view.shape().to_vec(),
            bytes: view.data().to_vec(),
        }
    }
}

/// A snapshot that is not one of this network.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum SnapshotError {
    #[error("the checkpoint has no tensor {name}; it belongs to another network or other statistics")]
    Missing { name: String },
    #[error("the checkpoint's tensor {name} is {got}, not {expected}; it belongs to another network")]
    Other {
        name: String,
        got: String,
        expected: String,
    },
}

/// A state's tensors as a file holds them, in the order of the names, wherever their bytes lie.
#[derive(Debug)]
pub struct Pieces<'a> {
    /// Commits done.
    pub step: Step,
    /// Its tensors.
    pub tensors: Vec<Piece<'a>>,
}

/// One tensor.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// Its name.
    pub name: &'a str,
    /// Element type.
    pub dtype: Dtype,
    /// Shape.
    pub shape: &'a [usize],
    /// Elements in row-major order, little endian.
    pub bytes: &'a [u8],
}

impl Snapshot {
    /// The same, borrowed.
    pub fn pieces(&self) -> Pieces<'_> {
        let tensors = self.tensors.iter().map(|(name, tensor)| Piece {
            name,
            dtype: tensor.dtype,
            shape: &tensor.shape,
            bytes: &tensor.bytes,
        });
        Pieces {
            step: self.step,
            tensors: tensors.collect(),
        }
    }

    /// BLAKE3 over step, names, types, shapes and bytes: equal states, equal digests, in whatever file they lie.
    pub fn digest(&self) -> String {
        self.pieces().digest()
    }
}

impl Pieces<'_> {
    /// What [`Snapshot::digest`] says of the same tensors.
    pub fn digest(&self) -> String {
        let mut digest = Digest::of(self.step);
        for tensor in &self.tensors {
            digest.begin(tensor.name, tensor.dtype, tensor.shape);
            digest.add(tensor.bytes);
        }
        digest.text()
    }
}

/// The digest of a state in the making; tensors come in the order of their names.
pub(crate) struct Digest(blake3::Hasher);

impl Digest {
    /// Of a state at this step.
    pub(crate) fn of(step: Step) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("m2t 2026 state digest");
        hasher.update(&step.0.to_le_bytes());
        Self(hasher)
    }

    /// The next tensor; its bytes follow.
    pub(crate) fn begin(&mut self, name: &str, dtype: Dtype, shape: &[usize]) {
        let hasher = &mut self.0;
        for part in [name.as_bytes(), dtype.to_string().as_bytes()] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hasher.update(&(shape.len() as u64).to_le_bytes());
        for side in shape {
            hasher.update(&(*side as u64).to_le_bytes());
        }
    }

    /// Some of its bytes.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// In hexadecimal.
    pub(crate) fn text(&self) -> String {
        self.0.finalize().to_hex().to_string()
    }
}

/// What [`Snapshot::digest`] says of a snapshot of `state`, with one tensor's bytes in memory at a time.
pub(super) fn digest(state: &State) -> Option<String> {
    let Histories::Shared(history) = &state.history else {
        return None;
    };
    let mut digest = Digest::of(state.step);
    for (name, tensor) in named(state, &BTreeMap::from([(String::new(), history.views())])) {
        digest.begin(&name, dtype(tensor.kind()), &shape(&tensor));
        digest.add(&bytes_of(&tensor));
    }
    Some(digest.text())
}

/// All of `state`, with the statistics of all ranks as gathered.
pub(super) fn take(state: &State, gathered: &BTreeMap<String, [Tensor; 4]>) -> Snapshot {
    let tensors = named(state, gathered)
        .into_iter()
        .map(|(name, tensor)| (name, bytes(&tensor)))
        .collect();
    Snapshot {
        step: state.step,
        tensors,
    }
}

/// Overwrites what `state` holds.
pub(super) fn restore(state: &mut State, snapshot: &Snapshot) -> Result<(), SnapshotError> {
    let targets = named(state, &state.history.own().into_iter().collect());
    let mut sources = Vec::with_capacity(targets.len());
    for (name, target) in &targets {
        let source = snapshot
            .tensors
            .get(name)
            .ok_or_else(|| SnapshotError::Missing { name: name.clone() })?;
        let expected = (dtype(target.kind()), shape(target));
        require(name, (source.dtype, &source.shape), (expected.0, &expected.1))?;
        sources.push(source);
    }
    // Only now, when all of it fits: a refused snapshot leaves the state as it was.
    tch::no_grad(|| {
        for ((_, target), source) in targets.iter().zip(sources) {
            target.shallow_clone().copy_(&Tensor::from_data_size(
                &source.bytes,
                &target.size(),
                target.kind(),
            ));
        }
    });
    state.step = snapshot.step;
    Ok(())
}

/// Refuses a tensor of another type or shape than the network's.
pub(crate) fn require(
    name: &str,
    got: (Dtype, &[usize]),
    expected: (Dtype, &[usize]),
) -> Result<(), SnapshotError> {
    if got == expected {
        return Ok(());
    }
    let text = |(dtype, shape): (Dtype, &[usize])| format!("{dtype} {shape:?}");
    Err(SnapshotError::Other {
        name: name.to_owned(),
        got: text(got),
        expected: text(expected),
    })
}

/// Every tensor with its name, in the order of the names; parameters and own statistics share the state's memory.
fn named(state: &State, statistics: &BTreeMap<String, [Tensor; 4]>) -> Vec<(String, Tensor)> {
    let vectors = vectors(state, statistics);
    entries(&state.form, statistics.keys())
        .into_iter()
        .map(|entry| {
            let tensor = stretch(&vectors[entry.vector], entry.offset, &entry.shape);
            (entry.name, tensor)
        })
        .collect()
}

fn bytes(tensor: &Tensor) -> NamedBytes {
    NamedBytes {
        dtype: dtype(tensor.kind()),
        shape: shape(tensor),
        bytes: bytes_of(tensor),
    }
}

fn shape(tensor: &Tensor) -> Vec<usize> {
    tensor
        .size()
        .into_iter()
        .map(|side| usize::try_from(side).unwrap_or_default())
        .collect()
}

/// Of a state's tensors, as a file names it.
pub(crate) fn dtype(kind: Kind) -> Dtype {
    match kind {
        Kind::Double => Dtype::F64,
        Kind::Float => Dtype::F32,
        other => unreachable!("the state holds no tensors of {other:?}"),
    }
}
