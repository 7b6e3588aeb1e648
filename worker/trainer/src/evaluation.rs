//! What encoders are worth, measured by all devices of a group together: nearest neighbours and a linear probe on the features of
//! student and teacher, or the held-out images' classes by a linear head.
//!
//! ```text
//!  rounds: each device looks at one chunk of images ─► all agree that nobody failed ─► next round
//!  then, for neighbours: a chunk of held-out features to all ─► each names its nearest ─► one device lets them vote
//!        for the probe: the sums of all features, their products and classes ─► each solves, and judges its own chunks
//! ```
//! It reads the state and writes none of it. Every held-out image counts once, whatever the number of devices, and no figure depends
//! on the placement: chunks are cut the same everywhere, features of a chunk come from one device, and the probe's sums are exact.
//! A group of one device does the same, so that an offline evaluation is this one.

pub mod knn;
pub mod probe;
pub mod share;
pub mod tally;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, ensure};
use m2t_common::Step;
use m2t_common::evaluation::{Evaluation, Method, Settings, Side};
use m2t_common::machine_link::Boundary;
use m2t_common::recipe::{Evaluate, LIGHT_HELD_OUT, LIGHT_MEMORY, Recipe};
use m2t_data::Index;
use m2t_torch::TorchError;
use m2t_torch::collective::{Collective, Op};
use tch::Tensor;

use crate::encoder::{FrozenEncoder, Look};
use crate::leave::Leave;
use crate::objective::Objective;
use crate::objective::linear::judge;
use crate::state::State;
use knn::Neighbours;
use probe::{RIDGE, Sums};
use share::{Refusal, Round, Share};
use tally::Tally;

/// The images of an evaluation.
#[derive(Debug)]
pub struct Exam {
    /// With the classes that neighbours and probe learn from.
    pub memory: Look,
    /// To be classified.
    pub held_out: Look,
    /// Classes of both.
    pub n_classes: u32,
    /// How neighbours are asked.
    pub settings: Settings,
}

/// What came of an evaluation, on every device alike.
#[derive(Debug)]
pub enum Outcome {
    /// The figures.
    Figures(Vec<Evaluation>),
    /// A device could not do its part: why, on that device; on the others, which it was.
    Failed(Refusal),
    /// It was left for a boundary that a device was told of: the resume does it again.
    Left(Boundary),
}

/// An encoder's features of this device's chunks, of unit length.
#[derive(Debug)]
pub struct Features {
    /// D.
    pub width: i64,
    /// [n, D] of chunks of images with known classes.
    pub memory: Vec<(u64, Tensor)>,
    /// [n, D] of held-out chunks.
    pub held_out: Vec<(u64, Tensor)>,
}

impl Features {
    /// Sorts out chunks of which those from `n_memory` on are held out. A device with more peers than there are chunks has none, and learns
    /// the width from the others.
    fn new(chunks: Vec<(u64, Tensor)>, n_memory: u64, group: &dyn Collective) -> Result<Self, TorchError> {
        let own = chunks.first().map_or(0, |(_, rows)| rows.size()[1]);
        let mut widest = Tensor::from_slice(&[own]);
        group.combine(&mut widest, Op::Max)?;
        let (memory, held_out): (Vec<_>, Vec<_>) =
            chunks.into_iter().partition(|(chunk, _)| *chunk < n_memory);
        let held_out = held_out.into_iter().map(|(chunk, rows)| (chunk - n_memory, rows));
        Ok(Self {
            width: widest.int64_value(&[0]),
            memory,
            held_out: held_out.collect(),
        })
    }
}

/// What the group does meanwhile.
pub trait Meanwhile {
    /// So many rounds of so many are done.
    fn done(&self, round: u64, of: u64);
    /// What this device was told to do at the next boundary.
    fn boundary(&self) -> Boundary;
}

/// Nobody is told of anything: for an evaluation of its own.
#[derive(Clone, Copy, Debug)]
pub struct Alone;

impl Meanwhile for Alone {
    fn done(&self, _: u64, _: u64) {}

    fn boundary(&self) -> Boundary {
        Boundary::GoOn
    }
}

impl Exam {
    /// The exam that a recipe asks for, from training images and the folder of held-out ones.
    ///
    /// # Errors
    /// When the two have other classes.
    pub fn new(recipe: &Recipe, train: &Index, held_out: &Index) -> anyhow::Result<Self> {
        ensure!(
            train.classes().eq(held_out.classes()),
            "{} and {} have other classes; give two parts of one data set, or name another with run.evaluate_on",
            train.root().display(),
            held_out.root().display()
        );
        let look = (recipe.training.pixels, recipe.run.loader_threads);
        let (memory, held_out) = match recipe.run.evaluate {
            Evaluate::Light => (
                Look::sampled(train, LIGHT_MEMORY, look),
                Look::sampled(held_out, LIGHT_HELD_OUT, look),
            ),
            Evaluate::Full | Evaluate::Off => (Look::whole(train, look), Look::whole(held_out, look)),
        };
        Ok(Self {
            n_classes: u32::try_from(train.classes().count()).context("too many classes")?,
            memory,
            held_out,
            settings: recipe.run.neighbours(),
        })
    }

