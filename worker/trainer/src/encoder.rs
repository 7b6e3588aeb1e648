//! An encoder at rest: its features of images, whoever asks for them.
//!
//! Online and offline evaluations and linear heads all look through this, so that one encoder has one set of features.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use m2t_common::Rank;
use m2t_common::evaluation::Side;
use m2t_common::recipe::{Linear, Model, Recipe};
use m2t_common::shard::{Permutation, Sample};
use m2t_data::Index;
use m2t_data::loader::center_views;
use tch::{Device, Kind, Tensor};

use crate::checkpoint;
use crate::model::Network;
use crate::model::norm::{FrozenNorm, Statistics, TeacherNorm};
use crate::state::{History, State, activations, kind};

/// Images looked at in one go. Part of the result: libtorch may compute another number of images in another order.
pub const CHUNK: u64 = 64;
/// Training images that an initialised encoder's statistics are taken from.
const CALIBRATION: u64 = 2048;

/// Weights and statistics that do not change.
#[derive(Debug)]
pub struct FrozenEncoder {
    network: Network,
    weights: Vec<Tensor>,
    statistics: Statistics,
    activations: Kind,
    device: Device,
}

impl FrozenEncoder {
    /// The encoder of a state as it is now, with these statistics, sharing its memory: it must not outlive the next step.
    pub fn of(recipe: &Recipe, state: &State, side: Side, history: &History) -> Self {
        let network = Network::new(&recipe.model);
        let (parameters, statistics) = match side {
            Side::Student => (&state.student, &history.student),
            Side::Teacher | Side::Random => (&state.teacher, &history.teacher),
        };
        Self {
            weights: parameters.views.iter().map(Tensor::detach).collect(),
            statistics: statistics.share(),
            activations: kind(recipe),
            device: state.device(),
            network,
        }
    }

    /// The encoder that a linear recipe names, on a device.
    ///
    /// # Errors
    /// When there is no sound checkpoint, or another one than the recipe was written for.
    pub fn of_linear(
        recipe: &Recipe,
        linear: &Linear,
        train: &Index,
        device: Device,
    ) -> anyhow::Result<Self> {
        let folder = checkpoint::find(&recipe.run.encoder);
        let (manifest, snapshot) =
            checkpoint::read(&folder).context("the encoder to be evaluated cannot be read")?;
        ensure!(
            manifest.state_digest == linear.digest,
            "{} holds the state {} and the evaluation is of {}; give it the same checkpoint",
            folder.display(),
            manifest.state_digest,
            linear.digest
        );
        let (theirs, ours) = (&manifest.recipe.model, &recipe.model);
        ensure!(
            is_same_encoder(theirs, ours),
            "the encoder of {} is {theirs:?} and the recipe's is {ours:?}; write the same",
            folder.display()
        );
        let state = match linear.side {
            Side::Random => State::initial(&manifest.recipe, &[Rank(0)], Device::Cpu)?,
            Side::Student | Side::Teacher => restored(&manifest.recipe, &snapshot, &folder)?,
        };
        let encoder = Self::of(&manifest.recipe, &state, linear.side, state.history.of(Rank(0)));
        let encoder = match linear.side {
            Side::Random => encoder.calibrated(train, (recipe.training.pixels, recipe.run.loader_threads))?,
            Side::Student | Side::Teacher => encoder,
        };
        Ok(encoder.cast(activations(recipe), device))
    }

    /// The same in another kind on a device, in memory of its own.
    fn cast(self, activations: Kind, device: Device) -> Self {
        let extent = self.network.encoder_extent;
        let parameters = self.network.layout.parameters[..extent.n_parameters].iter();
        // Normalisations stay in float32 among activations in bfloat16.
        let statistics = if activations == Kind::BFloat16 {
            Kind::Float
        } else {
            activations
        };
        let there = |(own, parameter): (&Tensor, &crate::model::layout::Parameter)| {
            use crate::model::layout::Role::{Convolution, NormBias, NormWeight};
            let kind = match parameter.role {
                Convolution => activations,
                NormWeight | NormBias => statistics,
                _ => own.kind(),
            };
            own.to_kind(kind).to_device(device)
        };
        Self {
            weights: self.weights.iter().zip(parameters).map(there).collect(),
            statistics: self.statistics.to_kind(statistics).on(device),
            network: self.network,
            activations,
            device,
        }
    }

    /// d, and the kind of its features' numbers.
    pub fn shape(&self) -> (i64, Kind) {
        (self.network.width(), self.activations)
    }

    /// Features [n, d] of images [n, 3, H, W] of any kind, anywhere.
    pub fn features(&self, images: &Tensor) -> Tensor {
        let images = images.to_device(self.device).to_kind(self.activations);
        let mut norm = FrozenNorm {
            statistics: &self.statistics,
        };
        tch::no_grad(|| self.network.features(&images, &self.weights, &mut norm))
    }

