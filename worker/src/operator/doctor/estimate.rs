//! What a recipe needs of a machine, by estimate: numbers good to a half, for warnings before a run and for nothing else.
//!
//! Parameters are those of the networks (torchvision's encoders without their classifier, and the heads). Activations are the
//! outputs of the encoder's convolutions at 224 × 224, as commonly tabulated, times what is kept of each for the backward pass.

use m2t_common::Recipe;
use m2t_common::recipe::{Arch, Dtype, Model, Stem};

/// The published side of a view, for which activations are tabulated.
const PIXELS: f64 = 224.0;
/// The published channels after the stem.
const CHANNELS: f64 = 64.0;
/// Of a convolution's output the backward pass keeps it, what normalisation and ReLU make of it, and some more: measured with a
/// ResNet-50, 105 MB an image in float32 and 52 in bfloat16. The two views are computed in turn.
const KEPT: f64 = 2.4;
/// Parameters, gradients, integer sums, momentum, a snapshot for the checkpoint; of the teacher, parameters and snapshot.
const STUDENT_COPIES: f64 = 6.0;
const TEACHER_COPIES: f64 = 2.0;
/// The program, libtorch and its thread pools.
const PROGRAM: f64 = 400e6;

/// What a recipe needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Estimate {
    /// Memory of a device that hosts one rank, in bytes.
    pub(super) memory: u64,
    /// A checkpoint, in bytes.
    pub(super) checkpoint: u64,
}

/// Million parameters without classifier, the features' width over the last stage's 512 channels, million activations of an image.
fn tabulated(arch: Arch) -> (f64, f64, f64) {
    match arch {
        Arch::Resnet18 => (11.18, 1.0, 2.48),
        Arch::Resnet34 => (21.28, 1.0, 3.74),
        Arch::Resnet50 => (23.51, 4.0, 11.11),
        Arch::Resnet101 => (42.50, 4.0, 16.23),
        Arch::Resnet152 => (58.14, 4.0, 22.56),
    }
}

impl Estimate {
    /// Of a rank of this recipe.
    pub(super) fn of(recipe: &Recipe) -> Self {
        let (model, training) = (&recipe.model, &recipe.training);
        let element = match training.dtype {
            Dtype::Float64 => 8.0,
            Dtype::Float32 | Dtype::Bfloat16 => 4.0,
        };
        let of_activation = match training.dtype {
            Dtype::Bfloat16 => 2.0,
            Dtype::Float32 | Dtype::Float64 => element,
        };
        let (student, teacher) = parameters(model);
        let images = f64::from(training.batch_per_rank);
        let activations = images * activations(model, training.pixels) * KEPT * of_activation;
        let state = (student * STUDENT_COPIES + teacher * TEACHER_COPIES) * element;
        Self {
            memory: (PROGRAM + state + activations) as u64,
            checkpoint: ((2.0 * student + teacher) * element) as u64,
        }
    }
}

/// The student's and the teacher's.
fn parameters(model: &Model) -> (f64, f64) {
    let (encoder, widening, _) = tabulated(model.arch);
    let width = f64::from(model.channels) / CHANNELS;
    let [hidden, low] = [model.hidden_dim, model.low_dim].map(f64::from);
    let head = |from: f64| (from + low) * hidden;
    let teacher = encoder * 1e6 * width * width + head(512.0 * widening * width);
    (teacher + head(low), teacher)
}

/// Of one image in one view.
fn activations(model: &Model, pixels: u32) -> f64 {
    let (_, _, tabulated) = tabulated(model.arch);
    let side = f64::from(pixels) / PIXELS;
    // Without the two strides before the first stage each side is four times as long.
    let stem = match model.stem {
        Stem::Imagenet => 1.0,
        Stem::Small => 16.0,
    };
    tabulated * 1e6 * side * side * stem * f64::from(model.channels) / CHANNELS
}

#[cfg(test)]
mod tests {
    use m2t_common::recipe::load;

    use super::*;

    fn estimate(sets: &[&str]) -> Estimate {
        let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
        let nothing = |_: &std::path::Path| unreachable!("a preset needs no file");
        Estimate::of(&load("8x_v100_100e", &sets, None, nothing).unwrap().recipe)
    }

    #[test]
    fn the_published_networks_have_the_published_parameters() {
        let recipe = load("8x_v100_100e", &[], None, |_| unreachable!("a preset"))
            .unwrap()
            .recipe;
        let (student, teacher) = parameters(&recipe.model);
        for (estimated, counted) in [(student, 35.07e6), (teacher, 32.96e6)] {
            assert!((estimated / counted - 1.0).abs() < 0.01, "{estimated} {counted}");
        }
        // Student, momentum and teacher in float32.
        let checkpoint = 4.0 * (2.0 * 35.07e6 + 32.96e6);
        assert!((estimate(&[]).checkpoint as f64 / checkpoint - 1.0).abs() < 0.01);
    }

    #[test]
    fn memory_is_what_was_measured_and_at_most_half_more() {
        // The peak of `m2t-trainer measure`, a ResNet-50 with so many images; it takes no snapshot and loads nothing.
        for (batch, dtype, mebibytes) in [(4, "float32", 1355), (8, "float32", 1755), (8, "bfloat16", 1497)] {
            let [batch, dtype] = [format!("batch={}", 8 * batch), format!("dtype={dtype:?}")];
            let measured: u64 = mebibytes << 20;
            let estimated = estimate(&[&batch, &dtype]).memory;
            assert!(
                (measured..measured * 3 / 2).contains(&estimated),
                "{batch} {dtype}: {measured} {estimated}"
            );
        }
    }

    #[test]
    fn memory_follows_batch_and_size() {
        let [whole, half] = [&["batch=1024"], &["batch=512"]].map(|sets| estimate(sets));
        assert!(half.memory < whole.memory && whole.memory < 2 * half.memory);
        assert_eq!(half.checkpoint, whole.checkpoint);
        let small = estimate(&["arch=\"resnet18\"", "pixels=32", "channels=8"]);
        assert!(small.memory < half.memory / 4, "{small:?}");
    }
}
