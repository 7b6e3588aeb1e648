//! Top-1 of a nearest-neighbour classifier: what features are worth without training anything on them.
//!
//! Each held-out image takes the class most common among its k nearest training images; among equals the nearest one's.
//! Features of encoders are compared by cosine, raw pixels by L2. Images are seen at their centre, unaugmented.
//! Evaluation during a run and linear probes are not here.

use std::path::Path;

use anyhow::{Context, ensure};
use m2t_common::Rank;
use m2t_common::recipe::Recipe;
use m2t_common::shard::Sample;
use m2t_data::loader::center_views;
use m2t_data::{Cache, Index};
use serde::Serialize;
use tch::{Device, Tensor};

use crate::checkpoint;
use crate::model::norm::{FrozenNorm, Statistics, TeacherNorm};
use crate::state::{State, kind};

/// Which features are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Features {
    /// The pixels themselves.
    Pixels,
    /// The encoder as it was initialised, its statistics taken from training images: what the architecture gives for nothing.
    Random,
    /// The teacher's encoder of the checkpoint, with its history as statistics.
    Teacher,
}

/// What to classify, and from what.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// Which features.
    pub features: Features,
    /// A checkpoint's folder.
    pub checkpoint: &'a Path,
    /// An ImageFolder to take neighbours from.
    pub train: &'a Path,
    /// An ImageFolder of the same classes, held out.
    pub val: &'a Path,
    /// k.
    pub k: u32,
    /// Threads for decoding and tensors.
    pub threads: u32,
}

/// The answer, printed as a line of JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// Which features.
    pub features: Features,
    /// Share of the held-out images classified right.
    pub top1: f64,
    /// Held-out images.
    pub n: usize,
    /// √(p(1−p)/n).
    pub standard_error: f64,
    /// k.
    pub k: u32,
}

/// Images looked at in one go.
const CHUNK: u64 = 256;
/// Training images that an initialised encoder's statistics are taken from.
const CALIBRATION: u64 = 2048;

/// Answers it.
///
/// # Errors
/// When the checkpoint or an image cannot be read, or the two folders have other classes.
pub fn classify(question: &Question<'_>) -> anyhow::Result<Answer> {
    m2t_torch::set_threads(question.threads);
    let cache = Cache::usual();
    let (train, val) = (
        Index::open(question.train, &cache)?,
        Index::open(question.val, &cache)?,
    );
    ensure!(
        train.classes().eq(val.classes()),
        "{} and {} have other classes; give two parts of one data set",
        question.train.display(),
        question.val.display()
    );
    let lens = Lens::new(question, &train)?;
    let (memory, held_out) = (lens.features(&train)?, lens.features(&val)?);
    let (of_train, of_val) = (labels(&train), labels(&val));
    let k = u32::try_from(of_train.len()).unwrap_or(u32::MAX).min(question.k);
    let n_right = neighbours(&held_out, &memory, k)
        .iter()
        .zip(&of_val)
        .filter(|(nearest, label)| vote(nearest.iter().map(|&i| of_train[i])) == Some(**label))
        .count();
    let n = of_val.len();
    let top1 = n_right as f64 / n as f64;
    Ok(Answer {
        features: question.features,
        top1,
        n,
        standard_error: (top1 * (1.0 - top1) / n as f64).sqrt(),
        k,
    })
}

fn labels(index: &Index) -> Vec<u32> {
    index.entries().map(|entry| entry.class).collect()
}

/// The k nearest of `memory` [M, D] for each row of `held_out` [N, D], nearest first.
fn neighbours(held_out: &Tensor, memory: &Tensor, k: u32) -> Vec<Vec<usize>> {
    let squares = memory.square().sum_dim_intlist([1].as_slice(), false, None); // [M]
    let mut all = Vec::new();
    for chunk in held_out.split(CHUNK as i64, 0) {
        // −|a−b|² but for |a|², which is the same for all b.
        let closeness: Tensor = chunk.matmul(&memory.tr()) * 2.0 - &squares; // [n, M]
        let (_, nearest) = closeness.topk(i64::from(k), 1, true, true); // [n, k]
        for row in nearest.unbind(0) {
            let row = Vec::<i64>::try_from(row).expect("indices are int64");
            all.push(
                row.into_iter()
                    .map(|i| usize::try_from(i).unwrap_or_default())
                    .collect(),
            );
        }
    }
    all
}

/// The most common label; among equals the one that comes first.
fn vote(labels: impl Iterator<Item = u32>) -> Option<u32> {
    let mut counts: Vec<(u32, u32)> = Vec::new();
    for label in labels {
        match counts.iter_mut().find(|(seen, _)| *seen == label) {
            Some((_, count)) => *count += 1,
            None => counts.push((label, 1)),
        }
    }
    let most = counts.iter().map(|(_, count)| *count).max()?;
    counts
        .into_iter()
        .find(|(_, count)| *count == most)
        .map(|(label, _)| label)
}

