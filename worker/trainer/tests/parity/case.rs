//! The form of a parity fixture, and the formulas that make its parameters and images.
//!
//! u(name, i) = top 24 bits of splitmix64 at index i of the stream that starts at fnv1a64(name) + seed, divided by 2²⁴, minus
//! 0.5: exact in float32. A tensor = f32(shift) + f32(scale)·u, in float32, then widened; row-major.

use std::collections::BTreeMap;
use std::path::Path;

use m2t_common::Rank;
use m2t_common::recipe::written::Source;
use m2t_common::recipe::{Arch, Dtype, OptimizerKind, Recipe, Reduction, Stem, TeacherStatistics, resolve};
use m2t_common::schedule::{LearningRateCourse, Schedule};
use m2t_trainer::model::layout::{Layout, Parameter, Role};
use m2t_trainer::state::Snapshot;
use m2t_trainer::state::parameters::view;
use m2t_trainer::step::{Committed, Images};
use serde::Deserialize;
use tch::{Device, Kind, Tensor};

#[derive(Debug, Deserialize)]
pub(crate) struct Case {
    #[serde(skip)]
    pub name: String,
    case: Settings,
    steps: Vec<Step>,
    /// Sum, sum of absolutes, L2 norm, first three values; fewer where the tensor has fewer.
    state: BTreeMap<String, Vec<f64>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    seed: u64,
    arch: Arch,
    #[serde(default = "published_channels")]
    channels: u32,
    #[serde(default = "published_stem")]
    stem: Stem,
    low_dim: u32,
    hidden_dim: u32,
    pixels: u32,
    batch_per_rank: u32,
    ranks: u32,
    steps: usize,
    total_steps: u64,
    warmup_steps: u64,
    lr: f64,
    optimizer: OptimizerKind,
    weight_decay: f64,
    parameter_momentum: f64,
    teacher_statistics: TeacherStatistics,
}

#[derive(Debug, Deserialize)]
struct Step {
    loss_by_rank: Vec<f64>,
    gradient_norm: f64,
    learning_rate: f64,
    parameter_momentum: f64,
    statistics_momentum: f64,
}

fn published_channels() -> u32 {
    64
}

fn published_stem() -> Stem {
    Stem::Imagenet
}

impl Case {
    pub(crate) fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut case: Self =
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        case.name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        assert_eq!(case.steps.len(), case.case.steps, "{}", case.name);
        case
    }

    pub(crate) fn ranks(&self) -> u32 {
        self.case.ranks
    }

    pub(crate) fn steps(&self) -> usize {
        self.case.steps
    }

    pub(crate) fn recipe(&self, dtype: Dtype, reduction: Reduction) -> Recipe {
        let case = &self.case;
        let mut recipe = resolve(Source::Preset("8x_v100_100e"), &[], None).expect("a preset resolves");
        recipe.model.arch = case.arch;
        recipe.model.channels = case.channels;
        recipe.model.stem = case.stem;
        recipe.model.hidden_dim = case.hidden_dim;
        recipe.model.low_dim = case.low_dim;
        recipe.training.world = case.ranks;
        recipe.training.batch_per_rank = case.batch_per_rank;
        recipe.training.pixels = case.pixels;
        recipe.training.dtype = dtype;
        recipe.training.reduction = reduction;
        recipe.training.optimizer = case.optimizer;
        recipe.training.weight_decay = case.weight_decay;
        recipe.training.teacher_statistics = case.teacher_statistics;
        recipe
    }

    pub(crate) fn schedule(&self) -> Schedule {
        Schedule {
            total_steps: self.case.total_steps,
            warmup_steps: self.case.warmup_steps,
            course: LearningRateCourse::WarmupCosine,
            peak_learning_rate: self.case.lr,
            milestones: Vec::new(),
            parameter_momentum: self.case.parameter_momentum,
        }
    }

    pub(crate) fn parameters(&self, layout: &Layout, kind: Kind) -> Tensor {
        let flat = Tensor::zeros([layout.extent().n_elements], (kind, Device::Cpu));
        for parameter in &layout.parameters {
            let (scale, shift) = spread(parameter);
            let values = formula(
                &format!("init/{}", parameter.name),
                self.case.seed,
                &parameter.shape,
                scale,
                shift,
            );
            view(&flat, parameter).copy_(&values);
        }
        flat
    }

    pub(crate) fn views(&self, step: usize, rank: Rank, kind: Kind) -> Images {
        let (batch, side) = (i64::from(self.case.batch_per_rank), i64::from(self.case.pixels));
        let view = |v: usize| {
            formula(
                &format!("image/{step}/{rank}/{}", v + 1),
                self.case.seed,
                &[batch, 3, side, side],
                4.0,
                0.0,
            )
            .to_kind(kind)
        };
        Images::Views([view(0), view(1)])
    }

    /// Worst error of a step's losses.
    pub(crate) fn error_of_losses(&self, step: usize, committed: &Committed) -> f64 {
        let expected = &self.steps[step].loss_by_rank;
        assert_eq!(committed.loss_by_rank.len(), expected.len());
        committed
            .loss_by_rank
            .iter()
            .zip(expected)
            .map(|(got, expected)| relative(*got, *expected))
            .fold(0.0, worse)
    }

    /// Worst error of a step's losses, gradient norm and rates.
    pub(crate) fn error_of_step(&self, step: usize, committed: &Committed) -> f64 {
        let expected = &self.steps[step];
        let rates = self.schedule().at(m2t_common::Step(step as u64));
        let errors = [
            self.error_of_losses(step, committed),
            relative(committed.gradient_norm, expected.gradient_norm),
            relative(rates.learning_rate, expected.learning_rate),
            relative(rates.parameter_momentum, expected.parameter_momentum),
            relative(rates.statistics_momentum, expected.statistics_momentum),
        ];
        errors.into_iter().fold(0.0, worse)
    }

    /// Worst error of the state, and the entry it stands in.
    pub(crate) fn error_of_state(&self, snapshot: &Snapshot) -> (f64, String) {
        let mut worst = (0.0, String::new());
        for (name, expected) in &self.state {
            let error = error_of_entry(&values(snapshot, name), expected);
            if worse(worst.0, error) != worst.0 {
                worst = (error, name.clone());
            }
        }
        worst
    }
}

