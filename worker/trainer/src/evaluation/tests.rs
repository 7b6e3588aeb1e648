//! Evaluations by several devices, each a thread of this process, on made pictures.

use std::path::Path;
use std::sync::{Arc, Barrier, Mutex};

use m2t_common::Rank;
use m2t_common::recipe::written::{Source, resolve};
use m2t_data::Cache;
use m2t_data::synth::{Synth, generate};
use m2t_torch::collective::{Handle, Solo};
use tch::Device;

use super::*;
use crate::evaluation::knn::{Near, vote};

/// Devices of one process.
struct Together {
    place: (usize, usize),
    table: Arc<Table>,
}

struct Table {
    given: Mutex<Vec<Tensor>>,
    gathered: Barrier,
}

impl Together {
    fn group(size: usize) -> Vec<Self> {
        let table = Arc::new(Table {
            given: Mutex::new(Vec::new()),
            gathered: Barrier::new(size),
        });
        let place = |index| Self {
            place: (index, size),
            table: Arc::clone(&table),
        };
        (0..size).map(place).collect()
    }
}

impl Collective for Together {
    fn size(&self) -> usize {
        self.place.1
    }

    fn index(&self) -> usize {
        self.place.0
    }

    fn tensors_on(&self) -> Option<Device> {
        None
    }

    fn combine(&self, tensor: &mut Tensor, op: Op) -> Result<(), TorchError> {
        self.table.given.lock().unwrap().push(tensor.copy());
        self.table.gathered.wait();
        let all = Tensor::stack(&self.table.given.lock().unwrap(), 0);
        let combined = match op {
            Op::Sum => all.sum_dim_intlist([0].as_slice(), false, all.kind()),
            Op::Max => all.amax([0].as_slice(), false),
        };
        tensor.copy_(&combined);
        if self.table.gathered.wait().is_leader() {
            self.table.given.lock().unwrap().clear();
        }
        self.table.gathered.wait();
        Ok(())
    }

    fn all_reduce(&self, _: &Tensor, _: Op) -> Result<Handle, TorchError> {
        unreachable!("evaluations combine")
    }

    fn broadcast(&self, _: &Tensor, _: usize) -> Result<Handle, TorchError> {
        unreachable!("evaluations combine")
    }

    fn barrier(&self) -> Result<Handle, TorchError> {
        unreachable!("evaluations combine")
    }

    fn working(&self) -> Result<(), TorchError> {
        Ok(())
    }

    fn abort(&self) {}
}

/// 3 classes, 150 pictures to learn from and 81 held out: chunks that are cut short.
fn pictures(dir: &Path) {
    let synth = Synth {
        classes: 3,
        train_per_class: 50,
        val_per_class: 27,
        pixels: 16,
        ..Synth::new(dir)
    };
    generate(&synth).unwrap();
}

fn recipe(more: &str) -> Recipe {
    let toml = format!(
        "arch = \"resnet18\"\nchannels = 4\nstem = \"small\"\nhidden_dim = 16\nlow_dim = 8\npixels = 16\nworld = 2\nbatch = 8\nepochs = 1\nwarmup_epochs = 0\n{more}\n[run]\nevaluate = \"full\"\n"
    );
    resolve(
        Source::Experiment {
            name: "exam",
            toml: &toml,
        },
        &[],
        None,
    )
    .unwrap()
}

fn open(dir: &Path, part: &str) -> Index {
    Index::open(&dir.join(part), &Cache::none()).unwrap()
}

fn exam(dir: &Path, recipe: &Recipe) -> Exam {
    Exam::new(recipe, &open(dir, "train"), &open(dir, "val")).unwrap()
}

/// What each device of a group of so many finds out.
fn by_devices(n: usize, look: impl Fn(usize, &dyn Collective) -> Outcome + Sync) -> Vec<Outcome> {
    std::thread::scope(|scope| {
        let devices: Vec<_> = Together::group(n)
            .into_iter()
            .enumerate()
            .map(|(i, group)| {
                let look = &look;
                scope.spawn(move || {
                    m2t_torch::set_threads(1);
                    look(i, &group)
                })
            })
            .collect();
        devices.into_iter().map(|device| device.join().unwrap()).collect()
    })
}

fn of_state(exam: &Exam, recipe: &Recipe, group: &dyn Collective, meanwhile: &dyn Meanwhile) -> Outcome {
    let state = State::initial(recipe, &[Rank(0)], Device::Cpu).unwrap();
    let objective = Objective::pretraining(recipe);
    let of = (recipe, &objective, &state);
    exam.of_state(of, (group, meanwhile)).unwrap()
}

