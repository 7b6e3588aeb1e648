//! Storage that hangs: neighbours go on, the file is named, read again, and in the end given up. Reads hang until the test lets
//! them go, and no test waits for a time to pass but for what follows from it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use m2t_common::Rank;

use super::{all, read_disk, settings};
use crate::fixtures::data_set;
use crate::index::Index;
use crate::loader::files::Files;
use crate::loader::{LoadError, Loader, LoaderSettings};

const READ_TIMEOUT: Duration = Duration::from_millis(200);

/// Lets the reads of a file hang, the first `n` of them, until the gate opens.
struct Storage {
    hanging: PathBuf,
    n: u32,
    gate: Arc<Gate>,
    /// Told of each read of a file that hangs or has hung.
    tried: Mutex<Sender<u32>>,
    tries: Mutex<BTreeMap<PathBuf, u32>>,
}

#[derive(Default)]
struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn open(&self) {
        *self.is_open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    fn pass(&self) {
        let is_open = self.is_open.lock().unwrap();
        drop(self.opened.wait_while(is_open, |is_open| !*is_open).unwrap());
    }
}

impl Storage {
    fn read(&self, path: &Path, bytes: &mut Vec<u8>) -> std::io::Result<()> {
        if path == self.hanging {
            let try_number = {
                let mut tries = self.tries.lock().unwrap();
                let tried = tries.entry(path.to_owned()).or_default();
                *tried += 1;
                *tried
            };
            // The test may have ended.
            let _ = self.tried.lock().unwrap().send(try_number);
            if try_number <= self.n {
                self.gate.pass();
            }
        }
        read_disk(path, bytes)
    }
}

/// Settings with one thread, the path of the file at place 1 of the first batch, and that file below the folder.
fn one_thread(index: &Index) -> (LoaderSettings, PathBuf, PathBuf) {
    let settings = LoaderSettings {
        threads: 1,
        read_timeout: READ_TIMEOUT,
        ..settings(index.clone())
    };
    let sample = settings.shards.samples(settings.first_step, Rank(1)).1.remove(1);
    (settings, index.locate(sample), index.entry(sample).path())
}

fn storage(hanging: &Path, n: u32) -> (Arc<Storage>, std::sync::mpsc::Receiver<u32>) {
    let (tried, tries) = channel();
    let storage = Storage {
        hanging: hanging.to_owned(),
        n,
        gate: Arc::default(),
        tried: Mutex::new(tried),
        tries: Mutex::default(),
    };
    (Arc::new(storage), tries)
}

fn start(settings: LoaderSettings, storage: &Arc<Storage>) -> Loader {
    let storage = Arc::clone(storage);
    let files = Files::read_by(move |path, bytes| storage.read(path, bytes));
    Loader::start_on(settings, files).unwrap()
}

#[test]
fn a_file_that_hangs_once_is_read_again_and_nothing_shows() {
    let (_dir, index) = data_set(65);
    let expected = all(settings(index.clone()));
    let (settings, hanging, _) = one_thread(&index);
    let (storage, tries) = storage(&hanging, 1);
    let mut loader = start(settings, &storage);
    // One thread, and it hangs: only others in its stead can make the batches.
    for expected in expected {
        let batch = loader.next().unwrap();
        assert!(batch.step == expected.step && batch.ranks == expected.ranks);
    }
    assert!(tries.try_iter().count() >= 2);
    storage.gate.open();
}

#[test]
fn a_slow_file_is_named_while_its_neighbours_are_made() {
    let (_dir, index) = data_set(65);
    let (mut settings, hanging, name) = one_thread(&index);
    // Slow after a second; lost after an hour.
    settings.read_timeout = Duration::from_secs(3600);
    let n_neighbours = settings.shards.batch_per_rank as usize * 2 * settings.ahead as usize - 1;
    let (storage, _tries) = storage(&hanging, 1);
    let (read, done) = channel();
    let of_loader = Arc::clone(&storage);
    let read = Mutex::new(read);
    let files = Files::read_by(move |path, bytes| {
        of_loader.read(path, bytes)?;
        let _ = read.lock().unwrap().send(path.to_owned());
        Ok(())
    });
    let mut loader = Loader::start_on(settings, files).unwrap();
    assert!(loader.slow_files().is_empty());
    while loader.slow_files().is_empty() {
        assert!(loader.next_within(Duration::from_millis(100)).unwrap().is_none());
    }
    assert_eq!(loader.slow_files()[0].path, name);
    // The neighbours go on once somebody waits for a batch.
    std::thread::scope(|scope| {
        let owner = scope.spawn(|| loader.next().unwrap());
        for _ in 0..n_neighbours {
            assert_ne!(done.recv().unwrap(), hanging);
        }
        storage.gate.open();
        let batch = owner.join().unwrap();
        assert!(batch.waited > Duration::from_secs(1) && batch.times.read > Duration::from_secs(1));
    });
    assert!(loader.slow_files().is_empty());
}

#[test]
fn a_file_that_never_answers_is_an_error_that_names_it() {
    let (_dir, index) = data_set(65);
    let (settings, hanging, _) = one_thread(&index);
    let (storage, tries) = storage(&hanging, u32::MAX);
    let mut loader = start(settings, &storage);
    let error = loader.next().unwrap_err();
    assert!(matches!(error, LoadError::Hangs { tries: 3, .. }), "{error}");
    let said = error.to_string();
    assert!(
        said.contains(hanging.to_str().unwrap()) && said.contains("200ms"),
        "{said}"
    );
    assert_eq!(tries.try_iter().max(), Some(3));
    // Threads that hang are not waited for.
    drop(loader);
    storage.gate.open();
}

#[test]
fn when_the_whole_storage_hangs_threads_stay_few_and_all_go_on_afterwards() {
    let (_dir, index) = data_set(65);
    let expected = all(settings(index.clone()));
    let (mut settings, _, _) = one_thread(&index);
    settings.read_timeout = Duration::from_millis(2_000);
    let gate = Arc::new(Gate::default());
    let of_loader = Arc::clone(&gate);
    let files = Files::read_by(move |path, bytes| {
        of_loader.pass();
        read_disk(path, bytes)
    });
    let n_images = 2 * settings.shards.batch_per_rank as usize * settings.ahead as usize;
    let mut loader = Loader::start_on(settings, files).unwrap();
    while loader.slow_files().len() < n_images.min(6) {
        assert!(loader.next_within(Duration::from_millis(20)).unwrap().is_none());
    }
    assert!(loader.threads.len() <= 33);
    gate.open();
    for expected in expected {
        assert!(loader.next().unwrap().ranks == expected.ranks);
    }
    let names: Vec<_> = loader.slow_files();
    assert!(names.is_empty(), "{names:?}");
}
