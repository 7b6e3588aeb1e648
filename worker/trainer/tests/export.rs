//! Exported encoders in torchvision and timm: nothing missing but the classifier, and the trainer's own features.
//!
//! Networks take a few real steps, so that weights and statistics are not the initial ones; the real program exports both
//! sides; a Python client (clients/load_export.py) loads them and compares features on a fixed batch, to 1e-5.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints its errors"
)]

#[expect(unreachable_pub, reason = "the harness of all tests shows it to others")]
#[path = "../../../tests/src/harness/python.rs"]
mod python;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use m2t_common::Rank;
use m2t_common::machine_link::Boundary;
use m2t_common::random::Stream;
use m2t_common::recipe::written::Source;
use m2t_common::recipe::{Recipe, resolve};
use m2t_torch::bytes_of;
use m2t_torch::collective::{Collective, Solo};
use m2t_trainer::checkpoint::{self, Belonging};
use m2t_trainer::model::Network;
use m2t_trainer::model::norm::{FrozenNorm, Statistics};
use m2t_trainer::state::State;
use m2t_trainer::step::{Images, Trainer};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use tch::{Device, Kind, Tensor};

const WORLD: u32 = 2;
const N_SAMPLES: u64 = 64;
const N_STEPS: u64 = 3;

/// A network of each kind that is exported.
const CASES: [(&str, &str); 3] = [
    ("resnet18", "arch = \"resnet18\""),
    ("resnet50", "arch = \"resnet50\""),
    (
        "small_stem_local_statistics",
        "arch = \"resnet18\"\nstem = \"small\"\nteacher_statistics = \"local\"",
    ),
];

#[test]
fn torchvision_and_timm_load_the_export_and_give_the_trainers_features() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/load_export.py");
    let Some(mut client) = python::python(&script) else {
        return;
    };
    m2t_torch::set_threads(1);
    let folder = tempfile::tempdir().unwrap();
    for (name, settings) in CASES {
        client.arg(prepare(&folder.path().join(name), settings));
    }
    let ended = client.output().expect("Python runs");
    let said = String::from_utf8_lossy(&ended.stdout);
    println!("{said}{}", String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "the client disagrees");
    // Two sides in two libraries: none was left out.
    assert_eq!(said.matches("worst difference").count(), CASES.len() * 4);
}

/// Trains, exports both sides and writes the trainer's own features into `folder`.
fn prepare(folder: &Path, settings: &str) -> PathBuf {
    let recipe = recipe(settings);
    let trainer = trained(&recipe);
    let state = &trainer.state;
    let belonging = Belonging {
        recipe: recipe.clone(),
        n_samples: N_SAMPLES,
    };
    let snapshot = state.snapshot(WORLD, &Solo::default()).unwrap();
    checkpoint::write(&folder.join("checkpoints"), &snapshot.pieces(), &belonging).unwrap();
    for (side, names) in [("student", "timm"), ("teacher", "torchvision")] {
        let exported = Command::new(env!("CARGO_BIN_EXE_m2t-trainer"))
            .arg("export")
            .arg(folder)
            .arg("--to")
            .arg(folder.join(format!("{side}.safetensors")))
            .args(["--side", side, "--names", names])
            .status();
        assert!(exported.unwrap().success());
    }
    let images = images(&recipe, &mut Stream::new("features", &[]));
    let history = state.history.of(Rank(0));
    let student = features(&recipe, &state.student.views, &history.student, &images);
    let teacher = features(&recipe, &state.teacher.views, &history.teacher, &images);
    let tensors = [("images", images), ("student", student), ("teacher", teacher)];
    write(&folder.join("reference.safetensors"), &tensors);
    folder.to_owned()
}

fn recipe(settings: &str) -> Recipe {
    let toml = format!(
        "{settings}\nhidden_dim = 32\nlow_dim = 16\npixels = 64\nworld = {WORLD}\nbatch = 8\nsteps = 8\nwarmup_epochs = 0\nlr256 = 0.1\n"
    );
    let name = "exported";
    resolve(Source::Experiment { name, toml: &toml }, &[], None).unwrap()
}

/// A device with all ranks after a few steps on noise.
fn trained(recipe: &Recipe) -> Trainer {
    let ranks: Vec<Rank> = (0..WORLD).map(Rank).collect();
    let state = State::initial(recipe, &ranks, Device::Cpu).unwrap();
    let group: Arc<dyn Collective> = Arc::new(Solo::default());
    let mut trainer = Trainer::new(recipe, &ranks, state, group).unwrap();
    let schedule = recipe.plan(N_SAMPLES).unwrap().schedule;
    let mut stream = Stream::new("training", &[]);
    for _ in 0..N_STEPS {
        let batch: Vec<(Rank, Images)> = ranks
            .iter()
            .map(|&rank| (rank, [(); 2].map(|()| images(recipe, &mut stream)).into()))
            .collect();
        trainer.step(&batch, &schedule, Boundary::GoOn).unwrap();
    }
    trainer
}

/// [B, 3, H, W], of the spread that normalised photographs have.
fn images(recipe: &Recipe, stream: &mut Stream) -> Tensor {
    let (n, side) = (recipe.training.batch_per_rank, recipe.training.pixels);
    let values: Vec<f32> = (0..n * 3 * side * side)
        .map(|_| stream.uniform(-2.1, 2.6) as f32)
        .collect();
    Tensor::from_slice(&values).view([i64::from(n), 3, i64::from(side), i64::from(side)])
}

/// As an evaluation makes them, [B, d], but in float64: after a few steps on noise float32 has few digits left.
fn features(recipe: &Recipe, weights: &[Tensor], statistics: &Statistics, images: &Tensor) -> Tensor {
    tch::no_grad(|| {
        let statistics = &statistics.to_kind(Kind::Double);
        let weights: Vec<Tensor> = weights
            .iter()
            .map(|weight| weight.to_kind(Kind::Double))
            .collect();
        let mut norm = FrozenNorm { statistics };
        Network::new(&recipe.model).features(&images.to_kind(Kind::Double), &weights, &mut norm)
    })
}

fn write(file: &Path, tensors: &[(&str, Tensor)]) {
    let bytes: Vec<Vec<u8>> = tensors.iter().map(|(_, tensor)| bytes_of(tensor)).collect();
    let views = tensors.iter().zip(&bytes).map(|((name, tensor), bytes)| {
        let shape = tensor.size().iter().map(|&side| side as usize).collect();
        (
            *name,
            TensorView::new(dtype(tensor.kind()), shape, bytes).unwrap(),
        )
    });
    std::fs::write(file, safetensors::serialize(views, None).unwrap()).unwrap();
}

fn dtype(kind: Kind) -> Dtype {
    match kind {
        Kind::Double => Dtype::F64,
        _ => Dtype::F32,
    }
}