/// The figures without what they took.
fn figures(outcome: &Outcome) -> Vec<(Side, Method, [u64; 3])> {
    let Outcome::Figures(figures) = outcome else {
        panic!("there are none: {outcome:?}");
    };
    let counts = |figure: &Evaluation| [figure.n_images, figure.n_correct, figure.n_correct5];
    figures
        .iter()
        .map(|figure| (figure.encoder, figure.method, counts(figure)))
        .collect()
}

#[test]
fn every_image_counts_once_and_the_number_of_devices_does_not_show() {
    let dir = tempfile::tempdir().unwrap();
    pictures(dir.path());
    let recipe = recipe("");
    let exam = exam(dir.path(), &recipe);
    m2t_torch::set_threads(1);
    let alone = figures(&of_state(&exam, &recipe, &Solo::default(), &Alone));
    assert_eq!(
        alone.len(),
        4,
        "neighbours and probe of teacher and student: {alone:?}"
    );
    for (side, method, [n, _, n_correct5]) in &alone {
        assert_eq!(
            (*n, *n_correct5),
            (81, 81),
            "there are three classes: {side} {method}"
        );
    }
    // With seven devices some have no chunk.
    for n_devices in [2, 3, 7] {
        let together = by_devices(n_devices, |_, group| of_state(&exam, &recipe, group, &Alone));
        for of_device in &together {
            assert_eq!(figures(of_device), alone, "{n_devices} devices");
        }
    }
}

/// Features that say the class of an image, and something else besides.
fn telling(look: &Look, chunk: u64) -> Tensor {
    let row = |(i, label): (usize, &u32)| {
        let mut row = [0.1 * (i % 7) as f32; 4];
        row[*label as usize] += 1.0;
        row
    };
    let rows: Vec<f32> = look.labels(chunk).iter().enumerate().flat_map(row).collect();
    knn::unit(&Tensor::from_slice(&rows).view([-1, 4]))
}

#[test]
fn features_that_say_the_class_are_understood() {
    let dir = tempfile::tempdir().unwrap();
    pictures(dir.path());
    let exam = exam(dir.path(), &recipe(""));
    let group = Solo::default();
    let n_memory = exam.memory.n_chunks();
    let memory = (0..n_memory).map(|chunk| (chunk, telling(&exam.memory, chunk)));
    let held_out =
        (0..exam.held_out.n_chunks()).map(|chunk| (n_memory + chunk, telling(&exam.held_out, chunk)));
    let features = Features::new(memory.chain(held_out).collect(), n_memory, &group).unwrap();
    let share = Share::of(&group, n_memory + exam.held_out.n_chunks());
    let all_right = Tally {
        n_images: 81,
        n_correct: 81,
        n_correct5: 81,
    };
    assert_eq!(
        Neighbours::new(&exam, &features).tally(&share).unwrap(),
        all_right
    );
    assert_eq!(exam.probe(&features, &group).unwrap(), all_right);
}

#[test]
fn what_one_device_cannot_read_fails_it_for_all_in_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    pictures(dir.path());
    let recipe = recipe("");
    let exam = exam(dir.path(), &recipe);
    let index = open(dir.path(), "val");
    let last = index.locate(m2t_common::shard::Sample(80));
    let size = std::fs::metadata(&last).unwrap().len();
    std::fs::write(&last, vec![0; size as usize]).unwrap();
    let together = by_devices(2, |_, group| of_state(&exam, &recipe, group, &Alone));
    let reasons: Vec<&str> = together
        .iter()
        .map(|outcome| match outcome {
            Outcome::Failed(refusal) => refusal.reason.as_str(),
            other => panic!("it went well: {other:?}"),
        })
        .collect();
    let name = last.file_name().unwrap().to_string_lossy();
    // Chunks 0 to 2 are of the memory; the last is chunk 4, of the first device.
    assert!(reasons[0].contains(&*name), "{reasons:?}");
    assert!(reasons[1].contains("the device at place 0"), "{reasons:?}");
}

#[test]
fn all_leave_it_when_one_is_told_to_stop() {
    struct Told(Boundary);
    impl Meanwhile for Told {
        fn done(&self, _: u64, _: u64) {}
        fn boundary(&self) -> Boundary {
            self.0
        }
    }
    let dir = tempfile::tempdir().unwrap();
    pictures(dir.path());
    let recipe = recipe("");
    let exam = exam(dir.path(), &recipe);
    for wish in [Boundary::Stop, Boundary::Hold] {
        let told = [Told(Boundary::GoOn), Told(wish)];
        let together = by_devices(2, |i, group| of_state(&exam, &recipe, group, &told[i]));
        for outcome in together {
            assert!(
                matches!(outcome, Outcome::Left(boundary) if boundary == wish),
                "{outcome:?}"
            );
        }
    }
}

