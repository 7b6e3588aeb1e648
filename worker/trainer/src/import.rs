//! Weights from elsewhere as a checkpoint of ours: a published implementation's, torchvision's and timm's encoders, our own exports.
//!
//! What comes of it is a run's output folder with one checkpoint, so that all that takes a run or a checkpoint takes it: `m2t knn`,
//! `m2t export`, and `m2t train`, which goes on from it. A checkpoint holds a whole state. What a file has not is said: of an
//! encoder alone student and teacher get the same, the heads are drawn from the recipe's seed, the momentum is zero.
//!
//! Nothing is passed over in silence. A tensor that the network needs and the file lacks, or that the file has and the network does
//! not know, is named with its shape, and refused unless a word allows it; what never counts (a classifier, counts of
//! batches) is said to be left aside. Only files in which nothing can be run are read ([`crate::pth`]).
//!
//! Why step 0: what a schedule made of the published run's epochs is not in its file, nor which parameters its optimizer's buffers
//! belong to. So a run goes on from imported weights as from its first step. The whole state of a run of ours keeps its step.

mod fit;
mod help;
mod layers;
mod record;
mod source;
mod values;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use m2t_common::manifest::CheckpointName;
use m2t_common::recipe::{Recipe, RecipeError, load, resolve, written};
use m2t_common::{Rank, Step};
use m2t_data::{Cache, Index, IndexError};
use m2t_torch::TorchError;
use m2t_torch::collective::Solo;
use tch::Device;

use crate::checkpoint::{self, Belonging, CheckpointError};
use crate::export::{PlaceError, arch, place};
use crate::pth::PthError;
use crate::state::{Snapshot, State};
pub use fit::Misfit;
use fit::{Allowed, Fit};
pub use help::IMPORT as HELP;
pub use record::Record;
use source::{Kind, Source};

/// What the imported weights' recipe is on top of, unless another is named.
const USUAL: &str = "8x_v100_100e";
/// What a run's output folder has, and a new one has not.
const OF_A_RUN: [&str; 4] = ["checkpoints", "ledger.json", "metrics.jsonl", "state"];

/// What to import, and where to.
#[derive(Clone, Debug, clap::Args)]
pub struct Import {
    /// A .pth or safetensors file. Its content says which.
    pub file: PathBuf,
    /// The output folder to make, of a run with this one checkpoint.
    #[arg(long, value_name = "RUN")]
    pub to: PathBuf,
    /// The recipe of a run that is to go on from it: a published run's name, or a file ending in .toml [default: 8x_v100_100e, with
    /// the network that the file's tensors tell of].
    #[arg(short = 'f', long, value_name = "PRESET|FILE.toml")]
    pub experiment: Option<String>,
    /// Overrides one key of the recipe, with dots for tables; may be given many times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Number of ranks [default: the recipe's].
    #[arg(long, value_name = "N")]
    pub world: Option<u32>,
    /// The data folder of a run that is to go on from it; its size is part of a checkpoint.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Under which key of a .pth the state dict is [default: model or state_dict, or the whole is one].
    #[arg(long)]
    pub key: Option<String>,
    /// Take only tensors whose names begin so, and drop that, such as module.encoder_q. of MoCo.
    #[arg(long)]
    pub prefix: Option<String>,
    /// Leave tensors that the file lacks as they are drawn; each is named.
    #[arg(long)]
    pub allow_missing: bool,
    /// Leave aside tensors that the network does not know; each is named.
    #[arg(long)]
    pub allow_extra: bool,
}

/// What was imported, in sentences, a line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The checkpoint's folder.
    pub checkpoint: PathBuf,
    /// What was taken, drawn and left aside.
    pub summary: Vec<String>,
}

