//! A checkpoint's encoder as a safetensors file that torchvision and timm load.
//!
//! Only the encoder goes out: no head, no predictor, no momentum. Nothing is folded or approximated, so a network that loads
//! the file gives the trainer's own features. With local statistics, rank 0's are taken, as in every evaluation. It reads
//! checkpoints only; a run may go on meanwhile.
//!
//! Why the same names for both libraries: the trainer's tensors bear torchvision's names, and timm's ResNets of these
//! depths bear them too. `--names` says whose class the file is for, in its metadata and in what is said of misfits.

mod about;
mod place;

use std::path::{Path, PathBuf};

use m2t_common::manifest::MANIFEST_FILE;
use m2t_common::recipe::{Recipe, TeacherStatistics};
use m2t_common::{Rank, Step};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use crate::checkpoint::{self, CheckpointError};
use crate::model::Network;
use crate::state::Snapshot;
use crate::state::snapshot::NamedBytes;
use about::{arch, metadata, misfit};
pub use place::PlaceError;

/// What `--help` says below the options.
pub const LOADING: &str = r#"Load it in Python:

    import safetensors.torch, timm, torch, torchvision
    weights = safetensors.torch.load_file("encoder.safetensors")

    encoder = torchvision.models.resnet50()
    encoder.load_state_dict(weights, strict=False)  # misses fc.weight and fc.bias only
    encoder.fc = torch.nn.Identity()                # features [N, 2048] instead of classes
    encoder.eval()

    encoder = timm.create_model("resnet50", num_classes=0)
    encoder.load_state_dict(weights)

Images are RGB between 0 and 1, less `mean` and over `std` of the file's metadata:

    with safetensors.safe_open("encoder.safetensors", "pt") as file:
        print(file.metadata())

A recipe with stem = "small" has another first layer; with channels = 64, give torchvision's class that one before loading:

    encoder.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)
    encoder.maxpool = torch.nn.Identity()

Where each rank has statistics of its own (teacher_statistics = "local"), rank 0's are written, as in `m2t knn`."#;

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

/// What to export, and where to.
#[derive(Clone, Copy, Debug)]
pub struct Export<'a> {
    /// A checkpoint's folder, or a run's output folder for its newest.
    pub run: &'a Path,
    /// The file to write.
    pub to: &'a Path,
    /// Which network's encoder.
    pub side: Side,
    /// Whose names.
    pub names: Names,
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
    fn name(self) -> &'static str {
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

/// Writes the encoder's file, whole or not at all.
///
/// # Errors
/// When there is no sound checkpoint, or the file cannot be written; an older file is then as it was.
pub fn export(export: &Export<'_>) -> Result<Exported, ExportError> {
    place::require(export.to)?;
    let folder = checkpoint::find(export.run);
    if !folder.join(MANIFEST_FILE).is_file() && folder == export.run {
        return Err(ExportError::NoCheckpoint { run: folder });
    }
    let (manifest, mut snapshot) = checkpoint::read(&folder)?;
    let tensors = encoder(&manifest.recipe, &mut snapshot, export.side).map_err(|source| {
        let checkpoint = folder;
        ExportError::Foreign { checkpoint, source }
    })?;
    let views = tensors.iter().map(|(name, tensor)| {
        let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes);
        (name, view.expect("a tensor has as many bytes as its shape says"))
    });
    let file = safetensors::serialize(views, Some(metadata(&manifest, export)))
        .expect("names are unique, and the header of an encoder is small");
    place::put(export.to, &file)?;
    Ok(Exported {
        summary: format!(
            "wrote {}: the {}'s {} at step {}, {} tensors, {:.1} MB",
            export.to.display(),
            export.side.name(),
            arch(&manifest.recipe.model),
            manifest.step,
            tensors.len(),
            file.len() as f64 / 1e6
        ),
        misfit: misfit(&manifest.recipe.model, export.names),
    })
}

/// The encoder's tensors as float32, taken out of the snapshot.
fn encoder(recipe: &Recipe, snapshot: &mut Snapshot, side: Side) -> Result<Vec<Named>, Lack> {
    let network = Network::new(&recipe.model);
    let extent = network.encoder_extent;
    let side = side.name();
    let history = match recipe.training.teacher_statistics {
        TeacherStatistics::Global => side.to_owned(),
        TeacherStatistics::Local => format!("rank{}.{side}", Rank(0)),
    };
    let step = snapshot.step;
    let mut take = |prefix: &str, name: String, shape: &[i64]| {
        let shape: Vec<usize> = shape.iter().map(|&side| side.unsigned_abs() as usize).collect();
        match snapshot.tensors.remove(&format!("{prefix}.{name}")) {
            Some(tensor) if tensor.shape == shape => Ok((name, single(tensor))),
            _ => Err(Lack {
                name: format!("{prefix}.{name}"),
                shape,
            }),
        }
    };
    let mut tensors = Vec::new();
    for parameter in &network.layout.parameters[..extent.n_parameters] {
        tensors.push(take(side, parameter.name.clone(), &parameter.shape)?);
    }
    for layer in &network.layout.norms[..extent.n_norms] {
        for what in ["running_mean", "running_var"] {
            tensors.push(take(
                &history,
                format!("{}.{what}", layer.name),
                &[layer.channels],
            )?);
        }
        tensors.push((format!("{}.num_batches_tracked", layer.name), count(step)));
    }
    Ok(tensors)
}

/// In float32, whatever the run computed in.
fn single(tensor: NamedBytes) -> NamedBytes {
    if tensor.dtype != Dtype::F64 {
        return tensor;
    }
    let (values, _) = tensor.bytes.as_chunks();
    NamedBytes {
        dtype: Dtype::F32,
        bytes: values
            .iter()
            .flat_map(|value| (f64::from_le_bytes(*value) as f32).to_le_bytes())
            .collect(),
        ..tensor
    }
}

/// torchvision's `num_batches_tracked`, a scalar that evaluation does not use: the steps.
fn count(step: Step) -> NamedBytes {
    NamedBytes {
        dtype: Dtype::I64,
        shape: Vec::new(),
        bytes: step.0.to_le_bytes().to_vec(),
    }
}

#[cfg(test)]
mod tests;
