//! What features are worth without training anything on them but a closed form: nearest neighbours and the linear probe, of an encoder
//! in a checkpoint, as it was initialised, or of the pixels themselves. Images are seen at their centre, unaugmented.
//!
//! For an encoder in a checkpoint this is the evaluation of a run ([`crate::evaluation`]) by a group of one, to the image. With folds, train
//! and val are one set that is cut anew, each part held out once: an estimate with a smaller error than one small val folder gives.

use std::path::Path;

use anyhow::ensure;
use m2t_common::Rank;
use m2t_common::evaluation::{Method, Settings, Side};
use m2t_common::recipe::Recipe;
use m2t_common::shard::Permutation;
use m2t_data::{Cache, Index};
use m2t_torch::collective::Solo;
use serde::Serialize;
use tch::{Device, Kind, Tensor};

use crate::checkpoint;
use crate::encoder::{FrozenEncoder, Look, restored};
use crate::evaluation::knn::{Near, unit, vote};
use crate::evaluation::probe::{RIDGE, Sums};
use crate::evaluation::tally::Tally;
use crate::evaluation::{Alone, Exam, Outcome};
use crate::state::State;

/// Which features are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Features {
    /// The pixels themselves.
    Pixels,
    /// The encoder as it was initialised, its statistics taken from training images: what the architecture gives for nothing.
    Random,
    /// The student's encoder of the checkpoint, with its running statistics.
    Student,
    /// The teacher's encoder of the checkpoint, with its history as statistics.
    Teacher,
}

/// How they are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum By {
    /// The nearest training images vote.
    Knn,
    /// Ridge regression from features to classes, in closed form.
    Probe,
}

/// What to classify, and from what.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// Which features.
    pub features: Features,
    /// By what.
    pub by: By,
    /// A checkpoint's folder.
    pub checkpoint: &'a Path,
    /// An ImageFolder to learn classes from.
    pub train: &'a Path,
    /// An ImageFolder of the same classes, held out.
    pub val: &'a Path,
    /// How neighbours vote.
    pub settings: Settings,
    /// λ of the probe, as a share of the mean variance of a feature.
    pub ridge: Option<f64>,
    /// Side of what is looked at; the recipe's where it is not said.
    pub pixels: Option<u32>,
    /// Threads for decoding and tensors; the recipe's where it is not said.
    pub threads: Option<u32>,
    /// Train and val are one set in so many parts, each held out once; 0: val is held out.
    pub folds: u32,
}

/// The answer, printed as a line of JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// Which features.
    pub features: Features,
    /// How they were judged.
    pub method: Method,
    /// Share of the held-out images classified right.
    pub top1: f64,
    /// Share with their class among the five likeliest.
    pub top5: f64,
    /// Held-out images, over all folds.
    pub n: u64,
    /// Of these, how many were classified right.
    pub n_correct: u64,
    /// √(p(1−p)/n).
    pub standard_error: f64,
    /// Neighbours that voted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub k: Option<u32>,
    /// The temperature of their votes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// The share of right ones in each fold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub folds: Vec<f64>,
}

