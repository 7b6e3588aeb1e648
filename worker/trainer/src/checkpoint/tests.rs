//! Checkpoints: read back as written, found by their run, and refused when damaged.

use std::collections::{BTreeMap, HashMap};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

use m2t_common::recipe::written::Source;
use m2t_common::recipe::{Recipe, resolve};
use m2t_common::report::News;
use m2t_common::{Generation, Rank, Step};
use m2t_torch::collective::Solo;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use tch::{Device, Tensor};

use super::*;
use crate::link::Link;
use crate::membership::{Held, Membership};
use crate::state::frozen::{Buffers, Frozen, Ordered};
use crate::state::snapshot::NamedBytes;
use crate::state::{Snapshot, State, kind};

fn snapshot(step: u64) -> Snapshot {
    let tensor = NamedBytes {
        dtype: Dtype::F32,
        shape: vec![2, 1],
        bytes: vec![1, 2, 3, 4, 5, 6, 7, 8],
    };
    Snapshot {
        step: Step(step),
        tensors: BTreeMap::from([("student.conv1.weight".to_owned(), tensor)]),
    }
}

fn belonging() -> Belonging {
    let recipe = resolve(Source::Preset("8x_v100_100e"), &[], None).unwrap();
    Belonging {
        recipe,
        n_samples: 5_000,
    }
}

/// A small network's state that has no two equal elements next to each other, and statistics of its own.
fn state(settings: &str, step: u64) -> (Recipe, State) {
    let toml = format!(
        "arch = \"resnet18\"\nchannels = 4\nlow_dim = 4\npixels = 32\nworld = 2\nbatch = 8\nsteps = 9\nwarmup_epochs = 0\n{settings}"
    );
    let name = "small";
    let recipe = resolve(Source::Experiment { name, toml: &toml }, &[], None).unwrap();
    let ranks = [Rank(0), Rank(1)];
    let mut state = State::initial(&recipe, &ranks, Device::Cpu).unwrap();
    state.step = Step(step);
    let parameters = state.form.layout.parameters.clone();
    for (i, (_, vectors)) in state.history.own().iter().enumerate() {
        for (k, vector) in vectors.iter().enumerate() {
            let values = Tensor::arange(vector.size()[0], (kind(&recipe), Device::Cpu)) + (10 * i + k) as f64;
            vector.shallow_clone().copy_(&values);
        }
    }
    for p in &parameters {
        let values = Tensor::arange(p.len(), (kind(&recipe), Device::Cpu)) / 7.0 + p.offset as f64;
        state.momentum.narrow(0, p.offset, p.len()).copy_(&values);
    }
    (recipe, state)
}

fn frozen(step: u64) -> Frozen {
    let (recipe, state) = state(KINDS[0], step);
    state
        .freeze(recipe.training.world, &Solo::default(), &Buffers::default())
        .unwrap()
}

/// All kinds of state.
const KINDS: [&str; 3] = [
    "hidden_dim = 8",
    "hidden_dim = 8\nteacher_statistics = \"local\"",
    "hidden_dim = 8\ndtype = \"float64\"",
];

#[test]
fn a_frozen_state_holds_what_a_snapshot_holds_and_its_file_is_what_the_formats_own_library_writes() {
    for kind in KINDS {
        let (recipe, state) = state(kind, 7);
        let (world, group) = (recipe.training.world, Solo::default());
        let snapshot = state.snapshot(world, &group).unwrap();
        let buffers = Buffers::default();
        let ordered = state.freeze(world, &group, &buffers).unwrap().in_order();
        let folder = tempfile::tempdir().unwrap();
        let report = write(folder.path(), &ordered.pieces(), &belonging()).unwrap();
        assert_eq!(report.state_digest, snapshot.digest(), "{kind}");
        assert_eq!(report.cost.stall, Duration::ZERO);
        let checkpoint = folder.path().join(report.name.as_str());
        assert_eq!(read(&checkpoint).unwrap().1, snapshot, "{kind}");
        let views = snapshot.tensors.iter().map(|(name, tensor)| {
            let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes);
            (name, view.unwrap())
        });
        let about = HashMap::from([("step".to_owned(), "7".to_owned())]);
        let whole = safetensors::serialize(views, Some(about)).unwrap();
        assert!(fs::read(checkpoint.join(STATE_FILE)).unwrap() == whole, "{kind}");
    }
}

