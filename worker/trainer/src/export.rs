//! A checkpoint's encoder as a file that torchvision and timm load, or all of its state.
//!
//! Of an encoder nothing else goes out: no head, no predictor, no momentum. Nothing is folded or approximated, so a network that loads
//! the file gives the trainer's own features. With local statistics, rank 0's are taken, as in every evaluation. It reads
//! checkpoints only; a run may go on meanwhile. Beside the file goes a card that says what it is (`card`).
//!
//! Why the same names for both libraries: the trainer's tensors bear torchvision's names, and timm's ResNets of these
//! depths bear them too. `--names` says whose class the file is for, in its metadata and in what is said of misfits.

mod about;
mod card;
mod format;
mod help;
mod newest;
pub(crate) mod place;
mod tensors;

use std::path::{Path, PathBuf};

use m2t_common::manifest::{MANIFEST_FILE, Manifest};

use crate::checkpoint::{self, CheckpointError};
use crate::state::snapshot::NamedBytes;
pub use about::arch;
use about::{metadata, misfit};
pub use format::Format;
pub use help::EXPORT as LOADING;
pub use place::PlaceError;

/// Which network's encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Side {
    /// The student's, with its running statistics.
    Student,
    /// The teacher's, with its history as statistics: what the published results are of.
    Teacher,
}

/// Whose names the tensors bear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Names {
    /// `torchvision.models`.
    Torchvision,
    /// `timm`; for these networks its names are torchvision's.
    Timm,
}

/// How much of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum What {
    /// One network's encoder.
    Encoder,
    /// Student, teacher, their heads and statistics, and the optimizer's momentum, under the checkpoint's names.
    All,
}

/// What to export, and where to.
#[derive(Clone, Debug, clap::Args)]
pub struct Export {
    /// A run's output folder, for its newest checkpoint, or a checkpoint's folder.
    pub run: PathBuf,
    /// The file to write; an older one is replaced. Its ending says the format: .safetensors, or .pth, .pt, .pth.tar.
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,
    /// The format, where the file's ending is not to say it.
    #[arg(long)]
    pub format: Option<Format>,
    /// How much of the checkpoint.
    #[arg(long, default_value = "encoder")]
    pub what: What,
    /// Which network's encoder [default: teacher].
    #[arg(long)]
    pub side: Option<Side>,
    /// Whose class is to load it [default: torchvision].
    #[arg(long)]
    pub names: Option<Names>,
    /// Write no card (FILE's name with the ending .md) beside the file.
    #[arg(long)]
    pub no_card: bool,
}

/// What was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Exported {
    /// In a sentence.
    pub summary: String,
    /// Why no class of the library can take it as it is, in a sentence.
    pub misfit: Option<String>,
}

/// An encoder that cannot be exported.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ExportError {
    #[error("{} holds no checkpoint; give a run's output folder, or the folder of one of its checkpoints", run.display())]
    NoCheckpoint { run: PathBuf },
    #[error("nothing is exported; another checkpoint's folder can be given")]
    Checkpoint(#[from] CheckpointError),
    #[error("the checkpoint {} is of another version of m2t; export it with that", checkpoint.display())]
    Foreign { checkpoint: PathBuf, source: Lack },
    #[error("{} holds a linear head and no encoder; give the run whose encoder it is for, or --what all", checkpoint.display())]
    LinearHead { checkpoint: PathBuf },
    #[error("the format is not clear from the name {}; end it in .safetensors or .pth, or add --format", to.display())]
    Format { to: PathBuf },
    #[error("--what all is both networks under the checkpoint's names; leave out --side and --names")]
    AllHasNoSide,
    #[error(transparent)]
    Place(#[from] PlaceError),
}

/// A tensor that the recipe asks for and the checkpoint has not.
#[derive(Debug, thiserror::Error)]
#[error("it has no tensor {name} of shape {shape:?}")]
pub struct Lack {
    name: String,
    shape: Vec<usize>,
}

type Named = (String, NamedBytes);

impl Side {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Student => "student",
            Self::Teacher => "teacher",
        }
    }
}

impl Names {
    fn name(self) -> &'static str {
        match self {
            Self::Torchvision => "torchvision",
            Self::Timm => "timm",
        }
    }
}

impl Export {
    fn side(&self) -> Side {
        self.side.unwrap_or(Side::Teacher)
    }

    fn names(&self) -> Names {
        self.names.unwrap_or(Names::Torchvision)
    }
}

/// Writes the file and its card, each whole or not at all.
///
/// # Errors
/// When there is no sound checkpoint, or a file cannot be written; an older one is then as it was.
pub fn export(export: &Export) -> Result<Exported, ExportError> {
    place::require(&export.to)?;
    if export.what == What::All && (export.side.is_some() || export.names.is_some()) {
        return Err(ExportError::AllHasNoSide);
    }
    let format = export.format.or_else(|| Format::by_ending(&export.to));
    let format = format.ok_or_else(|| ExportError::Format {
        to: export.to.clone(),
    })?;
    let card = (!export.no_card).then(|| card::place(&export.to)).transpose()?;
    let folder = find(&export.run)?;
    let (manifest, mut snapshot) = checkpoint::read(&folder)?;
    if export.what == What::Encoder && manifest.recipe.training.linear.is_some() {
        return Err(ExportError::LinearHead { checkpoint: folder });
    }
    let tensors = match export.what {
        What::All => tensors::all(snapshot),
        What::Encoder => {
            let taken = tensors::encoder(&manifest.recipe, &mut snapshot, export.side());
            taken.map_err(|source| ExportError::Foreign {
                checkpoint: folder.clone(),
                source,
            })?
        }
    };
    let about = metadata(&manifest, export);
    place::put(&export.to, |file| format.write(&tensors, &about, file))?;
    if let Some(place) = &card {
        let text = card::write(export, format, &manifest, &newest::of(&folder, manifest.step));
        place::put(place, |file| std::io::Write::write_all(file, text.as_bytes()))?;
    }
    Ok(Exported {
        summary: summary(export, &manifest, &tensors, card.as_deref()),
        misfit: misfit_of(export, &manifest),
    })
}

fn misfit_of(export: &Export, manifest: &Manifest) -> Option<String> {
    match export.what {
        What::All => None,
        What::Encoder => misfit(&manifest.recipe.model, export.names()),
    }
}

fn find(run: &Path) -> Result<PathBuf, ExportError> {
    let folder = checkpoint::find(run);
    if !folder.join(MANIFEST_FILE).is_file() && folder == run {
        return Err(ExportError::NoCheckpoint { run: folder });
    }
    Ok(folder)
}

fn summary(export: &Export, manifest: &Manifest, tensors: &[Named], card: Option<&Path>) -> String {
    let n_bytes: usize = tensors.iter().map(|(_, tensor)| tensor.bytes.len()).sum();
    let arch = arch(&manifest.recipe.model);
    let what = match export.what {
        What::All => format!("the whole state of a {arch}'s run"),
        What::Encoder => format!("the {}'s {arch}", export.side().name()),
    };
    let card = card.map_or_else(String::new, |card| format!("; its card is {}", card.display()));
    format!(
        "wrote {}: {what} at step {}, {} tensors, {:.1} MB{card}",
        export.to.display(),
        manifest.step,
        tensors.len(),
        n_bytes as f64 / 1e6
    )
}

#[cfg(test)]
mod tests;
