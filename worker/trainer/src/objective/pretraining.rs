//! Momentum² Teacher: the student predicts of each view what the teacher says of the other. arXiv 2101.07525.

use m2t_common::Rank;
use m2t_common::schedule::Schedule;
use tch::Tensor;

use super::Views;
use crate::model::norm::{Moments, StudentNorm, TeacherNorm};
use crate::model::{Network, distance};
use crate::pending::{Lane, Pending};
use crate::step::Trainer;

/// What a rank's teacher says.
struct Targets {
    /// The projections of view 1 and of view 2, [B, z] each, unit length.
    projections: [Tensor; 2],
    /// What it saw of both.
    moments: [Moments; 2],
}

impl Trainer {
    /// Forward and backward of a rank's two views. `seat` is its place among the ranks of this device.
    pub(crate) fn lane_of_views(
        &self,
        network: &Network,
        pending: &mut Pending,
        (seat, rank): (usize, Rank),
        (views, at): (&Views, &Schedule),
    ) {
        let targets = self.targets(network, rank, views, (&pending.weights.teacher, at));
        let running = self.state.history.of(rank).student.copy();
        let mut loss = 0.0;
        // The loss is a sum over views, so each goes back as soon as it is there: the gradients add up in their buffer, and only one
        // view's activations are in memory.
        for (view, target) in [(0, &targets.projections[1]), (1, &targets.projections[0])] {
            let mut norm = StudentNorm { running: &running };
            let q = network.predict(&views[view], &pending.weights.student, &mut norm); // [B, z], unit length
            let of_view = distance(&q, target);
            if view == 1 {
                self.sum_if_last(pending, seat);
            }
            of_view.backward();
            loss += of_view.double_value(&[]);
        }
        pending.lanes.push(Lane {
            rank,
            loss,
            running,
            moments: targets.moments,
        });
    }

    /// What the teacher says of both views.
    fn targets(
        &self,
        network: &Network,
        rank: Rank,
        views: &Views,
        (teacher, at): (&[Tensor], &Schedule),
    ) -> Targets {
        let alpha = at.at(self.state.step).statistics_momentum;
        let history = &self.state.history.of(rank).teacher;
        tch::no_grad(|| {
            let of_view = |view: &Tensor| {
                let mut norm = TeacherNorm::new(history, alpha);
                let k = network.project(view, teacher, &mut norm); // [B, z], unit length
                (k, norm.moments)
            };
            let ((k1, m1), (k2, m2)) = (of_view(&views[0]), of_view(&views[1]));
            Targets {
                projections: [k1, k2],
                moments: [m1, m2],
            }
        })
    }
}
