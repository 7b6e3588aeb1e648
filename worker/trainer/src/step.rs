//! One training step as a transaction.
//!
//! ```text
//!  begin ─► lane (each hosted rank: forward, backward) ─► finish (sums over all ranks) ─► commit
//!    └────────────── anything breaks: drop `Pending`, the state has not changed ─────────────┘
//! ```
//! Nothing of the state changes before `commit`, and nothing in `commit` can fail. A device hosts any number of ranks and runs
//! them in turn; the last one's gradients are summed bucket by bucket while its backward runs.

use std::sync::Arc;

use m2t_common::Rank;
use m2t_common::machine_link::Boundary;
use m2t_common::recipe::{Recipe, TeacherStatistics};
use m2t_common::schedule::Schedule;
use m2t_torch::collective::Collective;
use tch::{Kind, Tensor};

use crate::model::norm::{StudentNorm, TeacherNorm};
use crate::model::{Network, distance};
use crate::optimizer::Optimizer;
use crate::pending::{Lane, Pending};
use crate::state::State;
use crate::sum::buckets::{Bucket, Filling, Reducing, cut};
use crate::sum::round::{Outcome, Round, Sharing};
use crate::sum::{Broken, Summation};

/// The two views of one rank's images, [B, 3, H, W] each.
pub type Views = [Tensor; 2];

/// A device in training: its ranks, the state, and the way to the other devices.
pub struct Trainer {
    /// Networks.
    pub network: Arc<Network>,
    /// What a commit changes.
    pub state: State,
    ranks: Vec<Rank>,
    optimizer: Optimizer,
    summation: Summation,
    world: u32,
    image_shape: Vec<i64>,
    group: Arc<dyn Collective>,
    buckets: Arc<[Bucket]>,
    filling: Arc<Filling>,
    gradients: Vec<Tensor>,
    round: Round,
}

/// What all ranks together found out in a step.
#[derive(Debug)]
pub struct Sums {
    gradient: Tensor,
    gradient_norm: f64,
    outcome: Outcome,
    lanes: Vec<Lane>,
}

/// What a commit has to tell.
#[derive(Clone, Debug, PartialEq)]
pub struct Committed {
    /// Mean loss over all images.
    pub loss: f64,
    /// Mean loss of each rank.
    pub loss_by_rank: Vec<f64>,
    /// L2 norm of the averaged gradient.
    pub gradient_norm: f64,
    /// What all devices do now: the strongest wish of any.
    pub boundary: Boundary,
}

impl Trainer {
    /// A device that hosts `ranks` of the recipe, at `state`.
    pub fn new(
        recipe: &Recipe,
        ranks: &[Rank],
        mut state: State,
        group: Arc<dyn Collective>,
    ) -> Result<Self, Broken> {
        let network = Arc::clone(&state.network);
        let buckets: Arc<[Bucket]> = cut(&network.layout).into();
        let filling = Arc::new(Filling::new(&buckets));
        state.student.on_gradients(&filling).map_err(Broken::Gradients)?;
        let gradients = ranks.iter().map(|_| state.student.flat.zeros_like()).collect();
        let training = &recipe.training;
        let sharing = match training.teacher_statistics {
            TeacherStatistics::Global => Sharing::Statistics,
            TeacherStatistics::Local => Sharing::Nothing,
        };
        let (batch, side) = (i64::from(training.batch_per_rank), i64::from(training.pixels));
        Ok(Self {
            round: Round::new(&network, training.world, sharing),
            optimizer: Optimizer::new(training),
            summation: Summation::new(training.reduction, training.world),
            world: training.world,
            image_shape: vec![batch, 3, side, side],
            ranks: ranks.to_vec(),
            network,
            state,
            group,
            buckets,
            filling,
            gradients,
        })
    }

    /// One step as a transaction: nothing of the state changes before `commit`. `batch` gives each hosted rank's views.
    pub fn step(
        &mut self,
        batch: &[(Rank, Views)],
        at: &Schedule,
        boundary: Boundary,
    ) -> Result<Committed, Broken> {
        let mut pending = self.begin();
        for (rank, views) in batch {
            self.group.working()?; // nobody waits for the lanes of a step that cannot be finished
            self.lane(&mut pending, *rank, views, at)?; // the last rank's buckets leave as they fill
        }
        let sums = self.finish(pending, boundary)?; // gradients, statistics, losses over all ranks
        Ok(self.commit(sums, at)) // optimizer, histories, teacher follows: step + 1
    }

    /// A step with nothing in it.
    pub fn begin(&self) -> Pending {
        Pending::new(Arc::clone(&self.filling))
    }

