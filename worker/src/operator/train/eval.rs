//! `m2t eval`: the published linear evaluation of an encoder, as a run of the same coordinator and daemons.
//!
//! It is `m2t train` with another recipe, so it runs on many machines, goes on when some fail, checkpoints, and is continued by the same
//! command. This file finds the encoder, counts the classes and writes down what follows from both.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use m2t_common::evaluation::{EVALUATIONS_FILE, EvaluationLine, Method};
use m2t_common::manifest::{CheckpointName, MANIFEST_FILE, Manifest};
use m2t_common::recipe::load;
use m2t_data::{Cache, Index};

use super::{Refused, Shared, TrainOptions, output, train};

const EXAMPLES: &str = "\
Examples:
  m2t eval outputs/8x_v100_100e -d 0-7 --data data/imagenet/train
  m2t eval outputs/try -d cpu:2 -b 64 --data photographs/train --head moco
  m2t eval outputs/try -d cpu:2 --data photographs/train --side random --experiment-name baseline
  m2t eval outputs/try -d cpu:2 --data photographs/train --cache-features 4

Held-out images lie beside the data folder in one called val; name another with --val. Every one of them counts once,
whatever the number of devices. With MACHINE and MACHINE_TOTAL it runs on several machines, as m2t train does.

Exit codes: 0 evaluated; 2 refused input; 3 the run is lost and cannot go on; 4 stopped by hand.";

/// What `m2t eval` is asked.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct EvalOptions {
    /// A run's output folder, for its newest checkpoint, or a checkpoint's folder.
    run: PathBuf,
    /// Whose encoder.
    #[arg(long, default_value = "teacher")]
    side: Side,
    /// Which published head.
    #[arg(long, default_value = "byol")]
    head: Head,
    /// Another recipe of a linear head, in place of --head: a file ending in .toml.
    #[arg(
        short = 'f',
        long = "experiment",
        visible_alias = "exp-file",
        alias = "exp_file",
        value_name = "FILE.toml"
    )]
    experiment: Option<String>,
    /// The folder of held-out images, a folder a class [default: val beside the data folder].
    #[arg(long, value_name = "DIR")]
    val: Option<PathBuf>,
    /// Keep the encoder's features of so many epochs' views in the output folder, and train all later epochs on them without asking it
    /// again: many times faster, and not as published, where each epoch draws views of its own. Alone it means 1. Features take
    /// N x d x 4 bytes an epoch, for ImageNet and ResNet-50 10.5 GB.
    #[arg(long, value_name = "EPOCHS", num_args = 0..=1, default_missing_value = "1", value_parser = clap::value_parser!(u32).range(1..))]
    cache_features: Option<u32>,
    #[command(flatten)]
    shared: Shared,
}

/// Whose encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Side {
    /// The teacher's, with its history as statistics: what the published results are of.
    Teacher,
    /// The student's, with its running statistics.
    Student,
    /// The encoder as it was initialised, with statistics of training images: what the architecture gives for nothing.
    Random,
}

/// The published heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Head {
    /// Rate 0.2 for 256 images, cosine, 80 epochs.
    Byol,
    /// Rate 30 for 256 images, a tenth after 60 and 80 epochs, 100 epochs.
    Moco,
}

/// Evaluates, and prints the figures once they are there.
///
/// # Errors
/// [`Refused`] where options, encoder or data do not say what to do.
pub fn eval(options: &EvalOptions, out: &mut impl std::io::Write) -> anyhow::Result<ExitCode> {
    let encoder = find(&options.run)?;
    let training = options.training(&encoder)?;
    let folder = output(training.shared.experiment_name.as_deref().unwrap_or_default())?;
    let code = train(&training)?;
    if let Some(verdict) = verdict(&folder) {
        write!(out, "{verdict}")?;
    }
    Ok(code)
}

/// A checkpoint whose encoder is evaluated.
struct Found {
    folder: PathBuf,
    manifest: Manifest,
}

/// The newest checkpoint of a run, or the one that is named.
fn find(run: &Path) -> Result<Found, Refused> {
    let names = std::fs::read_dir(run.join("checkpoints"))
        .into_iter()
        .flatten()
        .filter_map(|entry| CheckpointName::parse(entry.ok()?.file_name().to_str()?));
    let complete = |name: &CheckpointName| {
        run.join("checkpoints")
            .join(name.as_str())
            .join(MANIFEST_FILE)
            .is_file()
    };
    let newest = names.filter(complete).max();
    let folder = newest.map_or_else(
        || run.to_owned(),
        |name| run.join("checkpoints").join(name.as_str()),
    );
    let text = std::fs::read_to_string(folder.join(MANIFEST_FILE)).map_err(|_| {
        Refused::new(format!(
            "{} holds no checkpoint; give a run's output folder, or the folder of one of its checkpoints",
            run.display()
        ))
    })?;
    let manifest: Manifest = serde_json::from_str(&text).map_err(|error| {
        Refused::new(format!(
            "{} is not a manifest of this version of m2t ({error}); evaluate it with the version that wrote it",
            folder.join(MANIFEST_FILE).display()
        ))
    })?;
    if manifest.recipe.training.linear.is_some() {
        return Err(Refused::new(format!(
            "{} holds a linear head, and an encoder is evaluated; give the run that trained the encoder",
            folder.display()
        )));
    }
    let folder = std::path::absolute(&folder)
        .map_err(|error| Refused::new(format!("{} is not a path: {error}", folder.display())))?;
    Ok(Found { folder, manifest })
}