#[test]
fn a_state_comes_back_whole_with_the_padding_of_its_vectors() {
    for kind in KINDS {
        let (recipe, state) = state(kind, 7);
        let (world, group) = (recipe.training.world, Solo::default());
        let frozen = state.freeze(world, &group, &Buffers::default()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let report = write(folder.path(), &frozen.in_order().pieces(), &belonging()).unwrap();
        let checkpoint = folder.path().join(report.name.as_str());
        let found = manifest(&checkpoint).unwrap();
        // A device of a larger group has a place for only one rank's statistics.
        for ranks in [&[Rank(0), Rank(1)][..], &[Rank(1)]] {
            let blank = State::blank(&recipe, ranks, Device::Cpu).unwrap();
            let loaded = load(&checkpoint, &found, blank).unwrap();
            assert_eq!((loaded.step, loaded.digest()), (Step(7), state.digest()));
            for (one, other) in [
                (&loaded.student.flat, &state.student.flat),
                (&loaded.teacher.flat, &state.teacher.flat),
                (&loaded.momentum, &state.momentum),
            ] {
                assert_eq!(one, other, "{kind}");
            }
            let original = BTreeMap::from_iter(state.history.own());
            for (prefix, vectors) in loaded.history.own() {
                assert_eq!(vectors, original[&prefix], "{kind}");
            }
        }
    }
}

#[test]
fn nothing_damaged_and_nothing_of_another_network_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let report = write(folder.path(), &frozen(7).in_order().pieces(), &belonging()).unwrap();
    let checkpoint = folder.path().join(report.name.as_str());
    let (found, file) = (manifest(&checkpoint).unwrap(), checkpoint.join(STATE_FILE));
    let whole = fs::read(&file).unwrap();
    let blank = |sets: &str| State::blank(&state(sets, 0).0, &[Rank(0), Rank(1)], Device::Cpu).unwrap();
    let mut wrong = vec![
        whole[..whole.len() - 1].to_vec(),
        whole[..5].to_vec(),
        Vec::new(),
        whole.clone(),
    ];
    wrong[3].push(0);
    for place in [0, 9, 40, 4_000, whole.len() / 2, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[place] ^= 1;
        wrong.push(bytes);
    }
    for (i, bytes) in wrong.iter().enumerate() {
        fs::write(&file, bytes).unwrap();
        let refused = load(&checkpoint, &found, blank(KINDS[0])).unwrap_err();
        let said = refused.to_string();
        assert!(said.contains("is no checkpoint"), "{i}: {said}");
    }
    fs::write(&file, &whole).unwrap();
    let mut other = found.clone();
    other.state_digest = "0".repeat(64);
    let said = load(&checkpoint, &other, blank(KINDS[0]))
        .unwrap_err()
        .to_string();
    assert!(said.contains("do not have the digest"), "{said}");
    for sets in ["hidden_dim = 16", KINDS[1], KINDS[2]] {
        let refused = load(&checkpoint, &found, blank(sets)).unwrap_err();
        assert!(matches!(refused, LoadError::State(_)), "{sets}: {refused}");
    }
    load(&checkpoint, &found, blank(KINDS[0])).unwrap();
}

#[test]
fn memory_is_kept_for_the_next_checkpoint() {
    let (recipe, state) = state(KINDS[0], 7);
    let (world, group, buffers) = (recipe.training.world, Solo::default(), Buffers::default());
    let freeze = || state.freeze(world, &group, &buffers).unwrap().in_order();
    let place = |frozen: &Ordered| frozen.pieces().tensors[0].bytes.as_ptr();
    buffers.make_ready(state.n_frozen_bytes(world));
    let first = freeze();
    let of_first = place(&first);
    let second = freeze();
    assert_ne!(of_first, place(&second), "the first is still being written");
    drop(first);
    assert_eq!(of_first, place(&freeze()));
    assert_eq!(second.pieces().digest(), state.digest().unwrap());
}

#[test]
fn what_is_written_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let report = write(folder.path(), &snapshot(7).pieces(), &belonging()).unwrap();
    let (manifest, read_back) = read(&folder.path().join(report.name.as_str())).unwrap();
    assert_eq!(read_back, snapshot(7));
    assert_eq!(
        (manifest.state_digest, manifest.n_samples),
        (report.state_digest, 5_000)
    );
    assert_eq!(manifest.recipe, belonging().recipe);
    let left: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(left, [report.name.as_str()], "nothing is left beside it");
    let mode = |file: &str| {
        let path = folder.path().join(report.name.as_str()).join(file);
        fs::metadata(path).unwrap().permissions()
    };
    assert_eq!(
        mode(STATE_FILE),
        mode(MANIFEST_FILE),
        "who may read one may read both"
    );
}

