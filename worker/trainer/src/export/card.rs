//! The card of an exported file: what it is, where it is from, what it is worth and how it is loaded, for a person who was given the
//! file alone. Markdown, with the beginning that model hubs read.

use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use m2t_common::Step;
use m2t_common::manifest::Manifest;
use m2t_common::recipe::Length;
use m2t_data::augment::{MEAN, STD};
use serde_json::Value;

use super::about::arch;
use super::newest::Newest;
use super::place::{self, PlaceError};
use super::{Export, Format, What};
use crate::import::Record;

/// How each begins. A file that begins otherwise is somebody else's.
const BEGINNING: &str = "---\ntags: [self-supervised, resnet, momentum2-teacher]\n---\n";

/// Where the card of a file goes: beside it, with the ending `.md`.
///
/// # Errors
/// When something else lies there.
pub(super) fn place(file: &Path) -> Result<PathBuf, PlaceError> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let endings = [".pth.tar", ".safetensors", ".pth", ".pt"];
    let stem = endings.iter().find_map(|ending| name.strip_suffix(ending));
    let card = file.with_file_name(format!("{}.md", stem.unwrap_or(&name)));
    place::require(&card)?;
    let mut beginning = vec![0; BEGINNING.len()];
    match File::open(&card).map(|mut there| there.read_exact(&mut beginning)) {
        Err(_) => Ok(card),
        Ok(Ok(())) if beginning == BEGINNING.as_bytes() => Ok(card),
        Ok(_) => Err(PlaceError::NoCard { card }),
    }
}

/// The card's text.
pub(super) fn write(export: &Export, format: Format, manifest: &Manifest, newest: &Newest) -> String {
    let mut text = BEGINNING.to_owned();
    let file = export.to.file_name().unwrap_or_default().to_string_lossy();
    let arch = arch(&manifest.recipe.model);
    let what = match export.what {
        What::Encoder => format!("the {}'s encoder, a {arch}", export.side().name()),
        What::All => {
            format!("the whole state of a {arch}'s run: student, teacher, heads, statistics, momentum")
        }
    };
    let trained = format!(
        "pretrained without labels by Momentum² Teacher (arXiv 2101.07525) with m2t {}",
        env!("CARGO_PKG_VERSION")
    );
    let made = match &newest.imported {
        None => trained,
        // Nothing was trained yet.
        Some(from) if manifest.step == Step(0) => began(from),
        Some(from) => format!("{trained}, {}", began(from)),
    };
    // Writing to a String does not fail.
    let _ = write!(text, "\n# {file}\n\nThis is {what}, {made}.\n");
    for (title, rows) in [
        ("Where it is from", origin(manifest)),
        ("What it is worth", worth(newest)),
    ] {
        let _ = write!(text, "\n## {title}\n\n{rows}");
    }
    let _ = write!(
        text,
        "\n## How to load it\n\n{}",
        loading(export, format, &file, &arch)
    );
    if let Some(misfit) = super::misfit_of(export, manifest) {
        let _ = write!(text, "\nNote: {misfit}.\n");
    }
    let _ = write!(
        text,
        "\nImages are RGB between 0 and 1, less the mean {MEAN:?} and over the standard deviation {STD:?}, at {} × {0} pixels.\n",
        manifest.recipe.training.pixels
    );
    let _ = write!(text, "\n## Recipe\n\n```json\n{}\n```\n", recipe(manifest));
    text
}

/// Whose weights they were.
fn began(from: &Record) -> String {
    let Record {
        file, held, blake3, ..
    } = from;
    format!("from weights that were imported: {held}, out of `{file}` (BLAKE3 `{blake3}`)")
}

fn row(rows: &mut String, name: &str, value: &str) {
    let _ = writeln!(rows, "| {name} | {value} |");
}

fn origin(manifest: &Manifest) -> String {
    let (recipe, training) = (&manifest.recipe, &manifest.recipe.training);
    let mut rows = "| | |\n| --- | --- |\n".to_owned();
    row(&mut rows, "recipe", &recipe.name);
    let batch = recipe.global_batch();
    let length = match training.length {
        Length::Epochs(epochs) => format!("{epochs} epochs"),
        Length::Steps(steps) => format!("{steps} steps"),
    };
    row(&mut rows, "step", &format!("{} of {length}", manifest.step));
    let per_epoch = manifest.n_samples.checked_div(batch).filter(|&n| n > 0);
    if let Some(per_epoch) = per_epoch {
        let epochs = manifest.step.0 as f64 / per_epoch as f64;
        row(
            &mut rows,
            "epochs",
            &format!("{epochs:.2}, of {per_epoch} steps each"),
        );
    }
    row(
        &mut rows,
        "batch",
        &format!(
            "{batch} images: {} ranks of {}",
            training.world, training.batch_per_rank
        ),
    );
    let images = match manifest.n_samples {
        0 => "not known".to_owned(),
        n => n.to_string(),
    };
    row(&mut rows, "images in the data set", &images);
    row(
        &mut rows,
        "digest of the recipe",
        &format!("`{}`", manifest.recipe_digest),
    );
    row(
        &mut rows,
        "digest of the state",
        &format!("`{}`", manifest.state_digest),
    );
    rows
}

fn worth(newest: &Newest) -> String {
    let mut rows = "| measured | at step | value |\n| --- | --- | --- |\n".to_owned();
    let number = |line: &Value, key: &str| line[key].as_f64();
    if let Some(line) = &newest.metrics {
        for (name, key) in [("loss", "loss"), ("learning rate", "learning_rate")] {
            if let Some(value) = number(line, key) {
                let _ = writeln!(rows, "| {name} | {} | {value:.6} |", line["step"]);
            }
        }
    }
    for ((encoder, method), line) in &newest.evaluations {
        for (name, key) in [("top-1", "top1"), ("top-5", "top5")] {
            if let Some(share) = number(line, key) {
                let n = line["n_images"].as_u64();
                let of = n.map_or_else(String::new, |n| format!(" of {n} images"));
                let share = 100.0 * share;
                let _ = writeln!(
                    rows,
                    "| {encoder}, {method}, {name} | {} | {share:.2} %{of} |",
                    line["step"]
                );
            }
        }
    }
    if newest.metrics.is_none() && newest.evaluations.is_empty() {
        return "The run's metrics were not beside the checkpoint.\n".to_owned();
    }
    if newest.evaluations.is_empty() {
        rows.push_str("\nIt was not evaluated while it was trained; `m2t knn` does.\n");
    }
    rows
}

fn loading(export: &Export, format: Format, file: &str, arch: &str) -> String {
    let load = match format {
        Format::Safetensors => {
            format!("import safetensors.torch\nweights = safetensors.torch.load_file(\"{file}\")")
        }
        Format::Pth => format!("import torch\nweights = torch.load(\"{file}\", weights_only=True)"),
    };
    let network = match export.what {
        What::Encoder => format!(
            "\n\nimport torch, torchvision\nencoder = torchvision.models.{arch}()\n\
             encoder.load_state_dict(weights, strict=False)  # misses fc.weight and fc.bias only\n\
             encoder.fc = torch.nn.Identity()\nencoder.eval()\n\n\
             import timm\nencoder = timm.create_model(\"{arch}\", num_classes=0)\nencoder.load_state_dict(weights)"
        ),
        What::All => String::new(),
    };
    format!("```python\n{load}{network}\n```\n")
}

fn recipe(manifest: &Manifest) -> String {
    serde_json::to_string_pretty(&manifest.recipe).expect("a recipe is plain data")
}
