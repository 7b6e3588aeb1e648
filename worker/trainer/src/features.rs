//! Features of every image of a folder, for whoever goes on with them: in a file, in the order of the index.
//!
//! An image is seen at its centre, unaugmented, as in every evaluation; its features are the encoder's after global pooling, neither
//! centred nor of unit length. They are written chunk by chunk, so that a data set of any size needs the memory of a chunk.

mod help;
mod npy;
mod table;

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use m2t_common::Rank;
use m2t_common::recipe::Recipe;
use m2t_data::loader::center_views;
use m2t_data::{Cache, Index};
use m2t_torch::bytes_of;
use tch::{Device, Kind, Tensor};

use crate::checkpoint;
use crate::export::Side;
use crate::export::{arch, place};
use crate::model::norm::{FrozenNorm, Statistics};
use crate::state::{State, kind};
pub use help::FEATURES as HELP;
use table::{About, Format};

/// Images looked at in one go. Part of the result: libtorch may compute another number of images in another order.
const CHUNK: u64 = 64;

/// Whose features, of what, and where to.
#[derive(Clone, Debug, clap::Args)]
pub struct Question {
    /// A run's output folder, for its newest checkpoint, or a checkpoint's folder.
    pub run: PathBuf,
    /// The data folder: an ImageFolder, or a pack.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// The file to write, .safetensors or .npy; an older one is replaced.
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,
    /// Which network's encoder.
    #[arg(long, default_value = "teacher")]
    pub side: Side,
    /// Threads for decoding and tensors.
    #[arg(long, default_value_t = 1)]
    pub threads: u32,
}

/// Writes the file, whole or not at all; what was written, in a sentence.
///
/// # Errors
/// When the checkpoint or an image cannot be read, or the file not be written.
pub fn write(question: &Question) -> anyhow::Result<String> {
    let format = Format::by_ending(&question.to).with_context(|| {
        let to = question.to.display();
        format!("the format is not clear from the name {to}; end it in .safetensors or .npy")
    })?;
    for file in format.files(&question.to) {
        place::require(&file)?;
    }
    m2t_torch::set_threads(question.threads);
    let encoder = Encoder::read(&question.run, question.side)?;
    let index = Index::open(&question.data, &Cache::usual())?;
    let about = About {
        about: encoder.about(question.side, &index),
        width: encoder.width,
    };
    let labels: Vec<i64> = index.entries().map(|entry| entry.class.into()).collect();
    let mut failed = None;
    let written = place::put(&question.to, |file| {
        format.begin(file, &about, &labels, &index)?;
        fill(file, &encoder, &index, question.threads).map_err(|error| {
            let text = error.to_string();
            failed = Some(error);
            io::Error::other(text)
        })
    });
    if let Some(error) = failed {
        return Err(error);
    }
    written?;
    format.put_beside(&question.to, &labels, &index)?;
    Ok(format!(
        "wrote {}: features [{}, {}] of the {}'s encoder at step {}",
        question.to.display(),
        index.n_samples(),
        encoder.width,
        question.side.name(),
        encoder.step
    ))
}

/// The features of all images, row by row, in float32.
fn fill(file: &mut File, encoder: &Encoder, index: &Index, threads: u32) -> anyhow::Result<()> {
    let n = index.n_samples();
    for i in 0..n.div_ceil(CHUNK) {
        let range = i * CHUNK..n.min((i + 1) * CHUNK);
        let side = encoder.recipe.training.pixels;
        let shape = [
            (range.end - range.start) as i64,
            3,
            i64::from(side),
            i64::from(side),
        ];
        let views = center_views(index, range, side, threads)?;
        let features = encoder.features(&Tensor::from_slice(&views).view(shape));
        file.write_all(&bytes_of(&features))?;
    }
    Ok(())
}

/// A checkpoint's encoder.
struct Encoder {
    recipe: Recipe,
    step: m2t_common::Step,
    state_digest: String,
    state: State,
    weights: Vec<Tensor>,
    statistics: Statistics,
    width: u64,
}

impl Encoder {
    /// With local statistics, rank 0's are taken, as in every evaluation.
    fn read(run: &Path, side: Side) -> anyhow::Result<Self> {
        let folder = checkpoint::find(run);
        let (manifest, snapshot) = checkpoint::read(&folder)?;
        let mut state = State::blank(&manifest.recipe, &[Rank(0)], Device::Cpu)?;
        state
            .restore(&snapshot)
            .with_context(|| folder.display().to_string())?;
        let history = state.history.of(Rank(0));
        let (parameters, statistics) = match side {
            Side::Student => (&state.student, &history.student),
            Side::Teacher => (&state.teacher, &history.teacher),
        };
        Ok(Self {
            weights: parameters.views.iter().map(Tensor::detach).collect(),
            statistics: statistics.copy(),
            width: state.network.width().unsigned_abs(),
            recipe: manifest.recipe,
            step: manifest.step,
            state_digest: manifest.state_digest,
            state,
        })
    }

    /// Float32 [n, d] of images [n, 3, H, W].
    fn features(&self, images: &Tensor) -> Tensor {
        let images = images.to_kind(kind(&self.recipe));
        let mut norm = FrozenNorm {
            statistics: &self.statistics,
        };
        let network = &self.state.network;
        tch::no_grad(|| network.features(&images, &self.weights, &mut norm)).to_kind(Kind::Float)
    }

    /// What the file says of itself.
    fn about(&self, side: Side, index: &Index) -> Vec<(&'static str, String)> {
        vec![
            ("format", "pt".to_owned()),
            ("m2t_version", env!("CARGO_PKG_VERSION").to_owned()),
            ("arch", arch(&self.recipe.model)),
            ("side", side.name().to_owned()),
            ("step", self.step.to_string()),
            ("state_digest", self.state_digest.clone()),
            ("recipe", self.recipe.name.clone()),
            ("pixels", self.recipe.training.pixels.to_string()),
            ("data_fingerprint", index.facts().fingerprint),
        ]
    }
}

#[cfg(test)]
mod tests;
