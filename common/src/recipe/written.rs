//! What was written: TOML tables laid over each other, and the way from there to a [`Recipe`].
//!
//! Files are read by the caller; nothing here does I/O.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::check::Check;
use super::error::RecipeError;
use super::layers::{Layers, leaves};
use super::origin::Origin;
use super::reading::Reader;
use super::{
    Arch, Augment, AugmentOn, Dtype, Length, Linear, Model, Operation, OptimizerKind, Recipe, Reduction,
    Stem, TeacherStatistics, Training, presets,
};
use crate::schedule::LearningRateCourse;
use crate::waits::Waits;

/// Where a recipe comes from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// A published run.
    Preset(&'a str),
    /// The text of an experiment file and the name to call it by.
    Experiment {
        /// The file's stem.
        name: &'a str,
        /// Its content.
        toml: &'a str,
    },
}

/// A recipe, and for each of its keys who wrote the value.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// The recipe.
    pub recipe: Recipe,
    /// Its keys as they are written, in the order of the defaults. As lines of TOML they make the same recipe again.
    pub entries: Vec<Entry>,
}

/// A key of a resolved recipe.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// With dots for tables: `augment.hue`.
    pub key: String,
    /// Its value.
    pub value: Value,
    /// Who wrote it.
    pub origin: Origin,
}

impl Entry {
    /// The value as TOML, small numbers as people write them: 1e-6.
    pub fn value_text(&self) -> String {
        match self.value {
            Value::Float(number) if number != 0.0 && number.abs() < 1e-3 => format!("{number:e}"),
            ref other => other.to_string(),
        }
    }
}

/// Lays defaults, preset, experiment and `sets` over each other, lets `world` win where given, and validates.
///
/// # Errors
/// [`RecipeError`] names what was refused, in which layer, and the way out.
pub fn resolve(source: Source<'_>, sets: &[String], world: Option<u32>) -> Result<Recipe, RecipeError> {
    trace(source, sets, world).map(|resolved| resolved.recipe)
}

/// [`resolve`], with the origin of every value.
///
/// # Errors
/// As [`resolve`].
pub fn trace(source: Source<'_>, sets: &[String], world: Option<u32>) -> Result<Resolved, RecipeError> {
    let mut layers = Layers::new();
    let name = match source {
        Source::Preset(name) => {
            layers.preset(name, None)?;
            name
        }
        Source::Experiment { name, toml } => {
            layers.experiment(name, toml)?;
            name
        }
    };
    for set in sets {
        layers.set(set)?;
    }
    if let Some(world) = world {
        layers.world(world);
    }
    let table = Value::Table(layers.table.clone());
    let written = Written::deserialize(Reader(&table)).map_err(|misread| layers.refusal(misread))?;
    let entries = written.entries(&layers);
    let recipe = written.meant(name, &layers)?;
    Ok(Resolved { recipe, entries })
}

