//! A recipe: everything that decides the mathematics of a run, and how it is carried out.
//!
//! Two stages. What is *written* is a stack of TOML tables: the defaults, a preset, an experiment file, `--set` (see
//! [`written`]). What is *meant* is [`Recipe`]: validated, in useful types, complete. Only `Recipe` leaves this module.
//! Its digest covers what can change a bit of the result ([`Model`], [`Training`], [`Augment`]) and not how the run is
//! operated, so that a resume may check-point more often but not train at another rate.

pub mod presets;
pub mod written;

mod augment;
mod check;
mod duration;
mod error;
mod layers;
mod linear;
mod nearest;
mod operation;
mod origin;
mod reading;
mod refusal;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::Step;
use crate::schedule::{LearningRateCourse, Schedule};
use crate::shard::{Draws, Shards};
pub use augment::{Augment, AugmentOn};
pub use error::RecipeError;
pub use linear::Linear;
pub use operation::{Evaluate, LIGHT_HELD_OUT, LIGHT_MEMORY, LedgerDetail, Operation};
pub use origin::Origin;
pub use written::{Entry, REPLACED_LIMIT, Resolved, load, resolve, trace};

/// A complete, validated recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// The experiment's name: a preset's, or the file's stem.
    pub name: String,
    /// The networks.
    pub model: Model,
    /// What is computed in a step, and how often.
    pub training: Training,
    /// The two views.
    pub augment: Augment,
    /// How the run is carried out; never changes a bit of the result.
    pub run: Operation,
}

/// ResNet variants, as torchvision names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Arch {
    Resnet18,
    Resnet34,
    Resnet50,
    Resnet101,
    Resnet152,
}

/// How an image enters the encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stem {
    /// 7×7 convolution of stride 2, then 3×3 max pooling of stride 2. As published, for 224 pixels.
    Imagenet,
    /// 3×3 convolution of stride 1 without pooling, for small images.
    Small,
}

/// The networks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// The encoder's depth.
    pub arch: Arch,
    /// Channels after the stem; 64 as published. Every other width is a multiple of it.
    pub channels: u32,
    /// How an image enters.
    pub stem: Stem,
    /// h, the hidden width of projector and predictor.
    pub hidden_dim: u32,
    /// z, the width of projection and prediction.
    pub low_dim: u32,
}

/// The type of parameters and activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// All of it in float32.
    Float32,
    /// All of it in float64.
    Float64,
    /// Mixed: convolutions, linear layers and activations in bfloat16; the state, statistics, loss and optimizer in float32.
    Bfloat16,
}

/// Which optimizer makes the update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// Momentum SGD with weight decay on every parameter.
    Sgd,
    /// Layer-wise adaptive rates, for large batches.
    Lars,
}

/// Whose statistics the teacher's history takes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TeacherStatistics {
    /// Those of all ranks' images: one history for all.
    Global,
    /// Each rank's own, as published on torch 1.5: a history a rank.
    Local,
}

/// How sums over ranks are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reduction {
    /// In integers at one power-of-two scale: equal bits in every placement and order.
    Exact,
    /// In floating point: half the bytes; equal bits only for one placement.
    Float,
}

/// What is computed in a step, and how often.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// Number of ranks.
    pub world: u32,
    /// b = B / world: images of a rank in a step, and the size of a BatchNorm group.
    pub batch_per_rank: u32,
    /// Side of a view in pixels.
    pub pixels: u32,
    /// Element type.
    pub dtype: Dtype,
    /// How long the run is.
    pub length: Length,
    /// Epochs of linear warm-up.
    pub warmup_epochs: u64,
    /// Shape of the learning rate.
    pub course: LearningRateCourse,
    /// Epochs at which a multistep course drops.
    pub milestone_epochs: Vec<u64>,
    /// Peak learning rate for 256 images; scaled by B / 256.
    pub lr256: f64,
    /// SGD or LARS.
    pub optimizer: OptimizerKind,
    /// Momentum of the optimizer.
    pub momentum: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// η of LARS.
    pub trust_coefficient: f64,
    /// m₀ of the teacher's parameters.
    pub parameter_momentum: f64,
    /// Whose statistics the teacher takes in.
    pub teacher_statistics: TeacherStatistics,
    /// How sums over ranks are made.
    pub reduction: Reduction,
    /// What is trained is not an encoder but a linear head on one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linear: Option<Linear>,
    /// Where views are made.
    #[serde(default, skip_serializing_if = "AugmentOn::is_cpu")]
    pub augment_on: AugmentOn,
    /// Threads of the tensor library in each trainer. Part of the mathematics: another number, other bits.
    pub threads_per_device: u32,
    /// Seed of initialisation, order and augmentation.
    pub seed: u64,
}

/// How long a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Length {
    /// So many passes over the data.
    Epochs(u64),
    /// So many optimizer steps.
    Steps(u64),
}

/// The duration that a text such as "250ms", "10s", "5m" or "1h" says.
///
/// # Errors
/// What is wrong with it, in a sentence.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    duration::parse(text).ok_or_else(|| format!("{text:?} is no duration; write it as 250ms, 10s, 5m or 1h"))
}

/// BLAKE3 of the part of a recipe that decides the result.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RecipeDigest(pub String);

impl fmt::Display for RecipeDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RecipeDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecipeDigest({})", self.0)
    }
}