    /// Evaluates a state with all devices of `group`, each of which must come here with the same state.
    ///
    /// # Errors
    /// [`Leave`] when the group breaks.
    pub fn of_state(
        &self,
        (recipe, objective, state): (&Recipe, &Objective, &State),
        (group, meanwhile): (&dyn Collective, &dyn Meanwhile),
    ) -> Result<Outcome, Leave> {
        let history = state.history.of_rank_0(recipe.training.world, group)?;
        match objective {
            Objective::Pretraining(_) => {
                let encoders = [Side::Teacher, Side::Student]
                    .map(|side| (side, FrozenEncoder::of(recipe, state, side, &history)));
                self.of_encoders(state.step, &encoders, (group, meanwhile))
            }
            Objective::Linear { classifier, encoder } => {
                let side = recipe
                    .training
                    .linear
                    .as_ref()
                    .map_or(Side::Teacher, |linear| linear.side);
                let judge =
                    |images: &Tensor| judge(classifier, (state, &history.student), &encoder.features(images));
                self.of_head((state.step, side), &judge, (group, meanwhile))
            }
        }
    }

    /// By neighbours and probe.
    ///
    /// # Errors
    /// As [`Exam::of_state`].
    pub fn of_encoders(
        &self,
        step: Step,
        encoders: &[(Side, FrozenEncoder)],
        (group, meanwhile): (&dyn Collective, &dyn Meanwhile),
    ) -> Result<Outcome, Leave> {
        let began = Instant::now();
        let n_memory = self.memory.n_chunks();
        let share = Share::of(group, n_memory + self.held_out.n_chunks());
        if let Some(refusal) = share.same_images(&self.held_out)? {
            return Ok(Outcome::Failed(refusal));
        }
        let mut features: Vec<Vec<(u64, Tensor)>> = encoders.iter().map(|_| Vec::new()).collect();
        let look = |chunk: u64| -> anyhow::Result<()> {
            let images = if chunk < n_memory {
                self.memory.images(chunk)?
            } else {
                self.held_out.images(chunk - n_memory)?
            };
            for ((_, encoder), of_encoder) in encoders.iter().zip(&mut features) {
                of_encoder.push((chunk, knn::unit(&encoder.features(&images))));
            }
            Ok(())
        };
        match share.rounds(look, meanwhile)? {
            Round::Done => {}
            Round::Failed(refusal) => return Ok(Outcome::Failed(refusal)),
            Round::Left(boundary) => return Ok(Outcome::Left(boundary)),
        }
        let mut figures = Vec::new();
        for ((side, _), features) in encoders.iter().zip(features) {
            let features = Features::new(features, n_memory, group)?;
            let neighbours = Neighbours::new(self, &features).tally(&share)?;
            figures.push((*side, Method::Knn, neighbours.over(group)?));
            let probe = self.probe(&features, group)?;
            figures.push((*side, Method::Probe, probe.over(group)?));
        }
        Ok(self.told(step, &figures, began))
    }

    /// By a head: `judge` gives the logits of images.
    fn of_head(
        &self,
        (step, side): (Step, Side),
        judge: &dyn Fn(&Tensor) -> Tensor,
        (group, meanwhile): (&dyn Collective, &dyn Meanwhile),
    ) -> Result<Outcome, Leave> {
        let began = Instant::now();
        let share = Share::of(group, self.held_out.n_chunks());
        if let Some(refusal) = share.same_images(&self.held_out)? {
            return Ok(Outcome::Failed(refusal));
        }
        let mut tally = Tally::default();
        let look = |chunk: u64| -> anyhow::Result<()> {
            let logits = judge(&self.held_out.images(chunk)?);
            tally.add(&logits, &self.held_out.labels(chunk));
            Ok(())
        };
        match share.rounds(look, meanwhile)? {
            Round::Done => Ok(self.told(step, &[(side, Method::Linear, tally.over(group)?)], began)),
            Round::Failed(refusal) => Ok(Outcome::Failed(refusal)),
            Round::Left(boundary) => Ok(Outcome::Left(boundary)),
        }
    }

    /// How the held-out images of this device's chunks come out by the probe on all devices' images.
    fn probe(&self, features: &Features, group: &dyn Collective) -> Result<Tally, Leave> {
        let mut sums = Sums::none(features.width, self.n_classes);
        for (chunk, rows) in &features.memory {
            sums.add(rows, &self.memory.labels(*chunk));
        }
        let probe = sums.over(group)?.solve(RIDGE)?;
        let mut tally = Tally::default();
        for (chunk, rows) in &features.held_out {
            probe.tally(&mut tally, rows, &self.held_out.labels(*chunk));
        }
        Ok(tally)
    }

    fn told(&self, step: Step, figures: &[(Side, Method, Tally)], began: Instant) -> Outcome {
        let duration = began.elapsed();
        let told = figures.iter().map(|(encoder, method, tally)| Evaluation {
            step,
            encoder: *encoder,
            method: *method,
            n_images: tally.n_images,
            n_correct: tally.n_correct,
            n_correct5: tally.n_correct5,
            n_memory: self.memory.n_images(),
            duration,
        });
        Outcome::Figures(told.collect())
    }
}

/// Where a recipe's held-out images lie on this machine.
pub fn held_out_folder(recipe: &Recipe, data: &Path) -> PathBuf {
    let folder = &recipe.run.evaluate_on;
    let (mut from, mut rest) = (data, folder.as_path());
    // `..` is meant beside the data folder as it is named, also where that is a link.
    while let (Ok(below), Some(parent)) = (rest.strip_prefix(".."), from.parent()) {
        (from, rest) = (parent, below);
    }
    from.join(rest)
}

#[cfg(test)]
mod tests;