/// Resolves what a command line names: a file ending in `.toml`, which `read` reads; a preset; or a preset by the path of its published
/// experiment file ([`presets::published`]).
///
/// # Errors
/// As [`resolve`]; and where `read` fails.
pub fn load(
    named: &str,
    sets: &[String],
    world: Option<u32>,
    read: impl FnOnce(&Path) -> std::io::Result<String>,
) -> Result<Resolved, RecipeError> {
    let path = Path::new(named);
    if path.extension().is_none_or(|extension| extension != "toml") {
        let name = presets::published(named).unwrap_or(named);
        return trace(Source::Preset(name), sets, world);
    }
    let toml = read(path).map_err(|source| RecipeError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    let name = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or("experiment");
    trace(Source::Experiment { name, toml: &toml }, sets, world)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    arch: Arch,
    channels: u32,
    stem: Stem,
    hidden_dim: u32,
    low_dim: u32,
    world: u32,
    batch: u32,
    pixels: u32,
    dtype: Dtype,
    epochs: Option<u64>,
    steps: Option<u64>,
    warmup_epochs: u64,
    lr_schedule: LearningRateCourse,
    milestones: Vec<u64>,
    lr256: f64,
    optimizer: OptimizerKind,
    momentum: f64,
    weight_decay: f64,
    trust_coefficient: f64,
    parameter_momentum: f64,
    teacher_statistics: TeacherStatistics,
    reduction: Reduction,
    augment_on: AugmentOn,
    threads_per_device: u32,
    seed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    linear: Option<Linear>,
    augment: Augment,
    run: Operation,
}

impl Written {
    /// As keys and values in canonical form: numbers in the type of their key, durations in their largest unit.
    fn entries(&self, layers: &Layers) -> Vec<Entry> {
        let table = Table::try_from(self).expect("a recipe is plain data");
        let leaves = leaves(&table).into_iter();
        leaves
            .map(|(key, value)| Entry {
                origin: layers.origin(&key),
                key,
                value,
            })
            .collect()
    }

    fn meant(self, name: &str, layers: &Layers) -> Result<Recipe, RecipeError> {
        let length = match (self.epochs, self.steps) {
            (Some(epochs), _) => Length::Epochs(epochs),
            (None, steps) => Length::Steps(steps.unwrap_or(0)),
        };
        self.check(&Check { layers }, length)?;
        Ok(Recipe {
            name: name.to_owned(),
            model: Model {
                arch: self.arch,
                channels: self.channels,
                stem: self.stem,
                hidden_dim: self.hidden_dim,
                low_dim: self.low_dim,
            },
            training: Training {
                world: self.world,
                batch_per_rank: self.batch / self.world,
                pixels: self.pixels,
                dtype: self.dtype,
                length,
                warmup_epochs: self.warmup_epochs,
                course: self.lr_schedule,
                milestone_epochs: self.milestones,
                lr256: self.lr256,
                optimizer: self.optimizer,
                momentum: self.momentum,
                weight_decay: self.weight_decay,
                trust_coefficient: self.trust_coefficient,
                parameter_momentum: self.parameter_momentum,
                teacher_statistics: self.teacher_statistics,
                reduction: self.reduction,
                linear: self.linear,
                augment_on: self.augment_on,
                threads_per_device: self.threads_per_device,
                seed: self.seed,
            },
            augment: self.augment,
            run: self.run,
        })
    }

    fn check(&self, check: &Check<'_>, length: Length) -> Result<(), RecipeError> {
        match length {
            Length::Epochs(n) => check.within("epochs", n, 1, 1_000_000)?,
            Length::Steps(n) => check.within("steps", n, 1, 1_000_000_000)?,
        }
        check.within("channels", self.channels, 1, 1024)?;
        check.within("hidden_dim", self.hidden_dim, 1, 1 << 16)?;
        check.within("low_dim", self.low_dim, 1, 1 << 16)?;
        check.within("pixels", self.pixels, 8, 4096)?;
        check.within("world", self.world, 1, 1 << 16)?;
        check.within("threads_per_device", self.threads_per_device, 1, 1024)?;
        self.check_batch(check)?;
        check.within("lr256", self.lr256, 0.0, 1e6)?;
        check.within("momentum", self.momentum, 0.0, 1.0)?;
        check.within("weight_decay", self.weight_decay, 0.0, 1.0)?;
        check.within("trust_coefficient", self.trust_coefficient, 0.0, 1e6)?;
        check.within("parameter_momentum", self.parameter_momentum, 0.0, 1.0)?;
        self.check_course(check, length)?;
        self.check_views(check)?;
        self.check_evaluation(check)?;
        check.within("run.keep_checkpoints", self.run.keep_checkpoints, 1, 1_000_000)?;
        check.within("run.loader_threads", self.run.loader_threads, 1, 1024)?;
        check.within("run.loader_ahead", self.run.loader_ahead, 1, 1024)?;
        self.check_read_timeout(check)?;
        check.within("run.replaced_limit", self.run.replaced_limit, 0.0, 1.0)?;
        check.within("run.restarts", self.run.restarts, 0, 1_000_000)?;
        check.within("run.replica_check", self.run.replica_check, 0, 1_000_000_000)?;
        let (shortest, longest) = (Duration::from_millis(100), Duration::from_secs(3600));
        if !(shortest..=longest).contains(&self.run.heartbeat_timeout) {
            return check.refuse(
                "run.heartbeat_timeout",
                &[],
                "must lie between \"100ms\" and \"1h\"",
            );
        }
        Ok(())
    }

    fn check_evaluation(&self, check: &Check<'_>) -> Result<(), RecipeError> {
        check.within("run.evaluate_every", self.run.evaluate_every, 1, 1_000_000)?;
        check.within("run.knn_k", self.run.knn_k, 1, 10_000)?;
        check.within("run.knn_temperature", self.run.knn_temperature, 1e-3, 1e3)?;
        self.linear.as_ref().map_or(Ok(()), |linear| linear.check(check))
    }

    /// A read that hangs is to be tried again before the step it belongs to is given up.
    fn check_read_timeout(&self, check: &Check<'_>) -> Result<(), RecipeError> {
        let (shortest, longest) = (
            Duration::from_millis(100),
            Waits::of(self.run.heartbeat_timeout).step(),
        );
        if (shortest..=longest).contains(&self.run.read_timeout) {
            return Ok(());
        }
        let problem = format!(
            "must lie between \"100ms\" and the shortest deadline of a step, which is {} s with {}",
            longest.as_secs_f64(),
            check.cite("run.heartbeat_timeout")
        );
        check.refuse("run.read_timeout", &["run.heartbeat_timeout"], problem)
    }

    fn check_batch(&self, check: &Check<'_>) -> Result<(), RecipeError> {
        let (batch, world) = (u64::from(self.batch), u64::from(self.world));
        let problem = if batch / world < 2 {
            format!(
                "makes BatchNorm groups of {} for {}; a group needs at least 2 images, so raise the batch to {}",
                batch / world,
                check.cite("world"),
                2 * world
            )
        } else if !batch.is_multiple_of(world) {
            format!(
                "does not divide by {}; the nearest batch below is {}",
                check.cite("world"),
                batch / world * world
            )
        } else {
            return Ok(());
        };
        check.refuse("batch", &["world"], problem)
    }

    /// What can be told of the schedule without knowing the data; the rest is `Recipe::plan`'s.
    fn check_course(&self, check: &Check<'_>, length: Length) -> Result<(), RecipeError> {
        if !self.milestones.is_sorted_by(|one, next| one < next) {
            return check.refuse("milestones", &[], "must ascend, each epoch once");
        }
        let Length::Epochs(epochs) = length else {
            return Ok(());
        };
        match self.lr_schedule {
            LearningRateCourse::WarmupCosine if self.warmup_epochs > epochs => {
                let problem = format!(
                    "is longer than the run of {}; lower warmup_epochs, as to {}, or train longer",
                    check.cite("epochs"),
                    epochs / 10
                );
                check.refuse("warmup_epochs", &["epochs", "lr_schedule"], problem)
            }
            LearningRateCourse::Multistep if self.milestones.last().is_some_and(|last| *last >= epochs) => {
                let problem = format!(
                    "does not end before {}; write the epochs at which the rate drops, from 1 to {}",
                    check.cite("epochs"),
                    epochs - 1
                );
                check.refuse("milestones", &["epochs", "lr_schedule"], problem)
            }
            _ => Ok(()),
        }
    }

    fn check_views(&self, check: &Check<'_>) -> Result<(), RecipeError> {
        let views = &self.augment;
        let probabilities = [
            ("augment.jitter_p", views.jitter_p),
            ("augment.grayscale_p", views.grayscale_p),
            ("augment.flip_p", views.flip_p),
            ("augment.blur_p", views.blur_p[0]),
            ("augment.blur_p", views.blur_p[1]),
            ("augment.solarize_p", views.solarize_p[0]),
            ("augment.solarize_p", views.solarize_p[1]),
            ("augment.brightness", views.brightness),
            ("augment.contrast", views.contrast),
            ("augment.saturation", views.saturation),
        ];
        for (key, value) in probabilities {
            check.within(key, value, 0.0, 1.0)?;
        }
        check.within("augment.hue", views.hue, 0.0, 0.5)?;
        let ranges = [
            ("augment.crop_area", views.crop_area, 1e-3, 1.0),
            ("augment.crop_ratio", views.crop_ratio, 0.1, 10.0),
            ("augment.blur_sigma", views.blur_sigma, 0.0, 100.0),
        ];
        for (key, range, low, high) in ranges {
            check.within(key, range[0], low, high)?;
            check.within(key, range[1], low, high)?;
            check.ordered(key, range)?;
        }
        Ok(())
    }
}

/// The share of damaged files that is borne unless told otherwise; what manifests from before the key was there meant.
pub const REPLACED_LIMIT: f64 = 0.001;

/// How often a device's trainer may fail within [`restart_window`], likewise.
pub(super) fn restarts() -> u32 {
    5
}

/// The time in which failures are counted, likewise.
pub(super) fn restart_window() -> Duration {
    Duration::from_secs(600)
}

/// How long reading a file may take, likewise. Short enough that two reads fit into the shortest deadline of a step.
pub(super) fn read_timeout() -> Duration {
    Duration::from_secs(10)
}

/// Steps between two comparisons of all devices' states, likewise.
pub(super) fn replica_check() -> u64 {
    500
}

pub(super) fn replaced_limit() -> f64 {
    REPLACED_LIMIT
}
