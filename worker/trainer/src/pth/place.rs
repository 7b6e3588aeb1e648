//! Where a tensor's elements lie in its storage, checked, and brought together in row-major order.

use safetensors::Dtype;

use super::problem::Problem;
use crate::state::snapshot::NamedBytes;

/// What a tensor may have; PyTorch's own limit is 64, a state dict's tensors have up to 5.
const MOST_DIMENSIONS: usize = 8;

/// A stretch of elements of one type, that tensors are laid over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Storage {
    /// Its name in the file.
    pub(super) key: String,
    /// Element type.
    pub(super) dtype: Dtype,
    /// Its elements.
    pub(super) n_elements: u64,
}

impl Storage {
    /// Bytes of all its elements.
    pub(super) fn n_bytes(&self) -> Option<u64> {
        self.n_elements.checked_mul(width(self.dtype) as u64)
    }
}

/// A tensor over a storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Which storage.
    pub(super) storage: usize,
    offset: u64,
    shape: Vec<u64>,
    stride: Vec<u64>,
}

/// Bytes of an element.
fn width(dtype: Dtype) -> usize {
    dtype.bitsize() / 8
}

impl Place {
    /// Elements from `offset` on, by shape and stride in elements.
    ///
    /// # Errors
    /// When one of them lies beyond the storage, or they are more than it has.
    pub(super) fn new(
        (storage, of): (usize, &Storage),
        offset: u64,
        shape: Vec<u64>,
        stride: Vec<u64>,
    ) -> Result<Self, Problem> {
        if shape.len() != stride.len() || shape.len() > MOST_DIMENSIONS {
            return Err(Problem::Nonsense(
                "a tensor's shape and stride do not fit each other",
            ));
        }
        let n = shape.iter().try_fold(1u64, |n, &side| n.checked_mul(side));
        let last = shape
            .iter()
            .zip(&stride)
            .try_fold(offset, |at, (&side, &stride)| {
                at.checked_add(side.saturating_sub(1).checked_mul(stride)?)
            });
        let fits = match (n, last) {
            (Some(0), _) => true,
            // As many elements as a storage has at most: a stride of 0 would make any number out of one.
            (Some(n), Some(last)) => last < of.n_elements && n <= of.n_elements,
            _ => false,
        };
        if !fits {
            return Err(Problem::Beyond {
                shape,
                key: of.key.clone(),
                n: of.n_elements,
            });
        }
        Ok(Self {
            storage,
            offset,
            shape,
            stride,
        })
    }

    /// Its shape.
    pub(super) fn shape(&self) -> Vec<usize> {
        self.shape.iter().map(|&side| index(side)).collect()
    }

    /// Its elements out of the storage's bytes.
    pub(super) fn gather(&self, dtype: Dtype, storage: &[u8]) -> NamedBytes {
        let (shape, width) = (self.shape(), width(dtype));
        let n: usize = shape.iter().product();
        let mut bytes = Vec::with_capacity(n * width);
        if n > 0 {
            self.rows(&mut |first, stride, n| {
                let at = |i: usize| (first + i * stride) * width;
                if stride == 1 {
                    bytes.extend_from_slice(&storage[at(0)..at(0) + n * width]);
                } else {
                    (0..n).for_each(|i| bytes.extend_from_slice(&storage[at(i)..at(i) + width]));
                }
            });
        }
        NamedBytes { dtype, shape, bytes }
    }

    /// Each row along the last dimension, in order: its first element, its stride, its length.
    fn rows(&self, each: &mut impl FnMut(usize, usize, usize)) {
        if self.is_contiguous() {
            return each(index(self.offset), 1, self.shape().iter().product());
        }
        let (Some((&length, outer)), Some((&stride, strides))) =
            (self.shape.split_last(), self.stride.split_last())
        else {
            return each(index(self.offset), 1, 1);
        };
        let mut position = vec![0u64; outer.len()];
        loop {
            let skipped: u64 = position.iter().zip(strides).map(|(i, stride)| i * stride).sum();
            each(index(self.offset + skipped), index(stride), index(length));
            // The next position, the last dimension fastest.
            let next = (0..outer.len()).rev().find(|&d| {
                position[d] += 1;
                let stays = position[d] < outer[d];
                if !stays {
                    position[d] = 0;
                }
                stays
            });
            if next.is_none() {
                return;
            }
        }
    }

    fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(&self.stride).rev().all(|(&side, &stride)| {
            let fits = side == 1 || stride == expected;
            expected *= side;
            fits
        })
    }
}

/// A number that was found to lie within bytes in memory.
fn index(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}
