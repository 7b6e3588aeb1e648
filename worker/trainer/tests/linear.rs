//! The published linear heads beside PyTorch's own layers, on the same features of a frozen encoder.
//!
//! The real trainer trains each head on made images of several classes, two ranks a step, to its last published epoch; a Python client
//! (clients/linear_head.py) trains the same head on the features the trainer saw, and counts the same held-out images.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints its errors"
)]

#[expect(unreachable_pub, reason = "the harness of all tests shows it to others")]
#[path = "../../../tests/src/harness/python.rs"]
mod python;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use m2t_common::Rank;
use m2t_common::evaluation::Side;
use m2t_common::machine_link::Boundary;
use m2t_common::random::Stream;
use m2t_common::recipe::written::Source;
use m2t_common::recipe::{Recipe, resolve};
use m2t_torch::bytes_of;
use m2t_torch::collective::{Collective, Solo};
use m2t_trainer::encoder::FrozenEncoder;
use m2t_trainer::evaluation::tally::Tally;
use m2t_trainer::objective::linear::judge;
use m2t_trainer::objective::{Images, Objective};
use m2t_trainer::state::State;
use m2t_trainer::step::Trainer;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use tch::{Device, Kind, Tensor};

const WORLD: u32 = 2;
const CLASSES: u32 = 8;
const BATCH_PER_RANK: i64 = 16;
/// Of 96, a batch of 32: three steps an epoch.
const N_SAMPLES: u64 = 96;
const N_HELD_OUT: i64 = 997;
const PIXELS: i64 = 16;

#[test]
fn both_published_heads_come_out_as_in_pytorch() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/linear_head.py");
    let Some(mut client) = python::python(&script) else {
        return;
    };
    m2t_torch::set_threads(1);
    let folder = tempfile::tempdir().unwrap();
    for head in ["linear_byol", "linear_moco"] {
        client.arg(train(folder.path(), head));
    }
    let ended = client.output().expect("Python runs");
    let said = String::from_utf8_lossy(&ended.stdout);
    println!("{said}{}", String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "the client disagrees");
    assert_eq!(said.matches("top-1").count(), 2, "{said}");
}

fn encoder() -> (Recipe, FrozenEncoder) {
    let toml = "arch = \"resnet18\"\nchannels = 4\nstem = \"small\"\nhidden_dim = 16\nlow_dim = 8\npixels = 16\nworld = 2\nbatch = 32\nsteps = 1\nwarmup_epochs = 0\n";
    let recipe = resolve(
        Source::Experiment {
            name: "encoder",
            toml,
        },
        &[],
        None,
    )
    .unwrap();
    let state = State::initial(&recipe, &[Rank(0)], Device::Cpu).unwrap();
    let encoder = FrozenEncoder::of(&recipe, &state, Side::Teacher, state.history.of(Rank(0)));
    (recipe, encoder)
}

fn recipe(head: &str, of: &Recipe) -> Recipe {
    let sets = [
        "arch=\"resnet18\"".to_owned(),
        format!("channels={}", of.model.channels),
        "stem=\"small\"".to_owned(),
        format!("pixels={PIXELS}"),
        "batch=32".to_owned(),
        format!("linear.classes={CLASSES}"),
        "linear.digest=\"made\"".to_owned(),
    ];
    resolve(Source::Preset(head), &sets, Some(WORLD)).unwrap()
}

/// Images of a class are its pattern under noise.
fn images(n: i64, stream: &mut Stream) -> (Tensor, Vec<u32>) {
    let size = (3 * PIXELS * PIXELS) as usize;
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for _ in 0..n {
        let label = (stream.uniform(0.0, f64::from(CLASSES)) as u32).min(CLASSES - 1);
        let mut pattern = Stream::new("pattern", &[u64::from(label)]);
        pixels.extend((0..size).map(|_| (0.8 * pattern.normal() + stream.normal()) as f32));
        labels.push(label);
    }
    (Tensor::from_slice(&pixels).view([n, 3, PIXELS, PIXELS]), labels)
}