/// A data set too small for the recipe.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PlanError {
    /// Not one full batch.
    #[error(
        "the data set has {n_samples} images, fewer than one global batch of {batch}; lower `batch` or give more data"
    )]
    NoFullBatch {
        /// N.
        n_samples: u64,
        /// B.
        batch: u64,
    },
    /// The schedule would end before its peak.
    #[error(
        "the warm-up of {warmup_steps} steps is longer than the run of {total_steps} steps; lower `warmup_epochs` or train longer"
    )]
    WarmupTooLong {
        /// W.
        warmup_steps: u64,
        /// T.
        total_steps: u64,
    },
}

/// A recipe and the size of its data set: from here every number of a run follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Who trains on what.
    pub shards: Shards,
    /// Rates of each step.
    pub schedule: Schedule,
}

impl Recipe {
    /// Whether every device says the digest of its whole state once it stands at `step`.
    pub fn is_replica_check(&self, step: Step) -> bool {
        let every = self.run.replica_check;
        let is_whole = self.training.teacher_statistics == TeacherStatistics::Global;
        is_whole && every > 0 && step.0 > 0 && step.0.is_multiple_of(every)
    }

    /// Whether the encoders are evaluated once the state stands at `step`: every so many epochs, and at the end.
    pub fn is_evaluation(&self, step: Step, plan: &Plan) -> bool {
        let per_epoch = plan.shards.steps_per_epoch();
        let every = self.run.evaluate_every.saturating_mul(per_epoch);
        let is_due = step.0 > 0 && every > 0 && step.0.is_multiple_of(every);
        self.run.evaluate != Evaluate::Off && (is_due || step.0 == plan.schedule.total_steps)
    }

    /// Whose views an epoch sees.
    pub fn draws(&self) -> Draws {
        Draws(self.training.linear.as_ref().map_or(0, |linear| linear.draws))
    }

    /// B, images of a step over all ranks.
    pub fn global_batch(&self) -> u64 {
        u64::from(self.training.world) * u64::from(self.training.batch_per_rank)
    }

    /// L = lr256 · B / 256, the rate at the end of the warm-up.
    pub fn peak_learning_rate(&self) -> f64 {
        self.training.lr256 * self.global_batch() as f64 / 256.0
    }

    /// What the recipe means for `n_samples` images. Both may come from elsewhere: numbers that nobody can mean are cut, not added up.
    pub fn plan(&self, n_samples: u64) -> Result<Plan, PlanError> {
        let training = &self.training;
        let shards = Shards {
            seed: training.seed,
            n_samples,
            world: training.world,
            batch_per_rank: training.batch_per_rank,
        };
        let steps_per_epoch = shards.steps_per_epoch();
        if steps_per_epoch == 0 {
            return Err(PlanError::NoFullBatch {
                n_samples,
                batch: shards.global_batch(),
            });
        }
        let total_steps = match training.length {
            Length::Epochs(epochs) => epochs.saturating_mul(steps_per_epoch),
            Length::Steps(steps) => steps,
        };
        let warmup_steps = match training.course {
            LearningRateCourse::WarmupCosine => training.warmup_epochs.saturating_mul(steps_per_epoch),
            LearningRateCourse::Cosine | LearningRateCourse::Multistep => 0,
        };
        if warmup_steps > total_steps {
            return Err(PlanError::WarmupTooLong {
                warmup_steps,
                total_steps,
            });
        }
        let schedule = Schedule {
            total_steps,
            warmup_steps,
            course: training.course,
            peak_learning_rate: self.peak_learning_rate(),
            milestones: training
                .milestone_epochs
                .iter()
                .map(|epoch| epoch.saturating_mul(steps_per_epoch))
                .collect(),
            parameter_momentum: training.parameter_momentum,
        };
        Ok(Plan { shards, schedule })
    }

    /// Digest of what decides the result.
    pub fn digest(&self) -> RecipeDigest {
        let json = serde_json::to_vec(&(&self.model, &self.training, &self.augment))
            .expect("a recipe is plain data");
        RecipeDigest(blake3::hash(&json).to_hex().to_string())
    }

    /// The keys of the mathematics in which two recipes differ: (key, here, there), in order of the keys.
    pub fn differences(&self, other: &Self) -> Vec<(String, String, String)> {
        let (mine, theirs) = (self.flat(), other.flat());
        let keys: std::collections::BTreeSet<_> = mine.keys().chain(theirs.keys()).collect();
        let shown =
            |map: &BTreeMap<String, String>, key| map.get(key).cloned().unwrap_or_else(|| "unset".to_owned());
        keys.into_iter()
            .filter(|key| mine.get(*key) != theirs.get(*key))
            .map(|key| (key.clone(), shown(&mine, key), shown(&theirs, key)))
            .collect()
    }

    fn flat(&self) -> BTreeMap<String, String> {
        let mut flat = BTreeMap::new();
        let parts = [
            ("model", serde_json::to_value(&self.model)),
            ("training", serde_json::to_value(&self.training)),
            ("augment", serde_json::to_value(&self.augment)),
        ];
        for (part, value) in parts {
            flatten(part, &value.expect("a recipe is plain data"), &mut flat);
        }
        flat
    }
}

fn flatten(prefix: &str, value: &serde_json::Value, flat: &mut BTreeMap<String, String>) {
    match value {
        serde_json::Value::Object(map) => {
            for (key, value) in map {
                flatten(&format!("{prefix}.{key}"), value, flat);
            }
        }
        value => {
            flat.insert(prefix.to_owned(), value.to_string());
        }
    }
}

#[cfg(test)]
mod tests;
