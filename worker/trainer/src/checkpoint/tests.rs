//! Checkpoints: read back as written, found by their run, and refused when damaged.

use std::collections::BTreeMap;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

use m2t_common::recipe::resolve;
use m2t_common::recipe::written::Source;
use m2t_common::report::News;
use m2t_common::{Generation, Step};
use safetensors::Dtype;

use super::*;
use crate::link::Link;
use crate::membership::{Held, Membership};

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

#[test]
fn what_is_written_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let report = write(folder.path(), &snapshot(7), &belonging()).unwrap();
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
    let said = write(&file, &snapshot(7), &belonging()).unwrap_err().to_string();
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
    let first = write(folder.path(), &snapshot(7), &belonging()).unwrap();
    assert_eq!(first, write(folder.path(), &snapshot(7), &belonging()).unwrap());
}

#[test]
fn damage_is_found_wherever_it_is() {
    for file in [STATE_FILE, MANIFEST_FILE] {
        let folder = tempfile::tempdir().unwrap();
        let report = write(folder.path(), &snapshot(7), &belonging()).unwrap();
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
        write(&checkpoints, &snapshot(step), &belonging()).unwrap();
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
        snapshot: snapshot(step),
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
    assert!(matches!(last, News::Checkpointed(report) if report.step == Step(9)));
}
