//! Which tensors go out, taken out of a checkpoint's snapshot.

use m2t_common::recipe::{Recipe, TeacherStatistics};
use m2t_common::{Rank, Step};
use safetensors::Dtype;

use super::{Lack, Named, Side};
use crate::model::Network;
use crate::state::Snapshot;
use crate::state::snapshot::NamedBytes;

/// The encoder's as float32, under torchvision's names and in its order.
pub(super) fn encoder(recipe: &Recipe, snapshot: &mut Snapshot, side: Side) -> Result<Vec<Named>, Lack> {
    let network = Network::new(&recipe.model);
    let extent = network.encoder_extent;
    let side = side.name();
    let history = match recipe.training.teacher_statistics {
        TeacherStatistics::Global => side.to_owned(),
        TeacherStatistics::Local => format!("rank{}.{side}", Rank(0)),
    };
    let step = snapshot.step;
    let mut take = |prefix: &str, name: String, shape: &[i64]| {
        let shape: Vec<usize> = shape.iter().map(|&side| side.unsigned_abs() as usize).collect();
        match snapshot.tensors.remove(&format!("{prefix}.{name}")) {
            Some(tensor) if tensor.shape == shape => Ok((name, single(tensor))),
            _ => Err(Lack {
                name: format!("{prefix}.{name}"),
                shape,
            }),
        }
    };
    let mut tensors = Vec::new();
    for parameter in &network.layout.parameters[..extent.n_parameters] {
        tensors.push(take(side, parameter.name.clone(), &parameter.shape)?);
    }
    for layer in &network.layout.norms[..extent.n_norms] {
        for what in ["running_mean", "running_var"] {
            tensors.push(take(
                &history,
                format!("{}.{what}", layer.name),
                &[layer.channels],
            )?);
        }
        tensors.push((format!("{}.num_batches_tracked", layer.name), count(step)));
    }
    Ok(tensors)
}

/// All there are, as they are, under the checkpoint's own names.
pub(super) fn all(snapshot: Snapshot) -> Vec<Named> {
    snapshot.tensors.into_iter().collect()
}

/// In float32, whatever the run computed in.
fn single(tensor: NamedBytes) -> NamedBytes {
    if tensor.dtype != Dtype::F64 {
        return tensor;
    }
    let (values, _) = tensor.bytes.as_chunks();
    NamedBytes {
        dtype: Dtype::F32,
        bytes: values
            .iter()
            .flat_map(|value| (f64::from_le_bytes(*value) as f32).to_le_bytes())
            .collect(),
        ..tensor
    }
}

/// torchvision's `num_batches_tracked`, a scalar that evaluation does not use: the steps.
fn count(step: Step) -> NamedBytes {
    NamedBytes {
        dtype: Dtype::I64,
        shape: Vec::new(),
        bytes: step.0.to_le_bytes().to_vec(),
    }
}
