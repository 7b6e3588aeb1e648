//! One device's part of an evaluation: which chunks are its own, and how all go through theirs in step.
//!
//! Why in step: a device that waited for another's whole part would wait longer than a group bears, and a failure would be found
//! out at the end. So nobody is more than a chunk ahead.

use m2t_common::machine_link::Boundary;
use m2t_torch::TorchError;
use m2t_torch::collective::{Collective, Op};
use tch::{Kind, Tensor};

use super::Meanwhile;
use crate::encoder::Look;

/// A device's chunks: every so manyth.
#[derive(Clone, Copy)]
pub struct Share<'a> {
    /// The devices.
    pub group: &'a dyn Collective,
    n_chunks: u64,
}

/// Why an evaluation did not come about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// In a sentence.
    pub reason: String,
}

/// How the rounds ended, on every device alike.
#[derive(Debug)]
pub enum Round {
    /// All chunks are done.
    Done,
    /// A device failed.
    Failed(Refusal),
    /// A device was told to stop.
    Left(Boundary),
}

impl<'a> Share<'a> {
    /// This device's share of so many chunks.
    pub fn of(group: &'a dyn Collective, n_chunks: u64) -> Self {
        Self { group, n_chunks }
    }

    /// The device that a chunk belongs to.
    pub fn owner(&self, chunk: u64) -> usize {
        let size = self.group.size() as u64;
        usize::try_from(chunk % size).unwrap_or_default()
    }

    /// Whether a chunk is this device's own.
    pub fn is_own(&self, chunk: u64) -> bool {
        self.owner(chunk) == self.group.index()
    }

    /// Why not, if devices do not have the same held-out images.
    ///
    /// # Errors
    /// When the group breaks.
    pub fn same_images(&self, held_out: &Look) -> Result<Option<Refusal>, TorchError> {
        let own = held_out.fingerprint();
        let mut extremes = Tensor::from_slice(&[own, -own]);
        self.group.combine(&mut extremes, Op::Max)?;
        let extremes = integers(&extremes);
        let reason = || {
            format!(
                "the held-out images of the machines differ (here: {} in {}); give every machine the same folder",
                held_out.n_images(),
                held_out.root().display()
            )
        };
        Ok((extremes != [own, -own]).then(|| Refusal { reason: reason() }))
    }

    /// Goes through the own chunks, in step with the other devices.
    ///
    /// # Errors
    /// When the group breaks.
    pub fn rounds(
        &self,
        mut look: impl FnMut(u64) -> anyhow::Result<()>,
        meanwhile: &dyn Meanwhile,
    ) -> Result<Round, TorchError> {
        let (size, index) = (self.group.size() as u64, self.group.index() as u64);
        let n_rounds = self.n_chunks.div_ceil(size);
        for round in 0..n_rounds {
            let chunk = round * size + index;
            let failure = if chunk < self.n_chunks {
                look(chunk).err()
            } else {
                None
            };
            let wish = match meanwhile.boundary() {
                Boundary::GoOn => 0,
                Boundary::Hold => 1,
                Boundary::Stop => 2,
            };
            let failed = if failure.is_some() { index as i64 + 1 } else { 0 };
            let mut all = Tensor::from_slice(&[failed, wish]);
            self.group.combine(&mut all, Op::Max)?;
            match (integers(&all)[..].try_into().unwrap_or([0, 0]), failure) {
                ([0, 0], _) => meanwhile.done(round + 1, n_rounds),
                (_, Some(error)) => {
                    let reason = format!("{error:#}");
                    tracing::warn!("The evaluation fails here: {reason}.");
                    return Ok(Round::Failed(Refusal { reason }));
                }
                ([0, 1], None) => return Ok(Round::Left(Boundary::Hold)),
                ([0, _], None) => return Ok(Round::Left(Boundary::Stop)),
                ([device, _], None) => {
                    let reason = format!(
                        "the device at place {} of the group could not do its part; its log says why",
                        device - 1
                    );
                    return Ok(Round::Failed(Refusal { reason }));
                }
            }
        }
        Ok(Round::Done)
    }
}

/// A vector of int64.
pub(super) fn integers(tensor: &Tensor) -> Vec<i64> {
    Vec::<i64>::try_from(tensor.to_kind(Kind::Int64)).expect("a vector converts to int64")
}