#[test]
fn a_checkpoint_that_cannot_be_written_says_what_to_do_and_leaves_no_half() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a-file");
    fs::write(&file, "").unwrap();
    let said = write(&file, &snapshot(7).pieces(), &belonging())
        .unwrap_err()
        .to_string();
    assert!(
        said.contains("a-file/step-000000007") && said.contains("look at the disk"),
        "{said}"
    );
    let full = io::Error::from(io::ErrorKind::StorageFull);
    assert_eq!(way_out(&full), "make room there");
}

#[test]
fn the_same_step_may_be_written_again() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join(".step-000000007.tmp/left over")).unwrap();
    let again = [(); 2].map(|()| {
        let mut report = write(folder.path(), &snapshot(7).pieces(), &belonging()).unwrap();
        report.cost = CheckpointCost::default();
        report
    });
    assert_eq!(again[0], again[1]);
}

#[test]
fn damage_is_found_wherever_it_is() {
    for file in [STATE_FILE, MANIFEST_FILE] {
        let folder = tempfile::tempdir().unwrap();
        let report = write(folder.path(), &snapshot(7).pieces(), &belonging()).unwrap();
        let checkpoint = folder.path().join(report.name.as_str());
        let path = checkpoint.join(file);
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert!(
            matches!(read(&checkpoint), Err(CheckpointError::Damaged { .. })),
            "{file}"
        );
        fs::remove_file(&path).unwrap();
        assert!(
            matches!(read(&checkpoint), Err(CheckpointError::Read { .. })),
            "{file}"
        );
    }
}

#[test]
fn a_run_stands_for_its_newest_checkpoint() {
    let output = tempfile::tempdir().unwrap();
    let checkpoints = output.path().join("checkpoints");
    for step in [900, 1_000, 20] {
        write(&checkpoints, &snapshot(step).pieces(), &belonging()).unwrap();
    }
    let newest = checkpoints.join("step-000001000");
    for path in [output.path(), &checkpoints, &newest] {
        assert_eq!(find(path), newest);
    }
    assert_eq!(find(Path::new("/nowhere")), Path::new("/nowhere"));
}

#[test]
fn a_digest_sees_every_part_of_a_state() {
    let plain = snapshot(7);
    let mut others = vec![snapshot(8)];
    let mut changed = |change: fn(&mut NamedBytes)| {
        let mut other = plain.clone();
        other.tensors.values_mut().for_each(change);
        others.push(other);
    };
    changed(|tensor| tensor.bytes[3] ^= 1);
    changed(|tensor| tensor.shape = vec![1, 2]);
    changed(|tensor| tensor.dtype = Dtype::I32);
    for other in others {
        assert_ne!(plain.digest(), other.digest());
    }
}

/// Hands on what is told.
struct Told(Mutex<Sender<(Generation, News)>>);

impl Link for Told {
    fn tell(&self, generation: Generation, news: News) {
        self.0.lock().unwrap().send((generation, news)).unwrap();
    }
}

#[test]
fn a_checkpoint_outlives_its_generation_and_a_later_one_takes_the_place_of_one_that_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a-file");
    fs::write(&file, "").unwrap();
    let (sender, told) = channel();
    let mut writer = Writer::start(Arc::new(Told(Mutex::new(sender))));
    let job = |generation, folder: &Path, step| Job {
        generation: Generation(generation),
        folder: folder.to_owned(),
        frozen: frozen(step),
        stall: Duration::from_millis(3),
        belonging: belonging(),
        need: Need::Must,
    };
    let first = Arc::new(Membership::new(Generation(1)));
    writer.write(job(1, &file, 7), &first).unwrap();
    assert!(writer.will_write(Step(7)) && !writer.will_write(Step(8)));
    let (generation, news) = told.recv().unwrap();
    assert_eq!(generation, Generation(1));
    assert!(
        matches!(news, News::CheckpointFailed { step: Step(7), .. }),
        "{news:?}"
    );
    // It is tried again and again; a hold ends the wait for it.
    let waiting = Arc::clone(&first);
    std::thread::scope(|scope| {
        let flush = scope.spawn(|| writer.flush(&waiting));
        first.hold();
        assert_eq!(flush.join().unwrap(), Err(Held));
    });
    let second = Arc::new(Membership::new(Generation(2)));
    writer.write(job(2, folder.path(), 9), &second).unwrap();
    writer.flush(&second).unwrap();
    let mut all = told.try_iter();
    let (generation, last) = all.by_ref().last().unwrap();
    assert_eq!(generation, Generation(2));
    let News::Checkpointed(report) = last else {
        panic!("{last:?}");
    };
    let file = folder.path().join(report.name.as_str()).join(STATE_FILE);
    assert_eq!(
        (report.step, report.cost.stall),
        (Step(9), Duration::from_millis(3))
    );
    assert_eq!(report.cost.n_bytes, fs::metadata(file).unwrap().len());
}