    /// Forward and backward of one hosted rank; ranks come in ascending order, each once.
    pub fn lane(
        &mut self,
        pending: &mut Pending,
        rank: Rank,
        views: &Views,
        at: &Schedule,
    ) -> Result<(), Broken> {
        for view in views {
            if view.size() != self.image_shape {
                return Err(Broken::Images {
                    rank,
                    got: view.size(),
                    expected: self.image_shape.clone(),
                });
            }
        }
        let seat = pending.lanes.len();
        debug_assert_eq!(self.ranks[seat], rank, "ranks come in order");
        let _ = self.gradients[seat].zero_();
        self.state
            .student
            .gradients_into(&self.gradients[seat], &self.network.layout)
            .map_err(Broken::Gradients)?;

        let alpha = at.at(self.state.step).statistics_momentum;
        let running = self.state.history.of(rank).student.copy();
        let (student, teacher) = (&self.state.student.views, &self.state.teacher.views);
        let mut norm = StudentNorm { running: &running };
        let q1 = self.network.predict(&views[0], student, &mut norm); // [B, z], unit length
        let q2 = self.network.predict(&views[1], student, &mut norm); // [B, z]
        let (targets, moments) = tch::no_grad(|| {
            let history = &self.state.history.of(rank).teacher;
            let (mut of_view_1, mut of_view_2) =
                (TeacherNorm::new(history, alpha), TeacherNorm::new(history, alpha));
            let k2 = self.network.project(&views[0], teacher, &mut of_view_1); // [B, z]
            let k1 = self.network.project(&views[1], teacher, &mut of_view_2); // [B, z]
            ([k1, k2], [of_view_1.moments, of_view_2.moments])
        });
        let loss = distance(&q1, &targets[0]) + distance(&q2, &targets[1]); // each view predicts the other's target

        if seat + 1 == self.ranks.len() {
            pending.reducing = Some(self.start_reducing());
        }
        loss.backward();
        pending.lanes.push(Lane {
            rank,
            loss: loss.double_value(&[]),
            running,
            moments,
        });
        Ok(())
    }

    fn start_reducing(&self) -> Reducing {
        let parts = self
            .ranks
            .iter()
            .copied()
            .zip(self.gradients.iter().map(Tensor::shallow_clone))
            .collect();
        let how = (self.summation, Arc::clone(&self.group));
        Reducing::start(Arc::clone(&self.buckets), self.filling.arm(), parts, how)
    }

    /// Sums over all ranks of all devices. Every device of the group must come here.
    pub fn finish(&self, mut pending: Pending, boundary: Boundary) -> Result<Sums, Broken> {
        self.filling.disarm();
        let reducing = pending.reducing.take().ok_or(Broken::ReducerGone)?;
        let mut gradient = reducing.wait()?;
        gradient /= f64::from(self.world);
        let lanes = std::mem::take(&mut pending.lanes);
        let around = &self.state.history.of(self.ranks[0]).teacher.mean;
        let outcome = self
            .round
            .exchange(&lanes, around, boundary, (self.summation, &*self.group))?;
        let gradient_norm = gradient.norm().to_kind(Kind::Double).double_value(&[]);
        Ok(Sums {
            gradient,
            gradient_norm,
            outcome,
            lanes,
        })
    }

    /// Makes the step: optimizer, histories, teacher. All of it; nothing here can fail.
    pub fn commit(&mut self, sums: Sums, at: &Schedule) -> Committed {
        let Sums {
            gradient,
            gradient_norm,
            outcome,
            lanes,
        } = sums;
        let (step, rates) = (self.state.step, at.at(self.state.step));
        let state = &mut self.state;
        tch::no_grad(|| {
            let layout = &self.network.layout;
            self.optimizer.update(
                layout,
                [&mut state.student.flat, &mut state.momentum],
                &gradient,
                rates.learning_rate,
            );
            state
                .history
                .commit(outcome.shared.as_ref(), lanes, rates.statistics_momentum);
            state.teacher.follow(&state.student, at.teacher_momentum(step));
        });
        state.step = step.next();
        let loss_by_rank = outcome.loss_by_rank;
        Committed {
            loss: loss_by_rank.iter().sum::<f64>() / f64::from(self.world),
            loss_by_rank,
            gradient_norm,
            boundary: outcome.boundary,
        }
    }

    /// Leaves the group; what was committed stays.
    pub fn into_state(self) -> State {
        self.state
    }

    /// The group this device belongs to.
    pub fn group(&self) -> &Arc<dyn Collective> {
        &self.group
    }
}

#[cfg(test)]
mod tests;