fn relative(got: f64, expected: f64) -> f64 {
    (got - expected).abs() / expected.abs().max(f64::MIN_POSITIVE)
}

/// The larger of two errors; NaN is the largest.
pub(crate) fn worse(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.max(b)
    }
}

fn error_of_entry(values: &[f64], expected: &[f64]) -> f64 {
    let got = [
        values.iter().sum(),
        values.iter().map(|v| v.abs()).sum(),
        values.iter().map(|v| v * v).sum::<f64>().sqrt(),
    ];
    let got = got.iter().chain(values.iter().take(3));
    let scales = [
        expected[1],
        expected[1],
        expected[2],
        expected[2],
        expected[2],
        expected[2],
    ];
    got.zip(expected)
        .zip(scales)
        .map(|((got, expected), scale)| (got - expected).abs() / scale.max(1e-300))
        .fold(0.0, worse)
}

/// A tensor of the snapshot. With global statistics all ranks' are one; the fixture names each rank's.
fn values(snapshot: &Snapshot, name: &str) -> Vec<f64> {
    let shared = || {
        name.split_once('.')
            .and_then(|(_, rest)| snapshot.tensors.get(rest))
    };
    let tensor = snapshot
        .tensors
        .get(name)
        .or_else(shared)
        .unwrap_or_else(|| panic!("the state has no tensor {name}"));
    match tensor.dtype {
        safetensors::Dtype::F64 => tensor
            .bytes
            .chunks_exact(8)
            .map(|b| f64::from_le_bytes(b.try_into().unwrap()))
            .collect(),
        safetensors::Dtype::F32 => tensor
            .bytes
            .chunks_exact(4)
            .map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())))
            .collect(),
        other => panic!("{name} is {other}"),
    }
}

/// Scale and shift of a parameter's formula.
fn spread(parameter: &Parameter) -> (f64, f64) {
    let shape = &parameter.shape;
    match parameter.role {
        Role::Convolution => ((24.0 / (shape[0] * shape[2] * shape[3]) as f64).sqrt(), 0.0),
        Role::Linear | Role::ClassifierWeight => (2.0 / (shape[1] as f64).sqrt(), 0.0),
        Role::LinearBias { .. } | Role::NormBias | Role::ClassifierBias => (0.2, 0.0),
        Role::NormWeight => (0.4, 1.0),
    }
}

fn formula(name: &str, seed: u64, shape: &[i64], scale: f64, shift: f64) -> Tensor {
    let start = fnv1a64(name).wrapping_add(seed);
    let n = shape.iter().product::<i64>() as u64;
    let u = |i: u64| (splitmix64(start.wrapping_add(i)) >> 40) as f32 / (1 << 24) as f32 - 0.5;
    let values: Vec<f32> = (0..n).map(|i| shift as f32 + scale as f32 * u(i)).collect();
    Tensor::from_slice(&values).view(shape)
}

fn fnv1a64(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn splitmix64(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
