//! The one vector of float64 in which a step learns everything but gradients of all ranks.
//!
//! With global teacher statistics: for each view and layer n, Σ(x−c), Σ(x−c)² around the shared history mean c (a plain
//! Σx² cancels), and each rank's pending running statistics of the student. Always: the losses, a slot a rank, and the
//! devices' wishes for the step boundary, so that all do the strongest of them after the same step.
//!
//! Each kind of value of each layer is a segment with a scale of its own: a count of millions beside a variance of 1e-6
//! would cost the variance its digits.

use m2t_common::machine_link::Boundary;
use tch::{Kind, Tensor};

use super::{Broken, Shape, Summation};
use crate::model::Form;
use crate::model::norm::{Moments, Statistics, twice_unbiased};
use crate::pending::Lane;
use m2t_torch::collective::Collective;

/// What a device may wish, each counted in a slot of its own.
const WISHES: [Boundary; N_WISHES] = [Boundary::Hold, Boundary::Stop];
const N_WISHES: usize = 2;

/// What the sum over all ranks says.
#[derive(Debug, PartialEq)]
pub struct Outcome {
    /// Mean loss of each rank.
    pub loss_by_rank: Vec<f64>,
    /// The strongest wish of any device for the boundary after this step.
    pub boundary: Boundary,
    /// Statistics over the images of all ranks, if they are global.
    pub shared: Option<Shared>,
}

/// Statistics over the images of all ranks.
#[derive(Debug, PartialEq)]
pub struct Shared {
    /// For each view, for each channel: the mean, and the unbiased variance times N/(N−1) (the published behaviour).
    pub teacher: [PooledMoments; 2],
    /// For each channel: the mean over ranks of the student's running mean and variance.
    pub student: PooledMoments,
}

/// Mean and variance of each channel of each layer.
#[derive(Debug, Default, PartialEq)]
pub struct PooledMoments {
    /// `[ΣC]`.
    pub mean: Vec<f64>,
    /// `[ΣC]`.
    pub var: Vec<f64>,
}

/// The layout of the vector for one form.
#[derive(Debug)]
pub struct Round {
    world: u32,
    teacher_layers: Vec<usize>,
    student_layers: Vec<usize>,
    segments: Vec<i64>,
    global: bool,
}

impl Round {
    /// The round of a form; `Sharing` says whether statistics travel.
    pub fn new(form: &Form, world: u32, sharing: Sharing) -> Self {
        let channels = |n: usize| -> Vec<usize> {
            form.layout.norms[..n]
                .iter()
                .map(|layer| usize::try_from(layer.channels).unwrap_or_default())
                .collect()
        };
        let global = sharing == Sharing::Statistics;
        let teacher_layers = if global {
            channels(form.teacher.n_norms)
        } else {
            Vec::new()
        };
        let student_layers = if global {
            channels(form.layout.norms.len())
        } else {
            Vec::new()
        };
        let mut segments = vec![i64::from(world), N_WISHES as i64];
        for _view in 0..2 {
            segments.extend(teacher_layers.iter().flat_map(|&c| [1, c as i64, c as i64]));
        }
        segments.extend(student_layers.iter().flat_map(|&c| [c as i64, c as i64]));
        Self {
            world,
            teacher_layers,
            student_layers,
            segments,
            global,
        }
    }

    /// Sums the vectors of all ranks and reads the result. `history_mean` is c; `boundary` is this device's wish.
    pub fn exchange(
        &self,
        lanes: &[Lane],
        history_mean: &Tensor,
        boundary: Boundary,
        (summation, group): (Summation, &dyn Collective),
    ) -> Result<Outcome, Broken> {
        let around = to_f64(history_mean);
        let mut parts = Vec::with_capacity(lanes.len());
        for (i, lane) in lanes.iter().enumerate() {
            // A device has one wish, whatever the number of its ranks.
            let wish = if i == 0 { boundary } else { Boundary::GoOn };
            parts.push((lane.rank, super::vector(&self.vector_of(lane, &around, wish))));
        }
        let shape = Shape {
            what: "loss or statistics",
            segments: &self.segments,
        };
        let sum = summation.sum(&parts, shape, group)?;
        Ok(self.read(&to_f64(&sum), &around))
    }