/// Answers it.
///
/// # Errors
/// When the checkpoint or an image cannot be read, or the two folders have other classes.
pub fn classify(question: &Question<'_>) -> anyhow::Result<Answer> {
    let folder = checkpoint::find(question.checkpoint);
    let (manifest, snapshot) = checkpoint::read(&folder)?;
    let mut recipe = manifest.recipe;
    recipe.training.pixels = question.pixels.unwrap_or(recipe.training.pixels);
    recipe.run.knn_k = question.settings.k;
    recipe.run.knn_temperature = question.settings.temperature;
    let threads = question.threads.unwrap_or(recipe.training.threads_per_device);
    recipe.run.loader_threads = threads;
    m2t_torch::set_threads(threads);
    let cache = Cache::usual();
    let (train, val) = (
        Index::open(question.train, &cache)?,
        Index::open(question.val, &cache)?,
    );
    recipe.run.evaluate = m2t_common::recipe::Evaluate::Full;
    let exam = Exam::new(&recipe, &train, &val)?;
    let state = match question.features {
        Features::Student | Features::Teacher => restored(&recipe, &snapshot, &folder)?,
        Features::Pixels | Features::Random => State::initial(&recipe, &[Rank(0)], Device::Cpu)?,
    };
    let encoder = |side| FrozenEncoder::of(&recipe, &state, side, state.history.of(Rank(0)));
    let lens = match question.features {
        Features::Pixels => Lens::Pixels,
        Features::Student => Lens::Encoder(Box::new(encoder(Side::Student))),
        Features::Teacher => Lens::Encoder(Box::new(encoder(Side::Teacher))),
        Features::Random => {
            let look = (recipe.training.pixels, threads);
            Lens::Encoder(Box::new(encoder(Side::Random).calibrated(&train, look)?))
        }
    };
    let tallies = match (lens, question.folds) {
        (Lens::Encoder(encoder), 0) if question.ridge.is_none() => {
            vec![as_in_a_run(question, (&recipe, &exam), *encoder, state.step)?]
        }
        (lens, folds) => cut(question, &exam, &lens, folds)?,
    };
    Ok(answer(question, &tallies))
}

/// What looks at images.
enum Lens {
    Pixels,
    Encoder(Box<FrozenEncoder>),
}

impl Lens {
    /// Of all images, [N, D], of unit length.
    fn features(&self, look: &Look) -> anyhow::Result<Tensor> {
        let of_chunk = |chunk| {
            let images = look.images(chunk)?;
            let features = match self {
                Self::Pixels => images.flatten(1, -1),
                Self::Encoder(encoder) => encoder.features(&images),
            };
            Ok(unit(&features).to_device(Device::Cpu).to_kind(Kind::Float))
        };
        let chunks = (0..look.n_chunks()).map(of_chunk);
        Ok(Tensor::cat(&chunks.collect::<anyhow::Result<Vec<_>>>()?, 0))
    }
}

/// Exactly what the devices of a run would find out.
fn as_in_a_run(
    question: &Question<'_>,
    (recipe, exam): (&Recipe, &Exam),
    encoder: FrozenEncoder,
    step: m2t_common::Step,
) -> anyhow::Result<Tally> {
    let side = match question.features {
        Features::Student => Side::Student,
        Features::Random => Side::Random,
        Features::Pixels | Features::Teacher => Side::Teacher,
    };
    let group = Solo::default();
    let outcome = exam
        .of_encoders(step, &[(side, encoder)], (&group, &Alone))
        .map_err(|leave| anyhow::anyhow!("{leave:?}"))?;
    let figures = match outcome {
        Outcome::Figures(figures) => figures,
        Outcome::Failed(refusal) => anyhow::bail!("{}", refusal.reason),
        Outcome::Left(_) => anyhow::bail!("the evaluation of {} was left", recipe.name),
    };
    let method = question.by.method();
    let figure = figures.into_iter().find(|figure| figure.method == method);
    let figure = figure.ok_or_else(|| anyhow::anyhow!("nothing was judged by {method}"))?;
    Ok(Tally {
        n_images: figure.n_images,
        n_correct: figure.n_correct,
        n_correct5: figure.n_correct5,
    })
}

