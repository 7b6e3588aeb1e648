//! Order, determinism over thread counts, damaged files, reading errors, panics, and the end.

mod hostile;
mod known;
mod packed;
mod slow;

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Mutex;
use std::thread::{self, ThreadId};

use super::*;
use crate::augment::{Canvas, ViewKey, ViewParameters};
use crate::fixtures::{damage, data_set};

const PIXELS: u32 = 16;

/// Two ranks of three images in a world of four, two epochs of five steps.
fn settings(index: Index) -> LoaderSettings {
    LoaderSettings {
        shards: Shards {
            seed: 5,
            n_samples: index.n_samples(),
            world: 4,
            batch_per_rank: 3,
        },
        index: Arc::new(index),
        augment: Augment::published(),
        ranks: vec![Rank(1), Rank(2)],
        pixels: PIXELS,
        format: ViewFormat::default(),
        augment_on: AugmentOn::Cpu,
        draws: Draws::default(),
        known: Known::default(),
        n_views: 2,
        first_step: Step(0),
        last_step: 10,
        threads: 2,
        ahead: 2,
        read_timeout: Duration::from_secs(10),
    }
}

/// Every batch to the end, without its waiting time.
fn all(settings: LoaderSettings) -> Vec<Batch> {
    let n = settings.last_step - settings.first_step.0;
    let mut loader = Loader::start(settings).unwrap();
    let batches = (0..n).map(|_| loader.next().unwrap()).map(|batch| Batch {
        waited: Duration::ZERO,
        times: StageTimes::default(),
        ..batch
    });
    let batches = batches.collect();
    assert!(matches!(loader.next(), Err(LoadError::Ended)));
    batches
}

fn failing(
    index: Index,
    read: impl Fn(&Path, &mut Vec<u8>) -> io::Result<()> + Send + Sync + 'static,
) -> Loader {
    Loader::start_on(settings(index), Files::read_by(read)).unwrap()
}

fn read_disk(path: &Path, bytes: &mut Vec<u8>) -> io::Result<()> {
    *bytes = std::fs::read(path)?;
    Ok(())
}

#[test]
fn batches_are_equal_for_any_number_of_threads() {
    let (_dir, index) = data_set(65);
    damage(&index, 7);
    damage(&index, 40);
    let with = |threads, ahead| {
        all(LoaderSettings {
            threads,
            ahead,
            ..settings(index.clone())
        })
    };
    let one = with(1, 1);
    assert_eq!(
        one.iter().map(|batch| batch.step.0).collect::<Vec<_>>(),
        Vec::from_iter(0..10)
    );
    assert!(one.iter().any(|batch| !batch.replaced.is_empty()));
    assert!(one == with(2, 3), "2 threads");
    assert!(one == with(7, 2), "7 threads");
}

#[test]
fn a_resumed_loader_and_other_ranks_make_the_same_views() {
    let (_dir, index) = data_set(65);
    let whole = all(settings(index.clone()));
    let resumed = all(LoaderSettings {
        first_step: Step(7),
        ..settings(index.clone())
    });
    assert!(whole[7..] == resumed[..]);
    let alone = all(LoaderSettings {
        ranks: vec![Rank(2)],
        ..settings(index)
    });
    assert!(
        whole
            .iter()
            .zip(&alone)
            .all(|(both, alone)| both.ranks[1] == alone.ranks[0])
    );
}

#[test]
fn a_damaged_file_is_replaced_and_its_augmentation_kept() {
    let (_dir, index) = data_set(65);
    let settings = settings(index);
    let (epoch, samples) = settings.shards.samples(Step(6), Rank(2));
    let (index, damaged) = (&settings.index, samples[1]);
    let by = Sample((damaged.0 + 2) % 65);
    let path = damage(index, damaged.0);
    damage(index, (damaged.0 + 1) % 65);

    let batch = all(settings.clone()).remove(6);
    let replacement = batch
        .replaced
        .iter()
        .find(|replaced| replaced.sample == damaged)
        .unwrap();
    assert_eq!((replacement.by, &replacement.path), (by, &path));
    assert_eq!(replacement.reason, "the content is neither JPEG nor PNG");

    let bytes = std::fs::read(index.locate(by)).unwrap();
    let image = crate::decode(&bytes).unwrap();
    let mut expected = vec![0.0; 3 * (PIXELS as usize).pow(2)];
    for view in 0..2 {
        let key = ViewKey {
            seed: 5,
            epoch,
            sample: damaged,
            view,
        };
        ViewParameters::draw(&settings.augment, (image.width, image.height), key).apply(
            &image,
            &mut Canvas::new(PIXELS),
            &mut expected,
        );
        let size = expected.len();
        assert_eq!(
            batch.ranks[1].views[view].f32s().unwrap()[size..2 * size],
            expected
        );
    }
}

