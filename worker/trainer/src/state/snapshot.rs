//! A snapshot: every tensor of the state by name, as bytes; and the digest that tells two states apart.
//!
//! Names are torchvision's for the encoder and the published ones for the heads, under `student.`, `teacher.` and `momentum.`;
//! statistics are `running_mean` and `running_var` of their layer, with `rank3.` before where each rank has its own.

use std::collections::BTreeMap;

use m2t_common::Step;
use m2t_torch::bytes_of;
use safetensors::Dtype;
use tch::{Kind, Tensor};

use super::parameters::view;
use super::{Histories, State};
use crate::model::layout::{Layout, NormLayer, Parameter};

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

impl Snapshot {
    /// BLAKE3 over step, names, types, shapes and bytes: equal states, equal digests, in whatever file they lie.
    pub fn digest(&self) -> String {
        let mut digest = Digest::of(self.step);
        for (name, tensor) in &self.tensors {
            digest.add(name, tensor);
        }
        digest.text()
    }
}

/// The digest of a state in the making; tensors come in the order of their names.
struct Digest(blake3::Hasher);

impl Digest {
    fn of(step: Step) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("m2t 2026 state digest");
        hasher.update(&step.0.to_le_bytes());
        Self(hasher)
    }

    fn add(&mut self, name: &str, tensor: &NamedBytes) {
        let hasher = &mut self.0;
        for part in [name.as_bytes(), tensor.dtype.to_string().as_bytes()] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hasher.update(&(tensor.shape.len() as u64).to_le_bytes());
        for side in &tensor.shape {
            hasher.update(&(*side as u64).to_le_bytes());
        }
        hasher.update(&tensor.bytes);
    }

    fn text(&self) -> String {
        self.0.finalize().to_hex().to_string()
    }
}

/// What [`Snapshot::digest`] says of a snapshot of `state`, with one tensor's bytes in memory at a time.
pub(super) fn digest(state: &State) -> Option<String> {
    let Histories::Shared(history) = &state.history else {
        return None;
    };
    let own = (String::new(), history.views());
    let mut tensors = named(state, std::iter::once((&own.0, &own.1)));
    tensors.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut digest = Digest::of(state.step);
    for (name, tensor) in &tensors {
        digest.add(name, &bytes(tensor));
    }
    Some(digest.text())
}

/// All of `state`, with the statistics of all ranks as gathered.
pub(super) fn take(state: &State, gathered: &BTreeMap<String, [Tensor; 4]>) -> Snapshot {
    let tensors = named(state, gathered.iter())
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
    let own = state.history.own();
    let targets = named(state, own.iter().map(|(prefix, vectors)| (prefix, vectors)));
    let mut sources = Vec::with_capacity(targets.len());
    for (name, target) in &targets {
        let source = snapshot
            .tensors
            .get(name)
            .ok_or_else(|| SnapshotError::Missing { name: name.clone() })?;
        let expected = (dtype(target.kind()), shape(target));
        if (source.dtype, &source.shape) != (expected.0, &expected.1) {
            let text = |dtype: Dtype, shape: &[usize]| format!("{dtype} {shape:?}");
            let (got, expected) = (text(source.dtype, &source.shape), text(expected.0, &expected.1));
            return Err(SnapshotError::Other {
                name: name.clone(),
                got,
                expected,
            });
        }
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

/// Every tensor with its name; parameters and own statistics share the state's memory.
fn named<'a>(
    state: &State,
    statistics: impl Iterator<Item = (&'a String, &'a [Tensor; 4])>,
) -> Vec<(String, Tensor)> {
    let layout = &state.network.layout;
    let (student, teacher) = (
        layout.parameters.as_slice(),
        &layout.parameters[..state.network.teacher.n_parameters],
    );
    let mut named = Vec::new();
    push_parameters(&mut named, "student", student, &state.student.flat);
    push_parameters(&mut named, "momentum", student, &state.momentum);
    push_parameters(&mut named, "teacher", teacher, &state.teacher.flat);
    for (prefix, [student_mean, student_var, teacher_mean, teacher_var]) in statistics {
        let layers = teacher_layers(layout, state.network.teacher.n_norms);
        push_statistics(
            &mut named,
            &format!("{prefix}student"),
            &layout.norms,
            [student_mean, student_var],
        );
        push_statistics(
            &mut named,
            &format!("{prefix}teacher"),
            layers,
            [teacher_mean, teacher_var],
        );
    }
    named
}

fn teacher_layers(layout: &Layout, n: usize) -> &[NormLayer] {
    &layout.norms[..n]
}

fn push_parameters(named: &mut Vec<(String, Tensor)>, side: &str, parameters: &[Parameter], flat: &Tensor) {
    named.extend(
        parameters
            .iter()
            .map(|p| (format!("{side}.{}", p.name), view(flat, p))),
    );
}

fn push_statistics(
    named: &mut Vec<(String, Tensor)>,
    side: &str,
    layers: &[NormLayer],
    [mean, var]: [&Tensor; 2],
) {
    for layer in layers {
        for (what, flat) in [("running_mean", mean), ("running_var", var)] {
            named.push((
                format!("{side}.{}.{what}", layer.name),
                flat.narrow(0, layer.offset, layer.channels),
            ));
        }
    }
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

fn dtype(kind: Kind) -> Dtype {
    match kind {
        Kind::Double => Dtype::F64,
        Kind::Float => Dtype::F32,
        other => unreachable!("the state holds no tensors of {other:?}"),
    }
}
