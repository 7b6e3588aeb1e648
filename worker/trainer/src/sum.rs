//! Sums over ranks: first over those a device hosts, then over devices.
//!
//! [`Summation::Exact`] adds integers at one power-of-two scale a segment, so that every placement and every order gives
//! equal bits. [`Summation::Float`] adds in floating point. Both fail, before anything of the state changes, when a value is not finite.
//! Gradients go bucket by bucket while the last rank's backward runs ([`buckets`]); everything else a step must know of all
//! ranks travels in one vector of float64 ([`round`]).

pub mod buckets;
pub mod exact;
pub mod round;

use m2t_common::Rank;
use m2t_common::recipe::Reduction;
use m2t_torch::collective::{Collective, Op};
use m2t_torch::{TorchError, flat};
use tch::{Kind, Tensor};

/// Why a step was dropped. Nothing of the state has changed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Broken {
    #[error("the group is broken: {0}")]
    Collective(#[from] TorchError),
    #[error("a gradient has no place in its buffer: {0}")]
    Gradients(#[source] TorchError),
    #[error(
        "{what} of rank {} is not finite; lower the learning rate, or look at its images",
        list(ranks)
    )]
    NotFinite { what: &'static str, ranks: Vec<Rank> },
    #[error("the images of rank {rank} have the shape {got:?}, not {expected:?}")]
    Images {
        rank: Rank,
        got: Vec<i64>,
        expected: Vec<i64>,
    },
    #[error(
        "the images of rank {rank} are not of the kind that is trained on; this is a defect of m2t, please report it"
    )]
    OtherImages { rank: Rank },
    #[error("the thread that sums gradients is gone")]
    ReducerGone,
}

fn list(ranks: &[Rank]) -> String {
    ranks
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

/// One vector for each rank a device hosts: equal length, kind and place, in ascending order of the ranks.
pub type Parts<'a> = &'a [(Rank, Tensor)];

/// What a sum is made of, for error messages and scales.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'a> {
    /// What the vectors are: "gradient".
    pub what: &'static str,
    /// Lengths of the stretches that share a scale; together the vectors' length.
    pub segments: &'a [i64],
}

/// How sums over ranks are made.
#[derive(Clone, Copy, Debug)]
pub enum Summation {
    /// In integers.
    Exact {
        /// All ranks of the run: their sum must fit.
        world: u32,
    },
    /// In floating point, in the order of the ranks within a device.
    Float {
        /// All ranks of the run.
        world: u32,
    },
}

impl Summation {
    /// As the recipe says.
    pub fn new(reduction: Reduction, world: u32) -> Self {
        match reduction {
            Reduction::Exact => Self::Exact { world },
            Reduction::Float => Self::Float { world },
        }
    }

    /// The mean of long flat vectors over all ranks of all devices, in one scale and in as few passes as there can be. Every device
    /// calls it with vectors of the same length, in the same order.
    pub fn mean(
        self,
        parts: Parts<'_>,
        what: &'static str,
        group: &dyn Collective,
        into: &mut Tensor,
    ) -> Result<(), Broken> {
        match self {
            Self::Exact { world } => exact::mean(parts, what, world, group, into),
            Self::Float { world } => {
                float_into(parts, what, world, group, into)?;
                *into /= f64::from(world);
                Ok(())
            }
        }
    }

    /// The sum of the vectors of all ranks of all devices. Every device calls it with the same shape, in the same order.
    pub fn sum(self, parts: Parts<'_>, shape: Shape<'_>, group: &dyn Collective) -> Result<Tensor, Broken> {
        match self {
            Self::Exact { world } => exact::sum(parts, shape, world, group),
            Self::Float { world } => float(parts, shape, world, group),
        }
    }
}

fn float(parts: Parts<'_>, shape: Shape<'_>, world: u32, group: &dyn Collective) -> Result<Tensor, Broken> {
    let mut sum = parts[0].1.empty_like();
    float_into(parts, shape.what, world, group, &mut sum)?;
    Ok(sum)
}

fn float_into(
    parts: Parts<'_>,
    what: &'static str,
    world: u32,
    group: &dyn Collective,
    sum: &mut Tensor,
) -> Result<(), Broken> {
    sum.copy_(&parts[0].1);
    for (_, part) in &parts[1..] {
        *sum += part;
    }
    group.combine(sum, Op::Sum)?;
    // One look at the sum finds a value that is not finite; only then is it asked whose it was. All devices see the
    // same sum, so all ask.
    if flat::largest(sum)?.is_finite() {
        return Ok(());
    }
    let finite = |part: &Tensor| Ok::<_, Broken>(flat::largest(part)?.is_finite());
    let own: Vec<(Rank, bool)> = parts
        .iter()
        .map(|(rank, part)| Ok::<_, Broken>((*rank, finite(part)?)))
        .collect::<Result<_, _>>()?;
    let ranks = exact::ranks_not_finite(&own, world, group)?;
    Err(Broken::NotFinite { what, ranks })
}

/// A float64 vector on the CPU.
fn vector(values: &[f64]) -> Tensor {
    Tensor::from_slice(values).to_kind(Kind::Double)
}

#[cfg(test)]
mod tests;