impl EvalOptions {
    /// What `m2t train` would be asked.
    fn training(&self, encoder: &Found) -> Result<TrainOptions, Refused> {
        let mut shared = self.shared.clone();
        let (data, manifest) = (&shared.data, &encoder.manifest);
        let index = Index::open(data, &Cache::usual())
            .map_err(|error| Refused::new(format!("{error}; name the training images with --data")))?;
        let model = &manifest.recipe.model;
        let named = |value: serde_json::Value| value.to_string();
        let mut sets = vec![
            format!("arch={}", named(serde_json::json!(model.arch))),
            format!("channels={}", model.channels),
            format!("stem={}", named(serde_json::json!(model.stem))),
            format!("pixels={}", manifest.recipe.training.pixels),
            format!("linear.side={}", named(serde_json::json!(self.side.name()))),
            format!("linear.digest={:?}", manifest.state_digest),
            format!("linear.classes={}", index.classes().count()),
            format!("run.encoder={}", quoted(&encoder.folder)?),
        ];
        if let Some(val) = &self.val {
            let val = std::path::absolute(val)
                .map_err(|error| Refused::new(format!("--val {} is not a path: {error}", val.display())))?;
            sets.push(format!("run.evaluate_on={}", quoted(&val)?));
        }
        sets.extend(self.cache_features.map(|draws| format!("linear.draws={draws}")));
        sets.append(&mut shared.set);
        shared.set = sets;
        let head = self.head.preset();
        let experiment = self.experiment.clone().unwrap_or_else(|| head.to_owned());
        if shared.experiment_name.is_none() {
            let run = &manifest.recipe.name;
            shared.experiment_name = Some(format!("{run}-{head}-{}", self.side.name()));
        }
        let read = |path: &Path| std::fs::read_to_string(path);
        let recipe = load(&experiment, &shared.set, shared.world, read)
            .map_err(|error| Refused::new(error.to_string()))?;
        if recipe.recipe.training.linear.is_none() {
            return Err(Refused::new(format!(
                "{experiment} trains an encoder; write base = \"linear_byol\" or \"linear_moco\" in it, or train with m2t train"
            )));
        }
        Ok(TrainOptions { experiment, shared })
    }
}

/// As a TOML string.
fn quoted(path: &Path) -> Result<String, Refused> {
    let text = path.to_str().ok_or_else(|| {
        Refused::new(format!(
            "{} is not UTF-8; choose a path that every machine can name",
            path.display()
        ))
    })?;
    Ok(serde_json::json!(text).to_string())
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Self::Teacher => "teacher",
            Self::Student => "student",
            Self::Random => "random",
        }
    }
}

impl Head {
    fn preset(self) -> &'static str {
        match self {
            Self::Byol => "linear_byol",
            Self::Moco => "linear_moco",
        }
    }
}

/// The last and the best figure of a linear evaluation, for people; none before the first.
fn verdict(folder: &Path) -> Option<String> {
    let text = std::fs::read_to_string(folder.join(EVALUATIONS_FILE)).ok()?;
    let lines: Vec<EvaluationLine> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|line: &EvaluationLine| line.method == Method::Linear)
        .collect();
    let (last, mut best) = (lines.last()?, lines.first()?);
    for line in &lines {
        if line.n_correct > best.n_correct {
            best = line;
        }
    }
    let mut text = String::new();
    for (name, line) in [("last", last), ("best", best)] {
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "{name}  {:.2} % top-1, {:.2} % top-5 of {} held-out images, after epoch {}",
            100.0 * line.top1,
            100.0 * line.top5,
            line.n_images,
            line.epoch
        );
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use m2t_common::Generation;
    use m2t_common::Step;
    use m2t_common::evaluation::Side;

    use super::*;

    fn line(epoch: u64, method: Method, n_correct: u64) -> String {
        let line = EvaluationLine {
            step: Step(epoch * 10),
            epoch,
            generation: Generation(1),
            encoder: Side::Teacher,
            method,
            top1: n_correct as f64 / 200.0,
            top5: 0.95,
            n_correct,
            n_correct5: 190,
            n_images: 200,
            n_memory: 1000,
            seconds: 1.0,
            settings: None,
        };
        serde_json::to_string(&line).unwrap()
    }

    #[test]
    fn the_last_and_the_best_figure_of_the_head_are_told() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(verdict(folder.path()), None);
        let lines = [
            line(10, Method::Linear, 80),
            line(20, Method::Linear, 120),
            line(30, Method::Linear, 120),
            line(40, Method::Linear, 100),
            line(40, Method::Knn, 150),
            "{\"step\":".to_owned(),
        ];
        std::fs::write(folder.path().join(EVALUATIONS_FILE), lines.join("\n")).unwrap();
        let expected = "last  50.00 % top-1, 95.00 % top-5 of 200 held-out images, after epoch 40\n\
                        best  60.00 % top-1, 95.00 % top-5 of 200 held-out images, after epoch 20\n";
        assert_eq!(verdict(folder.path()).as_deref(), Some(expected));
    }

    #[test]
    fn a_folder_without_a_checkpoint_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refused = find(folder.path()).map(|found| found.folder).unwrap_err();
        assert!(refused.to_string().contains("holds no checkpoint"), "{refused}");
        std::fs::write(folder.path().join(MANIFEST_FILE), "{}").unwrap();
        let refused = find(folder.path()).map(|found| found.folder).unwrap_err();
        assert!(refused.to_string().contains("is not a manifest"), "{refused}");
    }
}