    fn vector_of(&self, lane: &Lane, around: &[f64], wish: Boundary) -> Vec<f64> {
        let mut values = vec![0f64; self.world as usize];
        values[lane.rank.0 as usize] = lane.loss;
        values.extend(WISHES.map(|boundary| if boundary == wish { 1.0 } else { 0.0 }));
        if self.global {
            for moments in &lane.moments {
                self.push_moments(&mut values, moments, around);
            }
            self.push_running(&mut values, &lane.running);
        }
        values
    }

    fn push_moments(&self, values: &mut Vec<f64>, moments: &Moments, around: &[f64]) {
        let (mean, var) = (to_f64(&moments.batch.mean), to_f64(&moments.batch.var));
        let mut at = 0;
        for (&channels, &count) in self.teacher_layers.iter().zip(&moments.counts) {
            let (n, layer) = (count as f64, at..at + channels);
            values.push(n);
            values.extend(layer.clone().map(|c| n * (mean[c] - around[c])));
            values.extend(layer.map(|c| n * (var[c] + (mean[c] - around[c]).powi(2))));
            at += channels;
        }
    }

    fn push_running(&self, values: &mut Vec<f64>, running: &Statistics) {
        let (mean, var) = (to_f64(&running.mean), to_f64(&running.var));
        let mut at = 0;
        for &channels in &self.student_layers {
            values.extend_from_slice(&mean[at..at + channels]);
            values.extend_from_slice(&var[at..at + channels]);
            at += channels;
        }
    }

    fn read(&self, sum: &[f64], around: &[f64]) -> Outcome {
        let (losses, mut rest) = sum.split_at(self.world as usize);
        let n_wishing = take(&mut rest, N_WISHES);
        let wishes = WISHES.iter().zip(n_wishing).filter(|(_, n)| **n > 0.0);
        let boundary = wishes.map(|(boundary, _)| *boundary).max().unwrap_or_default();
        let shared = self.global.then(|| {
            let teacher = [
                self.read_moments(&mut rest, around),
                self.read_moments(&mut rest, around),
            ];
            Shared {
                teacher,
                student: self.read_running(&mut rest),
            }
        });
        Outcome {
            loss_by_rank: losses.to_vec(),
            boundary,
            shared,
        }
    }

    /// The law of total variance around c.
    fn read_moments(&self, rest: &mut &[f64], around: &[f64]) -> PooledMoments {
        let mut pooled = PooledMoments::default();
        for &channels in &self.teacher_layers {
            let n = take(rest, 1)[0];
            let (first, second) = (take(rest, channels), take(rest, channels));
            for (s1, s2) in first.iter().zip(second) {
                let c = around[pooled.mean.len()];
                let unbiased = (s2 - s1 * s1 / n) / (n - 1.0);
                pooled.mean.push(c + s1 / n);
                pooled.var.push(unbiased * n / (n - 1.0));
            }
        }
        pooled
    }

    fn read_running(&self, rest: &mut &[f64]) -> PooledMoments {
        let mut pooled = PooledMoments::default();
        for &channels in &self.student_layers {
            let world = f64::from(self.world);
            pooled
                .mean
                .extend(take(rest, channels).iter().map(|sum| sum / world));
            pooled
                .var
                .extend(take(rest, channels).iter().map(|sum| sum / world));
        }
        pooled
    }
}

/// Whether statistics travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// They do: `teacher_statistics = "global"`.
    Statistics,
    /// Each rank keeps its own: `teacher_statistics = "local"`.
    Nothing,
}

fn take<'a>(rest: &mut &'a [f64], n: usize) -> &'a [f64] {
    let (taken, behind) = rest.split_at(n);
    *rest = behind;
    taken
}

/// A vector on the CPU as float64.
pub fn to_f64(tensor: &Tensor) -> Vec<f64> {
    Vec::<f64>::try_from(tensor.to_kind(Kind::Double)).expect("a vector converts to float64")
}

/// Rank r's own moments as the commit of a local history takes them: unbiased, times n/(n−1).
pub fn own_moments(moments: &Moments) -> PooledMoments {
    let (mean, biased) = (to_f64(&moments.batch.mean), to_f64(&moments.batch.var));
    let mut var = Vec::with_capacity(biased.len());
    for (channels, &count) in moments.batch.channels().zip(&moments.counts) {
        let factor = twice_unbiased(count);
        let at = var.len();
        var.extend(biased[at..at + channels].iter().map(|v| v * factor));
    }
    PooledMoments { mean, var }
}
