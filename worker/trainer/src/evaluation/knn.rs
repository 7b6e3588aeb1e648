//! The weighted vote of nearest neighbours ("Unsupervised Feature Learning via Non-Parametric Instance Discrimination", arXiv 1805.01978).
//!
//! The k training images of the largest cosine vote for their classes, each with exp(cosine/T). Each device knows some of the training
//! images: it names its nearest, and the device that a held-out chunk belongs to lets the nearest of all vote.

use m2t_common::evaluation::Settings;
use m2t_common::shard::Sample;
use m2t_torch::TorchError;
use m2t_torch::collective::{Collective, Op};
use tch::{Device, Kind, Tensor};

use super::share::{Share, integers};
use super::tally::Tally;
use super::{Exam, Features};
use crate::encoder::CHUNK;

/// A training image near a held-out one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Near {
    /// Their cosine.
    pub cosine: f64,
    /// Which it is.
    pub image: u64,
}

/// Asks the neighbours of all devices.
pub struct Neighbours<'a> {
    exam: &'a Exam,
    features: &'a Features,
    k: usize,
}

impl<'a> Neighbours<'a> {
    /// In an encoder's features.
    pub fn new(exam: &'a Exam, features: &'a Features) -> Self {
        let k = u64::from(exam.settings.k).min(exam.memory.n_images());
        Self {
            exam,
            features,
            k: usize::try_from(k).unwrap_or(usize::MAX),
        }
    }

    /// How the held-out images of this device's chunks come out. Every device of the group must come here.
    ///
    /// # Errors
    /// When the group breaks.
    pub fn tally(&self, share: &Share<'_>) -> Result<Tally, TorchError> {
        let mut tally = Tally::default();
        for chunk in 0..self.exam.held_out.n_chunks() {
            let own = self.features.held_out.iter().find(|(own, _)| *own == chunk);
            let nearest = self.nearest(share.group, chunk, own.map(|(_, rows)| rows))?;
            if own.is_some() {
                for (near, label) in nearest.iter().zip(self.exam.held_out.labels(chunk)) {
                    let label_of = |near: &Near| self.exam.memory.label(Sample(near.image));
                    tally.count(&vote(near, label_of, self.exam.settings), label);
                }
            }
        }
        Ok(tally)
    }

    /// For each image of a held-out chunk its k nearest of all devices', the nearest first. The device whose chunk it is gives its features.
    fn nearest(
        &self,
        group: &dyn Collective,
        chunk: u64,
        own: Option<&Tensor>,
    ) -> Result<Vec<Vec<Near>>, TorchError> {
        let n = self.exam.held_out.n_in(chunk);
        // The others hold zeros, and zeros add without rounding.
        let blank = || Tensor::zeros([n as i64, self.features.width], (Kind::Float, Device::Cpu));
        let mut rows = own.map_or_else(blank, |rows| on_cpu(rows).copy());
        group.combine(&mut rows, Op::Sum)?;
        let mine = self.own_nearest(&rows, n);
        let mut all = self.gathered(group, &mine)?;
        for nears in &mut all {
            order(nears);
            nears.truncate(self.k);
        }
        Ok(all)
    }

    /// This device's k nearest of each row. A product is always of one chunk with one chunk, so that its bits do not depend on who
    /// computes it.
    fn own_nearest(&self, rows: &Tensor, n: usize) -> Vec<Vec<Near>> {
        let mut nearest = vec![Vec::new(); n];
        for (chunk, memory) in &self.features.memory {
            let cosines = rows.matmul(&on_cpu(memory).tr()).to_kind(Kind::Double); // [n, m]
            let k = (self.k as i64).min(cosines.size()[1]);
            let (values, places) = cosines.topk(k, 1, true, true);
            let values: Vec<f64> = Vec::try_from(values.flatten(0, -1)).expect("cosines are float64");
            let places = integers(&places.flatten(0, -1));
            let k = usize::try_from(k).unwrap_or_default();
            for (i, nears) in nearest.iter_mut().enumerate() {
                nears.extend((i * k..(i + 1) * k).map(|at| Near {
                    cosine: values[at],
                    image: chunk * CHUNK + places[at].unsigned_abs(),
                }));
                order(nears);
                nears.truncate(self.k);
            }
        }
        nearest
    }

    /// What all devices named. Each has a place for its k in one vector that holds zeros elsewhere, and zeros add without rounding.
    fn gathered(&self, group: &dyn Collective, mine: &[Vec<Near>]) -> Result<Vec<Vec<Near>>, TorchError> {
        let (n, size, k) = (mine.len(), group.size(), self.k);
        let mut cosines = vec![0f64; n * size * k];
        let mut images = vec![0i64; n * size * k]; // from 1; 0: none
        for (row, nears) in mine.iter().enumerate() {
            let at = (row * size + group.index()) * k;
            for (i, near) in nears.iter().enumerate() {
                cosines[at + i] = near.cosine;
                images[at + i] = i64::try_from(near.image).unwrap_or(i64::MAX - 1) + 1;
            }
        }
        let (mut cosines, mut images) = (Tensor::from_slice(&cosines), Tensor::from_slice(&images));
        group.combine(&mut cosines, Op::Sum)?;
        group.combine(&mut images, Op::Sum)?;
        let cosines: Vec<f64> = Vec::try_from(cosines).expect("cosines are float64");
        let images = integers(&images);
        let of_row = |row: usize| {
            let range = row * size * k..(row + 1) * size * k;
            range
                .filter(|at| images[*at] > 0)
                .map(|at| Near {
                    cosine: cosines[at],
                    image: images[at].unsigned_abs() - 1,
                })
                .collect()
        };
        Ok((0..n).map(of_row).collect())
    }
}

/// The nearest first; of equally near ones the first image.
fn order(nears: &mut [Near]) {
    nears.sort_by(|one, other| {
        other
            .cosine
            .total_cmp(&one.cosine)
            .then(one.image.cmp(&other.image))
    });
}

/// The classes of the neighbours, the one with most weight first; of equals that of the nearest.
pub fn vote(nearest: &[Near], label_of: impl Fn(&Near) -> u32, settings: Settings) -> Vec<u32> {
    let mut weights: Vec<(u32, f64)> = Vec::new();
    // exp(cosine/T) may be beyond float64 where T is small; only the differences count.
    let largest = nearest.first().map_or(0.0, |near| near.cosine);
    for near in nearest {
        let (label, weight) = (
            label_of(near),
            ((near.cosine - largest) / settings.temperature).exp(),
        );
        match weights.iter_mut().find(|(seen, _)| *seen == label) {
            Some((_, sum)) => *sum += weight,
            None => weights.push((label, weight)),
        }
    }
    weights.sort_by(|one, other| other.1.total_cmp(&one.1)); // stable
    weights.into_iter().map(|(label, _)| label).collect()
}

fn on_cpu(rows: &Tensor) -> Tensor {
    rows.to_device(Device::Cpu).to_kind(Kind::Float).contiguous()
}

/// Rows of unit length.
pub fn unit(features: &Tensor) -> Tensor {
    let length = features
        .norm_scalaropt_dim(2.0, [1].as_slice(), true)
        .clamp_min(1e-12);
    features / length
}