#[test]
fn a_folder_of_damaged_files_is_an_error() {
    let (_dir, index) = data_set(13);
    for sample in 0..13 {
        damage(&index, sample);
    }
    let error = Loader::start(settings(index)).unwrap().next().unwrap_err();
    assert!(
        matches!(error, LoadError::NothingDecodes { tried: 13, .. }),
        "{error}"
    );
}

#[test]
fn a_missing_file_is_an_error_that_names_it() {
    let (_dir, index) = data_set(65);
    let settings = settings(index);
    let missing = settings.shards.samples(Step(1), Rank(1)).1[0];
    let path = settings.index.locate(missing);
    std::fs::remove_file(&path).unwrap();
    let mut loader = Loader::start(settings).unwrap();
    assert_eq!(
        loader.next().unwrap().step,
        Step(0),
        "the batch before it is whole"
    );
    let error = loader.next().unwrap_err();
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    assert!(
        matches!(loader.next(), Err(LoadError::Ended)),
        "nothing comes after an error"
    );
}

#[test]
fn reading_errors_that_may_pass_are_tried_again() {
    let (_dir, index) = data_set(65);
    let expected = all(settings(index.clone()));
    // The first four reads of each file fail with EIO, after half of it. A thread tries again by itself, and two may want the same
    // file at a time, for two epochs.
    let tries = Mutex::new(HashMap::<(ThreadId, PathBuf), u32>::new());
    let mut loader = failing(index, move |path, bytes| {
        let mut tries = tries.lock().unwrap();
        let tried = tries
            .entry((thread::current().id(), path.to_owned()))
            .or_default();
        *tried += 1;
        read_disk(path, bytes)?;
        if tried.is_multiple_of(5) {
            return Ok(());
        }
        bytes.truncate(bytes.len() / 2);
        Err(io::Error::from_raw_os_error(5))
    });
    for expected in expected {
        let batch = loader.next().unwrap();
        assert!(batch.ranks == expected.ranks && batch.replaced.is_empty());
    }
}

#[test]
fn reading_errors_that_stay_are_errors_and_never_replaced() {
    for kind in [ErrorKind::TimedOut, ErrorKind::PermissionDenied] {
        let (_dir, index) = data_set(65);
        let error = failing(index, move |_, _| Err(kind.into())).next().unwrap_err();
        assert!(matches!(error, LoadError::Read { .. }), "{error}");
    }
}

#[test]
fn a_panic_is_an_error_and_no_hang() {
    let (_dir, index) = data_set(65);
    let mut loader = failing(index, |_, _| panic!("by the test"));
    let error = loader.next().unwrap_err();
    assert!(error.to_string().contains("by the test"), "{error}");
}

#[test]
fn dropping_a_loader_ends_its_threads() {
    let (_dir, index) = data_set(65);
    let loader = Loader::start(settings(index)).unwrap();
    let window = Arc::downgrade(&loader.window);
    drop(loader);
    assert!(window.upgrade().is_none(), "every thread held the window");
}

#[test]
fn another_data_set_is_refused() {
    let (_dir, index) = data_set(65);
    let mut settings = settings(index);
    settings.shards.n_samples = 64;
    let error = Loader::start(settings).unwrap_err().to_string();
    assert!(
        error.contains("has 65 images but the run is bound to 64"),
        "{error}"
    );
}

#[test]
fn evaluation_takes_every_image_once_and_replaces_none() {
    let (_dir, index) = data_set(20);
    let views = center_views(&index, 3..17, PIXELS, 3).unwrap();
    let size = 3 * (PIXELS as usize).pow(2);
    assert_eq!(views.len(), 14 * size);
    assert_eq!(views, center_views(&index, 3..17, PIXELS, 1).unwrap());
    assert_eq!(views[size..], center_views(&index, 4..17, PIXELS, 2).unwrap());

    let damaged = damage(&index, 9);
    damage(&index, 12);
    for threads in [1, 5] {
        let error = center_views(&index, 0..20, PIXELS, threads)
            .unwrap_err()
            .to_string();
        assert!(error.contains(damaged.to_str().unwrap()), "{error}");
    }
}

#[test]
fn whoever_waits_for_a_batch_can_be_ended_while_reading_hangs() {
    let (_dir, index) = data_set(65);
    let (entered, inside) = std::sync::mpsc::channel();
    let (release, hang) = std::sync::mpsc::channel::<()>();
    let (entered, hang) = (Mutex::new(entered), Mutex::new(hang));
    let mut loader = failing(index, move |path, bytes| {
        entered.lock().unwrap().send(()).unwrap();
        // Over when the test lets go of the other end.
        let _ = hang.lock().unwrap().recv();
        read_disk(path, bytes)
    });
    inside.recv().unwrap();
    let stopper = loader.stopper();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| loader.next());
        stopper.stop();
        assert!(matches!(waiter.join().unwrap(), Err(LoadError::Ended)));
    });
    drop(release);
}
