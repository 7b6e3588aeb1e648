//! Statistics that a run keeps: the student's running ones and the teacher's history.

use std::collections::BTreeMap;

use m2t_common::Rank;
use m2t_common::recipe::TeacherStatistics;
use m2t_torch::TorchError;
use m2t_torch::collective::{Collective, Op};
use tch::{Device, Kind, Tensor};

use crate::model::Form;
use crate::model::norm::Statistics;
use crate::pending::Lane;
use crate::sum::round::{PooledMoments, Shared, own_moments, to_f64};

/// One set of statistics.
#[derive(Debug)]
pub struct History {
    /// The student's running mean and variance; used only when the student is evaluated.
    pub student: Statistics,
    /// The teacher's (μ, σ²).
    pub teacher: Statistics,
}

/// One history for all ranks, or one a hosted rank.
#[derive(Debug)]
pub enum Histories {
    /// `teacher_statistics = "global"`.
    Shared(History),
    /// `teacher_statistics = "local"`.
    PerRank(BTreeMap<Rank, History>),
}

impl Histories {
    /// Mean 0, variance 1.
    pub fn new(kind: TeacherStatistics, form: &Form, ranks: &[Rank], options: (Kind, Device)) -> Self {
        let fresh = || History {
            student: Statistics::new(&form.layout, form.layout.extent(), options),
            teacher: Statistics::new(&form.layout, form.teacher, options),
        };
        match kind {
            TeacherStatistics::Global => Self::Shared(fresh()),
            TeacherStatistics::Local => Self::PerRank(ranks.iter().map(|rank| (*rank, fresh())).collect()),
        }
    }

    /// The same on a device.
    pub fn on(self, device: Device) -> Self {
        match self {
            Self::Shared(history) => Self::Shared(history.on(device)),
            Self::PerRank(histories) => {
                let there = histories
                    .into_iter()
                    .map(|(rank, history)| (rank, history.on(device)));
                Self::PerRank(there.collect())
            }
        }
    }

    /// The history a hosted rank uses.
    pub fn of(&self, rank: Rank) -> &History {
        match self {
            Self::Shared(history) => history,
            Self::PerRank(histories) => histories
                .get(&rank)
                .expect("a device has its own ranks' histories"),
        }
    }

    /// Takes in a step: μ ← α·(m₁+m₂)/2 + (1−α)·μ, σ² likewise; the student's running statistics are replaced.
    pub fn commit(&mut self, shared: Option<&Shared>, lanes: Vec<Lane>, alpha: f64) {
        match self {
            Self::Shared(history) => {
                let shared = shared.expect("global statistics travel in every step");
                blend(&mut history.teacher, &shared.teacher, alpha);
                overwrite(&mut history.student.mean, &shared.student.mean);
                overwrite(&mut history.student.var, &shared.student.var);
            }
            Self::PerRank(histories) => {
                for lane in lanes {
                    let history = histories
                        .get_mut(&lane.rank)
                        .expect("a device has its own ranks' histories");
                    let moments = [own_moments(&lane.moments[0]), own_moments(&lane.moments[1])];
                    blend(&mut history.teacher, &moments, alpha);
                    history.student = lane.running;
                }
            }
        }
    }

    /// The statistics of all ranks, by the prefix of their names: "" if shared, else "rank3.".
    pub fn gather(
        &self,
        world: u32,
        group: &dyn Collective,
    ) -> Result<BTreeMap<String, [Tensor; 4]>, TorchError> {
        match self {
            Self::Shared(history) => Ok(BTreeMap::from([(String::new(), history.views())])),
            Self::PerRank(histories) => {
                let mut gathered = BTreeMap::new();
                for rank in (0..world).map(Rank) {
                    // Every device takes part in each rank's turn; the rank's own device gives, the others add zeros.
                    let mut vectors = self.any().views().map(|like| like.zeros_like());
                    if let Some(history) = histories.get(&rank) {
                        vectors = history.views();
                    }
                    for vector in &mut vectors {
                        *vector = add_as_integers(vector, group)?;
                    }
                    gathered.insert(format!("rank{rank}."), vectors);
                }
                Ok(gathered)
            }
        }
    }

    /// The vectors this device holds, by prefix, for a restore to write into.
    pub fn own(&self) -> Vec<(String, [Tensor; 4])> {
        match self {
            Self::Shared(history) => vec![(String::new(), history.views())],
            Self::PerRank(histories) => histories
                .iter()
                .map(|(rank, history)| (format!("rank{rank}."), history.views()))
                .collect(),
        }
    }

    /// The one that is evaluated, on every device of a group, each of which must come here: rank 0's, or the one that all share.
    ///
    /// # Errors
    /// When the group breaks.
    pub fn of_rank_0(&self, world: u32, group: &dyn Collective) -> Result<History, TorchError> {
        // Sorted by prefix, rank 0's is the first.
        let gathered = self.gather(world, group)?.into_values().next();
        let [mean, var, teacher_mean, teacher_var] = gathered
            .expect("a world has at least one rank")
            .map(|vector| vector.copy());
        let like = self.any();
        Ok(History {
            student: like.student.holding(mean, var),
            teacher: like.teacher.holding(teacher_mean, teacher_var),
        })
    }

    fn any(&self) -> &History {
        match self {
            Self::Shared(history) => history,
            Self::PerRank(histories) => histories
                .values()
                .next()
                .expect("a device hosts at least one rank"),
        }
    }
}

impl History {
    /// The same on a device.
    pub fn on(self, device: Device) -> Self {
        Self {
            student: self.student.on(device),
            teacher: self.teacher.on(device),
        }
    }

    /// Student mean and variance, teacher mean and variance, sharing memory.
    pub fn views(&self) -> [Tensor; 4] {
        [
            &self.student.mean,
            &self.student.var,
            &self.teacher.mean,
            &self.teacher.var,
        ]
        .map(Tensor::shallow_clone)
    }
}

/// One device's vector to all, bit for bit: the others hold zeros, and integers add without rounding.
fn add_as_integers(vector: &Tensor, group: &dyn Collective) -> Result<Tensor, TorchError> {
    let (kind, bits) = match vector.kind() {
        Kind::Double => (Kind::Double, Kind::Int64),
        other => (other, Kind::Int),
    };
    let mut integers = vector.view_dtype(bits).copy();
    group.combine(&mut integers, Op::Sum)?;
    Ok(integers.view_dtype(kind))
}

fn blend(history: &mut Statistics, views: &[PooledMoments; 2], alpha: f64) {
    let blended = |old: &Tensor, first: &[f64], second: &[f64]| -> Vec<f64> {
        let pairs = first.iter().zip(second).map(|(a, b)| (a + b) / 2.0);
        to_f64(old)
            .into_iter()
            .zip(pairs)
            .map(|(old, new)| alpha * new + (1.0 - alpha) * old)
            .collect()
    };
    let mean = blended(&history.mean, &views[0].mean, &views[1].mean);
    let var = blended(&history.var, &views[0].var, &views[1].var);
    overwrite(&mut history.mean, &mean);
    overwrite(&mut history.var, &var);
}

fn overwrite(tensor: &mut Tensor, values: &[f64]) {
    tensor.copy_(&Tensor::from_slice(values));
}