#[test]
fn machines_with_other_held_out_images_are_told_so() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for dir in &dirs {
        pictures(dir.path());
    }
    let recipe = recipe("");
    std::fs::remove_file(open(dirs[1].path(), "val").locate(m2t_common::shard::Sample(3))).unwrap();
    let exams = dirs.each_ref().map(|dir| exam(dir.path(), &recipe));
    let together = by_devices(2, |i, group| of_state(&exams[i], &recipe, group, &Alone));
    for outcome in &together {
        assert!(
            matches!(outcome, Outcome::Failed(refusal) if refusal.reason.contains("differ")),
            "{outcome:?}"
        );
    }
}

#[test]
fn two_folders_of_other_classes_are_no_exam() {
    let dir = tempfile::tempdir().unwrap();
    pictures(dir.path());
    let class = std::fs::read_dir(dir.path().join("val"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    std::fs::rename(class.path(), dir.path().join("val/zzz")).unwrap();
    let refused = Exam::new(&recipe(""), &open(dir.path(), "train"), &open(dir.path(), "val")).unwrap_err();
    assert!(refused.to_string().contains("other classes"), "{refused}");
}

#[test]
fn the_nearest_weigh_most_and_of_equals_the_nearest_wins() {
    let settings = Settings {
        k: 3,
        temperature: 0.1,
    };
    let near = |cosine, image| Near { cosine, image };
    let label_of = |near: &Near| near.image as u32;
    // Two of class 2 at 0.5 against one of class 1 at 0.9: exp(9) is more than twice exp(5).
    let nears = [near(0.9, 1), near(0.5, 2), near(0.5, 2)];
    assert_eq!(vote(&nears, label_of, settings), [1, 2]);
    let nears = [near(0.55, 1), near(0.5, 2), near(0.5, 2)];
    assert_eq!(vote(&nears, label_of, settings), [2, 1]);
    let nears = [near(0.5, 7), near(0.5, 3)];
    assert_eq!(vote(&nears, label_of, settings), [7, 3]);
    assert_eq!(vote(&[], label_of, settings), [0u32; 0]);
    let cold = Settings {
        temperature: 1e-3,
        ..settings
    };
    assert_eq!(vote(&[near(1.0, 4), near(0.2, 5)], label_of, cold), [4, 5]);
}

#[test]
fn the_probe_is_ridge_regression() {
    // One feature, two classes: by hand, w = cov(x, y) / (var(x) + λ·var(x)).
    let x = [0.25f64, 0.5, -0.5, -0.25];
    let rows = Tensor::from_slice(&x).view([4, 1]);
    let mut sums = Sums::none(1, 2);
    sums.add(&rows.narrow(0, 0, 3), &[1, 1, 0]);
    sums.add(&rows.narrow(0, 3, 1), &[0]);
    let probe = sums.solve(0.5).unwrap();
    let variance = x.iter().map(|x| x * x).sum::<f64>() / 4.0;
    let weight = (0.75 / 4.0) / (variance * 1.5);
    let scores = probe.scores(&Tensor::from_slice(&[0.125f64]).view([1, 1]));
    let of_class_1 = scores.double_value(&[0, 1]);
    assert!((of_class_1 - (0.5 + weight * 0.125)).abs() < 1e-9, "{of_class_1}");
    assert!((scores.double_value(&[0, 0]) - (1.0 - of_class_1)).abs() < 1e-9);

    let mut broken = Sums::none(1, 2);
    broken.add(&Tensor::from_slice(&[f64::NAN, 1.0]).view([2, 1]), &[0, 1]);
    assert!(broken.solve(0.5).unwrap_err().to_string().contains("not finite"));
}

#[test]
fn of_equal_scores_the_lower_class_counts() {
    let mut tally = Tally::default();
    let scores = Tensor::from_slice(&[0f32, 1.0, 1.0, 0.5, 0.0, 0.0, 0.0]).view([1, 7]);
    for label in 0..7 {
        tally.add(&scores, &[label]);
    }
    assert_eq!((tally.n_images, tally.n_correct, tally.n_correct5), (7, 1, 5));
}

#[test]
fn the_usual_held_out_folder_is_beside_the_data() {
    let of = |on: &str, data: &str| {
        let set = format!("run.evaluate_on={on:?}");
        let source = Source::Preset("8x_v100_100e");
        held_out_folder(&resolve(source, &[set], None).unwrap(), Path::new(data))
    };
    assert_eq!(
        of("../val", "/data/imagenet/train"),
        Path::new("/data/imagenet/val")
    );
    assert_eq!(of("../../v2/val", "/data/a/train"), Path::new("/data/v2/val"));
    assert_eq!(of("/other/val", "/data/a/train"), Path::new("/other/val"));
    assert_eq!(of("held", "/data/a"), Path::new("/data/a/held"));
}
