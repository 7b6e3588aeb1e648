//! One training step as a transaction.
//!
//! ```text
//!  begin ─► lane (each hosted rank: forward, backward) ─► finish (sums over all ranks) ─► commit
//!    └────────────── anything breaks: drop `Pending`, the state has not changed ─────────────┘
//! ```
//! Nothing of the state changes before `commit`, and nothing in `commit` can fail. A device hosts any number of ranks and runs
//! them in turn; the last one's gradients are summed bucket by bucket while its backward runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use m2t_common::Rank;
use m2t_common::machine_link::Boundary;
use m2t_common::recipe::{Recipe, TeacherStatistics};
use m2t_common::schedule::Schedule;
use m2t_torch::collective::Collective;
use m2t_torch::flat;
use tch::{Kind, Tensor};

use crate::objective::Objective;
pub use crate::objective::{Images, Views};
use crate::optimizer::Optimizer;
use crate::pending::{Lane, Pending, Weights};
use crate::state::{State, activations};
use crate::sum::buckets::{Bucket, Filling, Reduced, Reducing, cut};
use crate::sum::round::{Outcome, Round, Sharing};
use crate::sum::{Broken, Summation};

/// A device in training: its ranks, the state, and the way to the other devices.
pub struct Trainer {
    /// What is trained.
    pub objective: Objective,
    /// What a commit changes.
    pub state: State,
    ranks: Vec<Rank>,
    activations: Kind,
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
    overlap: Overlap,
    outcome: Outcome,
    lanes: Vec<Lane>,
}

/// The sum of the gradients, and what the step felt of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overlap {
    /// How long the sum took.
    pub busy: Duration,
    /// How long the step waited for it, after the last backward.
    pub exposed: Duration,
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
    /// What the sum of the gradients cost.
    pub overlap: Overlap,
    /// What all devices do now: the strongest wish of any.
    pub boundary: Boundary,
}

impl Trainer {
    /// A device that hosts `ranks` of a pretraining recipe, at `state`.
    pub fn new(
        recipe: &Recipe,
        ranks: &[Rank],
        state: State,
        group: Arc<dyn Collective>,
    ) -> Result<Self, Broken> {
        Self::of(Objective::pretraining(recipe), (recipe, ranks), state, group)
    }

    /// A device that hosts `ranks` of the recipe, at `state`.
    pub fn of(
        objective: Objective,
        (recipe, ranks): (&Recipe, &[Rank]),
        mut state: State,
        group: Arc<dyn Collective>,
    ) -> Result<Self, Broken> {
        let form = Arc::clone(&state.form);
        let buckets: Arc<[Bucket]> = cut(&form.layout).into();
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
            round: Round::new(&form, training.world, sharing),
            optimizer: Optimizer::new(training),
            summation: Summation::new(training.reduction, training.world),
            world: training.world,
            image_shape: vec![batch, 3, side, side],
            ranks: ranks.to_vec(),
            activations: activations(recipe),
            objective,
            state,
            group,
            buckets,
            filling,
            gradients,
        })
    }

    /// One step as a transaction: nothing of the state changes before `commit`. `batch` gives each hosted rank's images.
    pub fn step(
        &mut self,
        batch: &[(Rank, Images)],
        at: &Schedule,
        boundary: Boundary,
    ) -> Result<Committed, Broken> {
        let mut pending = self.begin();
        for (rank, images) in batch {
            self.group.working()?; // nobody waits for the lanes of a step that cannot be finished
            self.lane(&mut pending, *rank, images, at)?; // the last rank's buckets leave as they fill
        }
        let sums = self.finish(pending, boundary)?; // gradients, statistics, losses over all ranks
        Ok(self.commit(sums, at)) // optimizer, histories, teacher follows: step + 1
    }

    /// A step with nothing in it.
    pub fn begin(&self) -> Pending {
        let (layout, kind) = (&self.state.form.layout, self.activations);
        let weights = Weights {
            student: self.state.student.cast(layout, kind),
            teacher: self.state.teacher.cast(layout, kind),
        };
        Pending::new(Arc::clone(&self.filling), weights)
    }

    /// Forward and backward of one hosted rank; ranks come in ascending order, each once.
    pub fn lane(
        &mut self,
        pending: &mut Pending,
        rank: Rank,
        images: &Images,
        at: &Schedule,
    ) -> Result<(), Broken> {
        for pixels in images.pixels() {
            if pixels.size() != self.image_shape {
                return Err(Broken::Images {
                    rank,
                    got: pixels.size(),
                    expected: self.image_shape.clone(),
                });
            }
        }
        let device = self.state.device();
        let seat = pending.lanes.len();
        debug_assert_eq!(self.ranks[seat], rank, "ranks come in order");
        let _ = self.gradients[seat].zero_();
        self.state
            .student
            .gradients_into(&self.gradients[seat], &self.state.form.layout)
            .map_err(Broken::Gradients)?;
        match (&self.objective, images) {
            (Objective::Pretraining(network), Images::Views(views)) => {
                let views = &views
                    .each_ref()
                    .map(|view| view.to_device(device).to_kind(self.activations));
                self.lane_of_views(network, pending, (seat, rank), (views, at));
            }
            (Objective::Linear { classifier, encoder }, Images::Labelled { images, labels }) => {
                let (features, labels) = (encoder.features(images), labels.to_device(device));
                self.lane_of_features(classifier, pending, (seat, rank), (&features, &labels));
            }
            (Objective::Linear { classifier, .. }, Images::Features { features, labels }) => {
                let (features, labels) = (features.to_device(device), labels.to_device(device));
                self.lane_of_features(classifier, pending, (seat, rank), (&features, &labels));
            }
            _ => return Err(Broken::OtherImages { rank }),
        }
        Ok(())
    }

    /// Before the last backward of the last rank: its buckets leave as they fill.
    pub(crate) fn sum_if_last(&self, pending: &mut Pending, seat: usize) {
        if seat + 1 == self.ranks.len() {
            pending.reducing = Some(self.start_reducing());
        }
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
        let began = Instant::now();
        let Reduced { gradient, busy } = reducing.wait()?;
        let exposed = began.elapsed();
        let lanes = std::mem::take(&mut pending.lanes);
        let around = &self.state.history.of(self.ranks[0]).teacher.mean;
        let outcome = self
            .round
            .exchange(&lanes, around, boundary, (self.summation, &*self.group))?;
        let gradient_norm = flat::norm(&gradient)?;
        Ok(Sums {
            gradient,
            gradient_norm,
            overlap: Overlap { busy, exposed },
            outcome,
            lanes,
        })
    }

    /// Makes the step: optimizer, histories, teacher. All of it; nothing here can fail.
    pub fn commit(&mut self, sums: Sums, at: &Schedule) -> Committed {
        let Sums {
            gradient,
            gradient_norm,
            overlap,
            outcome,
            lanes,
        } = sums;
        let (step, rates) = (self.state.step, at.at(self.state.step));
        let state = &mut self.state;
        tch::no_grad(|| {
            let layout = &state.form.layout;
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
            overlap,
            boundary: outcome.boundary,
        }
    }

    /// Leaves the group; what was committed stays, and what is trained.
    pub fn into_parts(self) -> (State, Objective) {
        (self.state, self.objective)
    }

    /// The group this device belongs to.
    pub fn group(&self) -> &Arc<dyn Collective> {
        &self.group
    }
}

#[cfg(test)]
mod tests;
