//! What a step has found out and not yet committed. Dropping it drops the step: the state has not seen it.

use std::sync::Arc;

use m2t_common::Rank;
use tch::Tensor;

use crate::model::norm::{Moments, Statistics};
use crate::sum::buckets::{Filling, Reducing};

/// A step in the making.
#[derive(Debug)]
pub struct Pending {
    pub(crate) lanes: Vec<Lane>,
    pub(crate) reducing: Option<Reducing>,
    pub(crate) weights: Weights,
    filling: Arc<Filling>,
}

/// What the forwards of a step compute with: cast once, whatever the number of ranks.
#[derive(Debug)]
pub(crate) struct Weights {
    pub(crate) student: Vec<Tensor>,
    pub(crate) teacher: Vec<Tensor>,
}

/// What one rank's images gave, but for the gradient, which stands in the rank's buffer.
#[derive(Debug)]
pub struct Lane {
    /// The rank.
    pub rank: Rank,
    /// Mean loss over its images.
    pub loss: f64,
    /// The student's running statistics after view 1, then view 2.
    pub running: Statistics,
    /// The teacher's moments of view 1 and of view 2.
    pub moments: [Moments; 2],
}

impl Pending {
    pub(crate) fn new(filling: Arc<Filling>, weights: Weights) -> Self {
        Self {
            lanes: Vec::new(),
            reducing: None,
            weights,
            filling,
        }
    }
}

impl Drop for Pending {
    /// A sum under way is waited for: it works on the gradient buffers that the next attempt fills.
    fn drop(&mut self) {
        self.filling.disarm();
        if let Some(reducing) = self.reducing.take() {
            // The step is being dropped: whether its sum came out no longer matters.
            let _ = reducing.wait();
        }
    }
}
