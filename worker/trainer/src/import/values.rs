//! Elements of a file's types as the state's.

use half::{bf16, f16};
use safetensors::Dtype;

use crate::state::snapshot::NamedBytes;

/// The tensor in the type of the state, float32 or float64; nothing where its elements are no floats. Only from float64 to
/// float32 is anything rounded.
pub(super) fn converted(tensor: &NamedBytes, to: Dtype) -> Option<NamedBytes> {
    if tensor.dtype == to {
        return Some(tensor.clone());
    }
    let values: Vec<f64> = match tensor.dtype {
        Dtype::F64 => read(&tensor.bytes, f64::from_le_bytes),
        Dtype::F32 => read(&tensor.bytes, |bytes| f32::from_le_bytes(bytes).into()),
        Dtype::F16 => read(&tensor.bytes, |bytes| f16::from_le_bytes(bytes).into()),
        Dtype::BF16 => read(&tensor.bytes, |bytes| bf16::from_le_bytes(bytes).into()),
        _ => return None,
    };
    let bytes = match to {
        Dtype::F64 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        Dtype::F32 => values
            .iter()
            .flat_map(|&value| (value as f32).to_le_bytes())
            .collect(),
        _ => return None,
    };
    Some(NamedBytes {
        dtype: to,
        shape: tensor.shape.clone(),
        bytes,
    })
}

/// Whether all of a state's tensor are finite.
pub(super) fn is_finite(tensor: &NamedBytes) -> bool {
    match tensor.dtype {
        Dtype::F64 => read(&tensor.bytes, f64::from_le_bytes)
            .iter()
            .all(|value| value.is_finite()),
        _ => read(&tensor.bytes, |bytes| f32::from_le_bytes(bytes).into())
            .iter()
            .all(|value| value.is_finite()),
    }
}

fn read<const N: usize>(bytes: &[u8], of: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    let (values, _) = bytes.as_chunks();
    values.iter().map(|&bytes| of(bytes)).collect()
}
