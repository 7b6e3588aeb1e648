//! The published linear evaluation: a linear layer and BatchNorm on the features of a frozen encoder, cross entropy.
//!
//! The head's BatchNorm works on a rank's images, as in pretraining; its running statistics, with which the held-out images are
//! judged, are the mean over the ranks'.

use m2t_common::Rank;
use tch::Tensor;

use crate::model::classifier::Classifier;
use crate::model::norm::{FrozenNorm, Moments, Statistics, StudentNorm};
use crate::pending::{Lane, Pending};
use crate::state::State;
use crate::step::Trainer;

impl Trainer {
    /// Forward and backward of the features [B, d] of a rank's images, which have no gradient. `seat` is its place among the ranks of
    /// this device.
    pub(crate) fn lane_of_features(
        &self,
        classifier: &Classifier,
        pending: &mut Pending,
        (seat, rank): (usize, Rank),
        (features, labels): (&Tensor, &Tensor),
    ) {
        let running = self.state.history.of(rank).student.copy();
        let mut norm = StudentNorm { running: &running };
        let logits = classifier.forward(features, &pending.weights.student, &mut norm); // [B, classes]
        let loss = cross_entropy(&logits, labels);
        self.sum_if_last(pending, seat);
        loss.backward();
        let moments = || Moments::none(&self.state.history.of(rank).teacher);
        pending.lanes.push(Lane {
            rank,
            loss: loss.double_value(&[]),
            running,
            moments: [moments(), moments()],
        });
    }
}

/// The mean over the images, in float32 at least.
fn cross_entropy(logits: &Tensor, labels: &Tensor) -> Tensor {
    let logits = match logits.kind() {
        tch::Kind::BFloat16 => logits.to_kind(tch::Kind::Float),
        _ => logits.shallow_clone(),
    };
    logits.cross_entropy_for_logits(labels)
}

/// What the head says of features [n, d], with these running statistics: logits [n, classes].
pub fn judge(
    classifier: &Classifier,
    (state, statistics): (&State, &Statistics),
    features: &Tensor,
) -> Tensor {
    let mut norm = FrozenNorm { statistics };
    tch::no_grad(|| classifier.forward(features, &state.student.views, &mut norm))
}