fn classes(labels: &[u32]) -> Tensor {
    Tensor::from_slice(&labels.iter().map(|label| i64::from(*label)).collect::<Vec<_>>())
}

/// Trains a head to its last epoch, and writes down what it saw and what came of it.
fn train(folder: &Path, head: &str) -> PathBuf {
    let (of, encoder) = encoder();
    let recipe = recipe(head, &of);
    let ranks: Vec<Rank> = (0..WORLD).map(Rank).collect();
    let state = State::initial(&recipe, &ranks, Device::Cpu).unwrap();
    let (weight, bias) = (state.student.views[0].copy(), state.student.views[1].copy());
    let group: Arc<dyn Collective> = Arc::new(Solo::default());
    let objective = Objective::linear(&recipe, CLASSES, encoder);
    let mut trainer = Trainer::of(objective, (&recipe, &ranks), state, group).unwrap();
    let schedule = recipe.plan(N_SAMPLES).unwrap().schedule;
    let mut stream = Stream::new("labelled", &[]);
    let (mut features, mut labels, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    for step in 0..schedule.total_steps {
        let batch: Vec<(Rank, Images)> = ranks
            .iter()
            .map(|&rank| {
                let (images, classes_of) = images(BATCH_PER_RANK, &mut stream);
                features.push(features_of(&trainer, &images));
                labels.push(classes(&classes_of));
                let labels = classes(&classes_of);
                (rank, Images::Labelled { images, labels })
            })
            .collect();
        rates.push(schedule.at(m2t_common::Step(step)).learning_rate as f32);
        trainer.step(&batch, &schedule, Boundary::GoOn).unwrap();
    }
    let (images, right) = images(N_HELD_OUT, &mut stream);
    let held_out = features_of(&trainer, &images);
    let Objective::Linear { classifier, .. } = &trainer.objective else {
        panic!("a linear head is trained");
    };
    let logits = judge(
        classifier,
        (&trainer.state, &trainer.state.history.of(Rank(0)).student),
        &held_out,
    );
    let mut tally = Tally::default();
    tally.add(&logits, &right);
    let counts = [tally.n_images, tally.n_correct, tally.n_correct5].map(|n| n as i64);
    let stacked = |tensors: &[Tensor], last: &[i64]| {
        let size = [&[-1, i64::from(WORLD), BATCH_PER_RANK], last].concat();
        Tensor::stack(tensors, 0).view(&*size)
    };
    let width = held_out.size()[1];
    let file = folder.join(format!("{head}.safetensors"));
    write(
        &file,
        &[
            ("features", stacked(&features, &[width])),
            ("labels", stacked(&labels, &[])),
            ("rates", Tensor::from_slice(&rates)),
            ("weight", weight),
            ("bias", bias),
            ("held_out", held_out),
            ("held_out_labels", classes(&right)),
            ("logits", logits),
            ("counts", Tensor::from_slice(&counts)),
        ],
    );
    file
}

fn features_of(trainer: &Trainer, images: &Tensor) -> Tensor {
    match &trainer.objective {
        Objective::Linear { encoder, .. } => encoder.features(images),
        Objective::Pretraining(_) => panic!("a linear head is trained"),
    }
}

fn write(file: &Path, tensors: &[(&str, Tensor)]) {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, tensor)| bytes_of(&tensor.contiguous()))
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, tensor), bytes)| {
        let shape = tensor.size().iter().map(|&side| side as usize).collect();
        let dtype = match tensor.kind() {
            Kind::Int64 => Dtype::I64,
            _ => Dtype::F32,
        };
        (*name, TensorView::new(dtype, shape, bytes).unwrap())
    });
    std::fs::write(file, safetensors::serialize(views, None).unwrap()).unwrap();
}