    /// With the statistics of an initialised encoder: the mean over chunks of training images, each normalised by its own.
    ///
    /// # Errors
    /// The first file, in order, that cannot be read or decoded.
    pub fn calibrated(mut self, train: &Index, look: (u32, u32)) -> anyhow::Result<Self> {
        let mut total = self.statistics.copy();
        let (_, _) = (total.mean.zero_(), total.var.zero_());
        // Neighbouring files are of one class; the calibration takes every so many.
        let look = Look::sampled(train, CALIBRATION, look);
        // A chunk that is cut short may be too small to have a variance.
        let n_chunks = (look.n_images() / CHUNK).max(1);
        for chunk in 0..n_chunks {
            let images = look
                .images(chunk)?
                .to_device(self.device)
                .to_kind(self.activations);
            let mut norm = TeacherNorm::new(&self.statistics, 1.0);
            let _ = tch::no_grad(|| self.network.features(&images, &self.weights, &mut norm));
            total.mean += norm.moments.batch.mean;
            total.var += norm.moments.batch.var;
        }
        total.mean /= n_chunks as f64;
        total.var /= n_chunks as f64;
        self.statistics = total;
        Ok(self)
    }
}

/// The state of a checkpoint.
///
/// # Errors
/// When it is of another network than its recipe says.
pub fn restored(recipe: &Recipe, snapshot: &crate::state::Snapshot, folder: &Path) -> anyhow::Result<State> {
    let mut state = State::blank(recipe, &[Rank(0)], Device::Cpu)?;
    state
        .restore(snapshot)
        .with_context(|| PathBuf::from(folder).display().to_string())?;
    Ok(state)
}

fn is_same_encoder(one: &Model, other: &Model) -> bool {
    (one.arch, one.channels, one.stem) == (other.arch, other.channels, other.stem)
}

/// How images of a folder are looked at: at their centre, in chunks.
#[derive(Clone, Debug)]
pub struct Look {
    index: Index,
    pixels: u32,
    threads: u32,
}

impl Look {
    /// All of them, in the order of the index: in so many pixels a side, decoded by so many threads.
    pub fn whole(index: &Index, (pixels, threads): (u32, u32)) -> Self {
        Self {
            index: index.clone(),
            pixels,
            threads,
        }
    }

    /// At most `n` of them, from all classes: always the same.
    pub fn sampled(index: &Index, n: u64, look: (u32, u32)) -> Self {
        let permutation = Permutation::new(index.n_samples(), 0, 0);
        let some = (0..n.min(index.n_samples())).map(|i| Sample(permutation.at(i)));
        Self::whole(&index.pick(some), look)
    }

    /// Where they lie.
    pub fn root(&self) -> &Path {
        self.index.root()
    }

    /// Images.
    pub fn n_images(&self) -> u64 {
        self.index.n_samples()
    }

    /// Chunks; the last may be shorter.
    pub fn n_chunks(&self) -> u64 {
        self.n_images().div_ceil(CHUNK)
    }

    /// Images of a chunk.
    pub fn n_in(&self, chunk: u64) -> usize {
        let range = self.range(chunk);
        usize::try_from(range.end - range.start).unwrap_or_default()
    }

    fn range(&self, chunk: u64) -> std::ops::Range<u64> {
        chunk * CHUNK..self.n_images().min((chunk + 1) * CHUNK)
    }

    /// The images of a chunk, [n, 3, H, W], float32.
    ///
    /// # Errors
    /// The first file, in order, that cannot be read or decoded.
    pub fn images(&self, chunk: u64) -> anyhow::Result<Tensor> {
        let (n, side) = (self.n_in(chunk) as i64, i64::from(self.pixels));
        let values = center_views(&self.index, self.range(chunk), self.pixels, self.threads)?;
        Ok(Tensor::from_slice(&values).view([n, 3, side, side]))
    }

    /// The class of an image.
    pub fn label(&self, image: Sample) -> u32 {
        self.index.entry(image).class
    }

    /// The classes of the images of a chunk.
    pub fn labels(&self, chunk: u64) -> Vec<u32> {
        self.range(chunk).map(|image| self.label(Sample(image))).collect()
    }

    /// A number that tells other images from these, by their names and sizes.
    pub fn fingerprint(&self) -> i64 {
        let mut hasher = blake3::Hasher::new();
        for entry in self.index.entries() {
            hasher.update(entry.path().as_os_str().as_encoded_bytes());
            hasher.update(&[0]);
            hasher.update(&entry.size.to_le_bytes());
        }
        let mut first = [0; 8];
        hasher.finalize_xof().fill(&mut first);
        i64::from_le_bytes(first) >> 1
    }
}
