//! What was written: TOML tables laid over each other, and the way from there to a [`Recipe`].

use serde::Deserialize;
use toml::{Table, Value};

use super::{
    Arch, Augment, Dtype, Length, Model, Operation, OptimizerKind, Recipe, Reduction, Stem,
    TeacherStatistics, Training, presets,
};
use crate::schedule::LearningRateCourse;

/// Why a recipe was refused. Each says what was wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum RecipeError {
    #[error("experiment {name} is not valid TOML: {source}")]
    Parse {
        name: String,
        source: Box<toml::de::Error>,
    },
    #[error("no preset is called {name:?}; there are {}", presets::names().join(", "))]
    UnknownPreset { name: String },
    #[error("`base` in experiment {name} must be the name of a preset, as in base = \"8x_v100_100e\"")]
    BadBase { name: String },
    #[error("--set {text:?} is not of the form key=value")]
    BadSet { text: String },
    #[error("recipe {name}: {message}")]
    Keys { name: String, message: String },
    #[error("recipe {name}: {key} = {value}: {problem}")]
    Value {
        name: String,
        key: &'static str,
        value: String,
        problem: String,
    },
}

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

/// Lays defaults, preset, experiment and `sets` over each other, lets `world` win where given, and validates.
pub fn resolve(source: Source<'_>, sets: &[String], world: Option<u32>) -> Result<Recipe, RecipeError> {
    let (name, mut top) = match source {
        Source::Preset(name) => (name, preset(name)?),
        Source::Experiment { name, toml } => (name, experiment(name, toml)?),
    };
    for set in sets {
        lay_over(&mut top, parse_set(set)?);
    }
    if let Some(world) = world {
        top.insert("world".to_owned(), Value::Integer(i64::from(world)));
    }
    let mut table = presets::defaults();
    lay_over(&mut table, top);
    let written = Written::deserialize(table).map_err(|e| RecipeError::Keys {
        name: name.to_owned(),
        message: e.to_string().trim_end().to_owned(),
    })?;
    written.meant(name)
}

fn preset(name: &str) -> Result<Table, RecipeError> {
    presets::find(name).ok_or_else(|| RecipeError::UnknownPreset {
        name: name.to_owned(),
    })
}

fn experiment(name: &str, toml: &str) -> Result<Table, RecipeError> {
    let mut own: Table = toml.parse().map_err(|e| RecipeError::Parse {
        name: name.to_owned(),
        source: Box::new(e),
    })?;
    let mut table = match own.remove("base") {
        None => Table::new(),
        Some(Value::String(base)) => preset(&base)?,
        Some(_) => {
            return Err(RecipeError::BadBase {
                name: name.to_owned(),
            });
        }
    };
    lay_over(&mut table, own);
    Ok(table)
}

/// `a.b=value` as a table. The value is TOML; what is not TOML is taken as text, so that quotes may be left out.
fn parse_set(text: &str) -> Result<Table, RecipeError> {
    let bad = || RecipeError::BadSet {
        text: text.to_owned(),
    };
    let (key, value) = text.split_once('=').ok_or_else(bad)?;
    let (key, value) = (key.trim(), value.trim());
    if key
        .split('.')
        .any(|part| part.is_empty() || part.contains(|c: char| !c.is_alphanumeric() && c != '_'))
    {
        return Err(bad());
    }
    let parse = |value: &str| format!("{key} = {value}").parse::<Table>();
    parse(value)
        .or_else(|_| parse(&Value::String(value.to_owned()).to_string()))
        .map_err(|_| bad())
}

fn lay_over(below: &mut Table, above: Table) {
    // `epochs` and `steps` say the same thing; the upper one wins.
    for (key, other) in [("epochs", "steps"), ("steps", "epochs")] {
        if above.contains_key(key) && !above.contains_key(other) {
            below.remove(other);
        }
    }
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => lay_over(below, above),
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}

#[derive(Deserialize)]
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
    threads_per_device: u32,
    seed: u64,
    augment: Augment,
    run: Operation,
}

impl Written {
    fn meant(self, name: &str) -> Result<Recipe, RecipeError> {
        let check = Check { name };
        let length = match (self.epochs, self.steps) {
            (Some(_), Some(_)) => {
                return check.refuse("steps", "both `epochs` and `steps`", "name one of the two");
            }
            (Some(epochs), None) => Length::Epochs(epochs),
            (None, steps) => Length::Steps(steps.unwrap_or(0)),
        };
        self.check(&check, length)?;
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
        if !self.milestones.is_sorted() {
            return check.refuse("milestones", format!("{:?}", self.milestones), "must ascend");
        }
        self.check_views(check)?;
        check.within("run.keep_checkpoints", self.run.keep_checkpoints, 1, 1_000_000)?;
        check.within("run.loader_threads", self.run.loader_threads, 1, 1024)?;
        check.within("run.loader_ahead", self.run.loader_ahead, 1, 1024)?;
        check.within("run.replaced_limit", self.run.replaced_limit, 0.0, 1.0)?;
        check.within(
            "run.heartbeat_timeout",
            self.run.heartbeat_timeout.as_secs_f64(),
            0.1,
            3600.0,
        )
    }

    fn check_batch(&self, check: &Check<'_>) -> Result<(), RecipeError> {
        if !self.batch.is_multiple_of(self.world) {
            let nearest = (self.batch / self.world).max(2) * self.world;
            let problem = format!(
                "does not divide by world = {}; the nearest batch below is {nearest}",
                self.world
            );
            return check.refuse("batch", self.batch, problem);
        }
        if self.batch / self.world < 2 {
            let problem = format!(
                "leaves {} image a rank for world = {}; BatchNorm needs at least 2, so raise the batch to {}",
                self.batch / self.world,
                self.world,
                2 * self.world
            );
            return check.refuse("batch", self.batch, problem);
        }
        Ok(())
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
            check.within(key, range[1], range[0], high)?;
        }
        Ok(())
    }
}

/// What manifests written before the key was there meant.
pub(super) fn published_replaced_limit() -> f64 {
    0.001
}

/// Refusals that name the recipe.
struct Check<'a> {
    name: &'a str,
}

impl Check<'_> {
    fn within<T: PartialOrd + Copy + std::fmt::Display>(
        &self,
        key: &'static str,
        value: T,
        low: T,
        high: T,
    ) -> Result<(), RecipeError> {
        // A NaN is within no bounds.
        if value >= low && value <= high {
            return Ok(());
        }
        self.refuse(key, value, format!("must lie between {low} and {high}"))
    }

    fn refuse<T>(
        &self,
        key: &'static str,
        value: impl std::fmt::Display,
        problem: impl Into<String>,
    ) -> Result<T, RecipeError> {
        Err(RecipeError::Value {
            name: self.name.to_owned(),
            key,
            value: value.to_string(),
            problem: problem.into(),
        })
    }
}

/// Durations as people write them: "250ms", "10s", "5m", "1h".
pub(super) mod duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{}ms", duration.as_millis()))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).ok_or_else(|| {
            D::Error::custom(format!(
                "{text:?} is no duration; write it as \"250ms\", \"10s\", \"5m\" or \"1h\""
            ))
        })
    }

    fn parse(text: &str) -> Option<Duration> {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = (text[..digits].parse::<u64>().ok()?, text[digits..].trim());
        let milliseconds = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        Some(Duration::from_millis(number.checked_mul(milliseconds)?))
    }
}