/// Train and val, cut anew: a tally a fold. With 0 folds val is held out.
fn cut(question: &Question<'_>, exam: &Exam, lens: &Lens, folds: u32) -> anyhow::Result<Vec<Tally>> {
    let (n_train, n_val) = (exam.memory.n_images(), exam.held_out.n_images());
    let n = n_train + n_val;
    ensure!(
        folds != 1,
        "one fold leaves nothing to learn from; give --folds 5, say, or none"
    );
    ensure!(
        u64::from(folds) <= n,
        "{folds} folds of {n} images are too many; give fewer"
    );
    let rows = Tensor::cat(&[lens.features(&exam.memory)?, lens.features(&exam.held_out)?], 0);
    let chunks = |look: &Look| {
        (0..look.n_chunks())
            .flat_map(|chunk| look.labels(chunk))
            .collect()
    };
    let mut labels: Vec<u32> = chunks(&exam.memory);
    labels.extend::<Vec<u32>>(chunks(&exam.held_out));
    let permutation = Permutation::new(n, 0, 0);
    let fold_of: Vec<u64> = match folds {
        0 => (0..n).map(|i| u64::from(i >= n_train)).collect(),
        folds => {
            let mut fold_of = vec![0; labels.len()];
            for place in 0..n {
                fold_of[permutation.at(place) as usize] = place % u64::from(folds);
            }
            fold_of
        }
    };
    let held_out = if folds == 0 { 1..2 } else { 0..u64::from(folds) };
    held_out
        .map(|fold| {
            let (held, known): (Vec<usize>, Vec<usize>) =
                (0..labels.len()).partition(|i| fold_of[*i] == fold);
            judged(question, exam, (&rows, &labels), [&known, &held])
        })
        .collect()
}

/// Some rows, held out, judged by others.
fn judged(
    question: &Question<'_>,
    exam: &Exam,
    (rows, labels): (&Tensor, &[u32]),
    [known, held]: [&[usize]; 2],
) -> anyhow::Result<Tally> {
    let pick = |some: &[usize]| {
        let places: Vec<i64> = some.iter().map(|i| *i as i64).collect();
        let labels: Vec<u32> = some.iter().map(|i| labels[*i]).collect();
        (rows.index_select(0, &Tensor::from_slice(&places)), labels)
    };
    let ((memory, known), (held, right)) = (pick(known), pick(held));
    let mut tally = Tally::default();
    match question.by {
        By::Probe => {
            let mut sums = Sums::none(memory.size()[1], exam.n_classes);
            sums.add(&memory, &known);
            let probe = sums.solve(question.ridge.unwrap_or(RIDGE))?;
            probe.tally(&mut tally, &held, &right);
        }
        By::Knn => {
            let k = i64::from(question.settings.k).min(memory.size()[0]);
            let cosines = held.matmul(&memory.tr()).to_kind(Kind::Double); // [n, m]
            let (cosines, places) = cosines.topk(k, 1, true, true);
            for ((cosines, places), right) in cosines.unbind(0).iter().zip(places.unbind(0)).zip(right) {
                let cosines = Vec::<f64>::try_from(cosines)?;
                let places = Vec::<i64>::try_from(&places)?;
                let near = |(cosine, place): (&f64, &i64)| Near {
                    cosine: *cosine,
                    image: place.unsigned_abs(),
                };
                let nearest: Vec<Near> = cosines.iter().zip(&places).map(near).collect();
                let label_of = |near: &Near| known[near.image as usize];
                tally.count(&vote(&nearest, label_of, question.settings), right);
            }
        }
    }
    Ok(tally)
}

fn answer(question: &Question<'_>, tallies: &[Tally]) -> Answer {
    let sum = |of: fn(&Tally) -> u64| tallies.iter().map(of).sum::<u64>();
    let (n, n_correct) = (sum(|tally| tally.n_images), sum(|tally| tally.n_correct));
    let share = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
    let top1 = share(n_correct, n);
    let is_knn = question.by == By::Knn;
    Answer {
        features: question.features,
        method: question.by.method(),
        top1,
        top5: share(sum(|tally| tally.n_correct5), n),
        n,
        n_correct,
        standard_error: (top1 * (1.0 - top1) / n.max(1) as f64).sqrt(),
        k: is_knn.then_some(question.settings.k),
        temperature: is_knn.then_some(question.settings.temperature),
        folds: match question.folds {
            0 => Vec::new(),
            _ => tallies
                .iter()
                .map(|tally| share(tally.n_correct, tally.n_images))
                .collect(),
        },
    }
}

impl By {
    fn method(self) -> Method {
        match self {
            Self::Knn => Method::Knn,
            Self::Probe => Method::Probe,
        }
    }
}
