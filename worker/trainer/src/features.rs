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

use anyhow::{Context, ensure};
use m2t_common::evaluation;
use m2t_common::recipe::Recipe;
use m2t_common::{Rank, Step};
use m2t_data::{Cache, Index};
use m2t_torch::bytes_of;
use tch::Kind;

use crate::checkpoint;
use crate::encoder::{FrozenEncoder, Look, restored};
use crate::export::{Side, arch, place};
use crate::model::Network;
pub use help::FEATURES as HELP;
use table::{About, Format};

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
    let look = Look::whole(index, (encoder.recipe.training.pixels, threads));
    for chunk in 0..look.n_chunks() {
        let features = encoder.frozen.features(&look.images(chunk)?);
        file.write_all(&bytes_of(&features.to_kind(Kind::Float)))?;
    }
    Ok(())
}

/// A checkpoint's encoder.
struct Encoder {
    recipe: Recipe,
    step: Step,
    state_digest: String,
    frozen: FrozenEncoder,
    width: u64,
}

impl Encoder {
    /// With local statistics, rank 0's are taken, as in every evaluation.
    fn read(run: &Path, side: Side) -> anyhow::Result<Self> {
        let folder = checkpoint::find(run);
        let (manifest, snapshot) = checkpoint::read(&folder)?;
        let recipe = manifest.recipe;
        ensure!(
            recipe.training.linear.is_none(),
            "{} holds a linear head and no encoder; give the run whose encoder it is for",
            folder.display()
        );
        let state = restored(&recipe, &snapshot, &folder)?;
        let whose = match side {
            Side::Student => evaluation::Side::Student,
            Side::Teacher => evaluation::Side::Teacher,
        };
        Ok(Self {
            frozen: FrozenEncoder::of(&recipe, &state, whose, state.history.of(Rank(0))),
            width: Network::new(&recipe.model).width().unsigned_abs(),
            step: manifest.step,
            state_digest: manifest.state_digest,
            recipe,
        })
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