/// Weights that are not imported.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ImportError {
    #[error("{} holds a run already; name a new folder with --to", to.display())]
    Taken { to: PathBuf },
    #[error("cannot make the folder {}", to.display())]
    Folder { to: PathBuf, source: io::Error },
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error("cannot read {}", file.display())]
    Read { file: PathBuf, source: io::Error },
    #[error(transparent)]
    Pth(#[from] PthError),
    #[error("{} is neither a file of torch.save nor safetensors: {problem}", file.display())]
    Unknown { file: PathBuf, problem: String },
    #[error("{} holds no state dict under {asked}: it has {found}; name one of them with --key", file.display())]
    NoStateDict {
        file: PathBuf,
        asked: String,
        found: String,
    },
    #[error("no tensor of {} has a name that begins with {prefix}; the first is {first}", file.display())]
    NoPrefix {
        file: PathBuf,
        prefix: String,
        first: String,
    },
    #[error("{} holds no ResNet of 18, 34, 50, 101 or 152 layers by torchvision's names: {problem}; --prefix takes a part of a file", file.display())]
    NoResnet { file: PathBuf, problem: String },
    #[error("the recipe {recipe} is a linear head's; name that of an encoder's run with -f")]
    LinearHead { recipe: String },
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    #[error("cannot use --data")]
    Data(#[from] IndexError),
    #[error("{} does not fit: {misfit}", file.display())]
    Misfit { file: PathBuf, misfit: Misfit },
    #[error("the checkpoint cannot be made")]
    State(#[from] TorchError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// Reads the file and writes the checkpoint, whole or not at all.
///
/// # Errors
/// When the file is not taken, does not fit the network, or the folder is taken.
pub fn import(import: &Import) -> Result<Imported, ImportError> {
    require_new(&import.to)?;
    let source = Source::read(import)?;
    let (recipe, step) = recipe(import, &source)?;
    if recipe.training.linear.is_some() {
        return Err(ImportError::LinearHead { recipe: recipe.name });
    }
    let n_samples = match &import.data {
        Some(data) => Index::open(data, &Cache::usual())?.n_samples(),
        None => source.own.as_ref().map_or(0, |own| own.n_samples),
    };
    let mut snapshot = drawn(&recipe)?;
    let allowed = Allowed {
        missing: import.allow_missing,
        extra: import.allow_extra,
    };
    let fit = Fit::take(&source, &recipe, &mut snapshot, allowed).map_err(|misfit| ImportError::Misfit {
        file: import.file.clone(),
        misfit,
    })?;
    snapshot.step = step;
    let belonging = Belonging { recipe, n_samples };
    let folder = import.to.join("checkpoints");
    let checkpoint = folder.join(CheckpointName::new(snapshot.step).as_str());
    let summary = summary(&source, &fit, &belonging, (&checkpoint, step));
    // First, so that no checkpoint is without it.
    record(import, &source, &summary)?;
    checkpoint::write(&folder, &snapshot.pieces(), &belonging)?;
    Ok(Imported { checkpoint, summary })
}

fn record(import: &Import, source: &Source, summary: &[String]) -> Result<(), ImportError> {
    let name = import.file.file_name().unwrap_or_default();
    let record = Record {
        file: name.to_string_lossy().into_owned(),
        blake3: source.blake3.clone(),
        held: source.kind.phrase().to_owned(),
        // The first says where it was written.
        summary: summary[1..].to_vec(),
    };
    fs::create_dir_all(&import.to).map_err(|source| ImportError::Folder {
        to: import.to.clone(),
        source,
    })?;
    let json = record.json();
    place::put(&Record::path(&import.to), |file| file.write_all(&json?))?;
    Ok(())
}

fn require_new(to: &Path) -> Result<(), ImportError> {
    let is_file = fs::symlink_metadata(to).is_ok_and(|there| !there.is_dir());
    if is_file || OF_A_RUN.iter().any(|name| to.join(name).exists()) {
        return Err(ImportError::Taken { to: to.to_owned() });
    }
    Ok(())
}

/// The recipe, and the step at which a run goes on: the file's own where both are the file's.
fn recipe(import: &Import, source: &Source) -> Result<(Recipe, Step), ImportError> {
    if let Some(experiment) = &import.experiment {
        let read = |path: &Path| fs::read_to_string(path);
        let loaded = load(experiment, &import.sets, import.world, read)?;
        return Ok((loaded.recipe, Step(0)));
    }
    if let Some(own) = &source.own
        && import.sets.is_empty()
        && import.world.is_none()
    {
        return Ok((own.recipe.clone(), own.step));
    }
    let told = layers::network(source).map_err(|problem| ImportError::NoResnet {
        file: import.file.clone(),
        problem,
    })?;
    let sets: Vec<String> = told.into_iter().chain(import.sets.iter().cloned()).collect();
    let recipe = resolve(written::Source::Preset(USUAL), &sets, import.world)?;
    Ok((recipe, Step(0)))
}

/// The state before the first step, which the file's tensors go on top of.
fn drawn(recipe: &Recipe) -> Result<Snapshot, TorchError> {
    let world = recipe.training.world;
    let ranks: Vec<Rank> = (0..world).map(Rank).collect();
    State::initial(recipe, &ranks, Device::Cpu)?.snapshot(world, &Solo::default())
}

fn summary(
    source: &Source,
    fit: &Fit,
    belonging: &Belonging,
    (checkpoint, step): (&Path, Step),
) -> Vec<String> {
    let recipe = &belonging.recipe;
    let seed = recipe.training.seed;
    let mut lines = vec![format!(
        "wrote {}: {} tensors of a {}, {}",
        checkpoint.display(),
        fit.n_taken,
        arch(&recipe.model),
        source.kind.phrase()
    )];
    match source.kind {
        Kind::Encoder => lines.push(format!(
            "student and teacher have this encoder alike; their heads are drawn from seed {seed}, and the momentum is zero"
        )),
        Kind::Published => {
            let epoch = source.epoch.map_or_else(String::new, |epoch| format!(" after epoch {epoch}"));
            lines.push(format!(
                "student and teacher stand as they were saved{epoch}; the momentum is zero, and a run goes on from them at step {step}"
            ));
        }
        Kind::Whole => {
            let own = source.own.as_ref().filter(|own| own.recipe == *recipe && own.step == step);
            let whose = own.map_or("another recipe than", |_| "the recipe of");
            lines.push(format!(
                "all stands as it was saved; with {whose} the run it is from, a run goes on from it at step {step}"
            ));
        }
    }
    for (what, names) in [
        ("drawn, for the file lacks them", &fit.missing),
        ("left aside, for the network does not know them", &fit.extra),
        ("left aside, for nothing here needs them", &fit.aside),
    ] {
        if !names.is_empty() {
            lines.push(format!("{what}: {}", names.join(", ")));
        }
    }
    if belonging.n_samples == 0 {
        lines.push(
            "no run can go on from it, for the size of its data set is not known; --data says it".to_owned(),
        );
    }
    lines
}

#[cfg(test)]
mod tests;
