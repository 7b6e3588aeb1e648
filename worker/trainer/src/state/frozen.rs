//! A state copied as it lies in memory, so that training goes on while a checkpoint of it is written.
//!
//! Why the flat vectors and not the tensors of a file: between two steps only what cannot wait is done, one copy of a few long vectors
//! into memory that is already there. Bringing the weights into a file's order, hashing and writing are the writer's. The memory is
//! kept between checkpoints, since fetching its pages anew costs several times the copy.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use m2t_common::Step;
use safetensors::Dtype;
use tch::Tensor;

use super::State;
use super::contents::{Entry, entries, vectors};
use super::snapshot::{Piece, Pieces, dtype};

/// Memory for frozen states: as many buffers as were once in use at the same time, which is one on a disk that keeps up.
#[derive(Clone, Debug, Default)]
pub struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

/// A buffer in use; it goes back when it is dropped.
#[derive(Debug)]
struct Buffer {
    bytes: Vec<u8>,
    home: Buffers,
}

/// A state's flat vectors at one step.
#[derive(Debug)]
pub struct Frozen {
    /// Commits done.
    pub step: Step,
    dtype: Dtype,
    entries: Vec<Entry>,
    /// Bytes of each vector; they stand in the buffer one after the other.
    lengths: Vec<usize>,
    buffer: Buffer,
}

/// A frozen state whose tensors are in a file's order.
#[derive(Debug)]
pub struct Ordered {
    step: Step,
    dtype: Dtype,
    /// Name, shape and place in the buffer, in the order of the names.
    tensors: Vec<(String, Vec<usize>, Range<usize>)>,
    buffer: Buffer,
}

impl Buffers {
    /// Fetches memory for a state of so many bytes, if none is there: what the first checkpoint else waits for.
    pub fn make_ready(&self, n_bytes: usize) {
        drop(self.take(n_bytes));
    }

    fn take(&self, n_bytes: usize) -> Buffer {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes = match spare {
            Some(bytes) if bytes.len() == n_bytes => bytes,
            // Of another network, or none. Ones, since zeros are promised without a page being fetched.
            other => {
                drop(other);
                vec![1; n_bytes]
            }
        };
        let home = self.clone();
        Buffer { bytes, home }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.home
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(bytes);
    }
}

/// Bytes of a frozen state with statistics of so many ranks, or shared ones.
pub(super) fn n_bytes(state: &State, n_histories: usize) -> usize {
    let own = state.history.own();
    let parameters = [&state.student.flat, &state.momentum, &state.teacher.flat];
    let statistics: usize = own
        .first()
        .map_or(0, |(_, vectors)| vectors.iter().map(length).sum());
    parameters.into_iter().map(length).sum::<usize>() + n_histories * statistics
}

/// Copies `state`, with the statistics of all ranks as gathered.
pub(super) fn freeze(state: &State, gathered: &BTreeMap<String, [Tensor; 4]>, buffers: &Buffers) -> Frozen {
    let vectors = vectors(state, gathered);
    let lengths: Vec<usize> = vectors.iter().map(length).collect();
    let mut buffer = buffers.take(lengths.iter().sum());
    copy(&vectors, &mut buffer.bytes);
    Frozen {
        step: state.step,
        dtype: dtype(state.momentum.kind()),
        entries: entries(&state.form, gathered.keys()),
        lengths,
        buffer,
    }
}

/// As many threads as the tensor library has each copy their part of every vector.
fn copy(vectors: &[Tensor], mut bytes: &mut [u8]) {
    let n_parts = usize::try_from(tch::get_num_threads()).map_or(1, |n| n.max(1));
    let mut parts: Vec<Vec<(Tensor, &mut [u8])>> = (0..n_parts).map(|_| Vec::new()).collect();
    for vector in vectors {
        let n = vector.numel();
        for (i, part) in parts.iter_mut().enumerate() {
            let (from, to) = (n * i / n_parts, n * (i + 1) / n_parts);
            let own = vector.narrow(0, from as i64, (to - from) as i64);
            let (into, others) = bytes.split_at_mut(length(&own));
            bytes = others;
            part.push((own, into));
        }
    }
    let copy = |part: Vec<(Tensor, &mut [u8])>| {
        for (own, into) in part {
            own.copy_data_u8(into, own.numel());
        }
    };
    let here = parts.pop().unwrap_or_default();
    thread::scope(|scope| {
        for part in parts {
            scope.spawn(move || copy(part));
        }
        copy(here);
    });
}

fn length(vector: &Tensor) -> usize {
    vector.numel() * vector.kind().elt_size_in_bytes()
}

impl Frozen {
    /// Brings every tensor into a file's order, in place, each vector by a thread of its own.
    pub fn in_order(mut self) -> Ordered {
        let width = self.dtype.bitsize() / 8;
        let mut rest = self.buffer.bytes.as_mut_slice();
        thread::scope(|scope| {
            for (i, &n) in self.lengths.iter().enumerate() {
                let (vector, others) = std::mem::take(&mut rest).split_at_mut(n);
                rest = others;
                let entries = self.entries.iter().filter(move |entry| entry.vector == i);
                let mut turned = entries.filter(|entry| entry.order().unit() > 1).peekable();
                if turned.peek().is_none() {
                    continue;
                }
                scope.spawn(move || {
                    for entry in turned {
                        entry.order().to_file(&mut vector[place(entry, width)], width);
                    }
                });
            }
        });
        let begins: Vec<usize> = self
            .lengths
            .iter()
            .scan(0, |end, n| Some(std::mem::replace(end, *end + n)))
            .collect();
        let tensor = |entry: &Entry| {
            let (begin, place) = (begins[entry.vector], place(entry, width));
            let place = begin + place.start..begin + place.end;
            (entry.name.clone(), entry.sides(), place)
        };
        Ordered {
            step: self.step,
            dtype: self.dtype,
            tensors: self.entries.iter().map(tensor).collect(),
            buffer: self.buffer,
        }
    }
}

/// Where a tensor lies within its vector, in bytes.
fn place(entry: &Entry, width: usize) -> Range<usize> {
    let begin = entry.offset.unsigned_abs() as usize * width;
    begin..begin + entry.n_elements() * width
}

impl Ordered {
    /// What a checkpoint of it holds.
    pub fn pieces(&self) -> Pieces<'_> {
        let tensors = self.tensors.iter().map(|tensor| Piece {
            name: &tensor.0,
            dtype: self.dtype,
            shape: &tensor.1,
            bytes: &self.buffer.bytes[tensor.2.clone()],
        });
        Pieces {
            step: self.step,
            tensors: tensors.collect(),
        }
    }
}