/// How images are looked at.
struct Lens {
    recipe: Recipe,
    threads: u32,
    encoder: Option<(State, Statistics)>,
}

impl Lens {
    fn new(question: &Question<'_>, train: &Index) -> anyhow::Result<Self> {
        let folder = checkpoint::find(question.checkpoint);
        let (manifest, snapshot) = checkpoint::read(&folder)?;
        let recipe = manifest.recipe;
        let mut lens = Self {
            recipe,
            threads: question.threads,
            encoder: None,
        };
        match question.features {
            Features::Pixels => {}
            Features::Random => {
                let state = State::initial(&lens.recipe, &[Rank(0)], Device::Cpu)?;
                let statistics = lens.calibrate(&state, train)?;
                lens.encoder = Some((state, statistics));
            }
            Features::Teacher => {
                let mut state = State::initial(&lens.recipe, &[Rank(0)], Device::Cpu)?;
                state
                    .restore(&snapshot)
                    .with_context(|| folder.display().to_string())?;
                let statistics = state.history.of(Rank(0)).teacher.copy();
                lens.encoder = Some((state, statistics));
            }
        }
        Ok(lens)
    }

    /// Features of all images of a folder, [N, D].
    fn features(&self, index: &Index) -> anyhow::Result<Tensor> {
        let mut all = Vec::new();
        for images in self.chunks(index, index.n_samples()) {
            let images = images?; // [n, 3, H, W]
            all.push(match &self.encoder {
                None => images.flatten(1, -1), // [n, 3·H·W]
                Some((state, statistics)) => tch::no_grad(|| {
                    let mut norm = FrozenNorm { statistics };
                    let features = state.network.features(&images, &state.teacher.views, &mut norm); // [n, d]
                    let length = features
                        .norm_scalaropt_dim(2.0, [1].as_slice(), true)
                        .clamp_min(1e-12);
                    features / length
                }),
            });
        }
        Ok(Tensor::cat(&all, 0))
    }

    /// Statistics of an initialised encoder: the mean over chunks of training images, each normalised by its own.
    fn calibrate(&self, state: &State, train: &Index) -> anyhow::Result<Statistics> {
        let fresh = &state.history.of(Rank(0)).teacher;
        let mut total = fresh.copy();
        let (_, _) = (total.mean.zero_(), total.var.zero_());
        let mut n_chunks = 0.0;
        // Neighbouring files are of one class; the calibration takes every so many.
        let n = CALIBRATION.min(train.n_samples());
        let spread = spread(train, n);
        for images in self.chunks(&spread, n) {
            let images = images?;
            let mut norm = TeacherNorm::new(fresh, 1.0);
            let _ = tch::no_grad(|| state.network.features(&images, &state.teacher.views, &mut norm));
            total.mean += norm.moments.batch.mean;
            total.var += norm.moments.batch.var;
            n_chunks += 1.0;
        }
        total.mean /= n_chunks;
        total.var /= n_chunks;
        Ok(total)
    }

    fn chunks<'a>(&'a self, index: &'a Index, n: u64) -> impl Iterator<Item = anyhow::Result<Tensor>> + 'a {
        let (side, kind) = (self.recipe.training.pixels, kind(&self.recipe));
        (0..n.div_ceil(CHUNK)).map(move |i| {
            let range = i * CHUNK..n.min((i + 1) * CHUNK);
            let shape = [
                (range.end - range.start) as i64,
                3,
                i64::from(side),
                i64::from(side),
            ];
            let values = center_views(index, range, side, self.threads)?;
            Ok(Tensor::from_slice(&values).view(shape).to_kind(kind))
        })
    }
}

/// `n` files of an index from all classes, in an order without runs of one class.
fn spread(index: &Index, n: u64) -> Index {
    let permutation = m2t_common::shard::Permutation::new(index.n_samples(), 0, 0);
    index.pick((0..n).map(|i| Sample(permutation.at(i))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_common_label_wins_and_the_nearest_among_equals() {
        assert_eq!(vote([3, 1, 1].into_iter()), Some(1));
        assert_eq!(vote([2, 1, 1, 2].into_iter()), Some(2));
        assert_eq!(vote([].into_iter()), None);
    }

    #[test]
    fn neighbours_are_the_nearest_by_distance() {
        let memory = Tensor::from_slice2(&[[0f32, 0.0], [3.0, 0.0], [0.0, 1.0], [100.0, 100.0]]);
        let held_out = Tensor::from_slice2(&[[0.1f32, 0.2], [90.0, 90.0]]);
        assert_eq!(neighbours(&held_out, &memory, 2), [vec![0, 2], vec![3, 1]]);
    }
}
