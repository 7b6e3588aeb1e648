//! What the whole state consists of: the name and shape of each tensor, and where in which flat vector it lies.
//!
//! Names are torchvision's for the encoder and the published ones for the heads, under `student.`, `teacher.` and `momentum.`;
//! statistics are `running_mean` and `running_var` of their layer, with `rank3.` before where each rank has its own.

use std::collections::BTreeMap;

use tch::Tensor;

use super::State;
use crate::model::Form;
use crate::model::layout::{NormLayer, Parameter};

/// One tensor of a state.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Its name in a checkpoint.
    pub(crate) name: String,
    /// Which of [`vectors`].
    pub(crate) vector: usize,
    /// Its first element there.
    pub(crate) offset: i64,
    /// Its shape.
    pub(crate) shape: Vec<i64>,
}

/// The flat vectors of a state with these statistics, sharing memory: student, momentum, teacher; then, for each prefix in order, the
/// student's mean and variance and the teacher's.
pub(crate) fn vectors(state: &State, statistics: &BTreeMap<String, [Tensor; 4]>) -> Vec<Tensor> {
    let flat = [&state.student.flat, &state.momentum, &state.teacher.flat];
    flat.into_iter()
        .chain(statistics.values().flatten())
        .map(Tensor::shallow_clone)
        .collect()
}

/// Every tensor of a state whose statistics have these prefixes, in the order of the names.
pub(crate) fn entries<'a>(form: &Form, prefixes: impl Iterator<Item = &'a String>) -> Vec<Entry> {
    let student = form.layout.parameters.as_slice();
    let teacher = &student[..form.teacher.n_parameters];
    let mut entries = Vec::new();
    for (vector, (side, parameters)) in [("student", student), ("momentum", student), ("teacher", teacher)]
        .into_iter()
        .enumerate()
    {
        entries.extend(parameters.iter().map(|p| of_parameter(side, p, vector)));
    }
    let norms = form.layout.norms.as_slice();
    let sides = [("student", norms), ("teacher", &norms[..form.teacher.n_norms])];
    let mut vector = 3;
    for prefix in prefixes {
        for (side, layers) in sides {
            for what in ["running_mean", "running_var"] {
                let side = format!("{prefix}{side}");
                entries.extend(layers.iter().map(|layer| of_layer(&side, layer, what, vector)));
                vector += 1;
            }
        }
    }
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    entries
}

fn of_parameter(side: &str, parameter: &Parameter, vector: usize) -> Entry {
    Entry {
        name: format!("{side}.{}", parameter.name),
        vector,
        offset: parameter.offset,
        shape: parameter.shape.clone(),
    }
}

fn of_layer(side: &str, layer: &NormLayer, what: &str, vector: usize) -> Entry {
    Entry {
        name: format!("{side}.{}.{what}", layer.name),
        vector,
        offset: layer.offset,
        shape: vec![layer.channels],
    }
}

impl Entry {
    /// Its elements.
    pub(crate) fn n_elements(&self) -> usize {
        self.sides().iter().product()
    }

    /// Its shape, as file formats count.
    pub(crate) fn sides(&self) -> Vec<usize> {
        self.shape
            .iter()
            .map(|side| side.unsigned_abs() as usize)
            .collect()
    }

    /// How its elements lie in the flat vector.
    pub(crate) fn order(&self) -> Order {
        match self.sides()[..] {
            [_, channels, height, width] if channels > 1 && height * width > 1 => Order::ChannelsLast {
                channels,
                places: height * width,
            },
            _ => Order::RowMajor,
        }
    }
}

/// How a tensor's elements lie in a flat vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// As in a file.
    RowMajor,
    /// A filter after the other, and in each its places one after the other: [out, k·k, in] where a file has [out, in, k·k].
    ChannelsLast {
        /// Channels a filter looks at.
        channels: usize,
        /// Places of a filter, k·k.
        places: usize,
    },
}

impl Order {
    /// Elements that are turned as one, a whole number of which makes a tensor.
    pub(crate) fn unit(self) -> usize {
        match self {
            Self::RowMajor => 1,
            Self::ChannelsLast { channels, places } => channels * places,
        }
    }

    /// Brings whole units from a flat vector's order to a file's, in place. `width` is an element's, in bytes.
    pub(crate) fn to_file(self, bytes: &mut [u8], width: usize) {
        if let Self::ChannelsLast { channels, places } = self {
            turn(bytes, width, [places, channels]);
        }
    }

    /// Whole units of a file's order as a flat vector has them; `turned` is memory for those that lie otherwise there.
    pub(crate) fn to_vector<'a>(self, bytes: &'a [u8], width: usize, turned: &'a mut Vec<u8>) -> &'a [u8] {
        let Self::ChannelsLast { channels, places } = self else {
            return bytes;
        };
        turned.resize(bytes.len(), 0);
        let sides = [channels, places];
        match width {
            4 => transpose(bytes.as_chunks::<4>().0, turned.as_chunks_mut().0, sides),
            8 => transpose(bytes.as_chunks::<8>().0, turned.as_chunks_mut().0, sides),
            other => unreachable!("{NO_SUCH} {other} bytes"),
        }
        turned
    }
}

const NO_SUCH: &str = "the state holds no elements of";

fn turn(bytes: &mut [u8], width: usize, sides: [usize; 2]) {
    match width {
        4 => transpose_in_place(bytes.as_chunks_mut::<4>().0, sides),
        8 => transpose_in_place(bytes.as_chunks_mut::<8>().0, sides),
        other => unreachable!("{NO_SUCH} {other} bytes"),
    }
}

/// As [`transpose`]; a matrix fits the first-level cache.
fn transpose_in_place<const W: usize>(elements: &mut [[u8; W]], sides: [usize; 2]) {
    let mut turned = vec![[0; W]; sides[0] * sides[1]];
    for matrix in elements.chunks_exact_mut(turned.len()) {
        transpose(matrix, &mut turned, sides);
        matrix.copy_from_slice(&turned);
    }
}

/// Each matrix [rows, columns] becomes [columns, rows], one after the other.
fn transpose<const W: usize>(from: &[[u8; W]], to: &mut [[u8; W]], [rows, columns]: [usize; 2]) {
    let matrices = from.chunks_exact(rows * columns);
    for (matrix, turned) in matrices.zip(to.chunks_exact_mut(rows * columns)) {
        for (column, row) in turned.chunks_exact_mut(rows).enumerate() {
            for (to, from) in row.iter_mut().zip(matrix[column..].iter().step_by(columns)) {
                *to = *from;
            }
        }
    }
}
