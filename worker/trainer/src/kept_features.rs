//! Features of a frozen encoder, kept for the epochs that see the same views again: of each (view, sample) they are computed once in a
//! run, and not a hundred times.
//!
//! ```text
//!  features computed ──► own file, a record an image ─┐ output folder, features/…/
//!  a batch to come ◄── all of its records, verified ◄─┴─ the files of all other processes
//! ```
//! Nobody waits for anybody and nothing must be there: what is missing, cut or damaged is computed again. So it changes nothing but the
//! time, in any placement and after any loss; that a feature is the same whoever computes it, among whichever other images, is what
//! equal digests in all placements rest on already.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use m2t_common::recipe::Recipe;
use m2t_common::shard::Sample;
use m2t_data::Index;
use m2t_data::loader::{Known, KnownImages};
use m2t_torch::bytes_of;
use tch::{Kind, Tensor};

/// What is kept lies here, in the output folder.
const FOLDER: &str = "features";
/// Whose view, which sample, its class; eight bytes each.
const HEAD: usize = 24;
/// First bytes of the BLAKE3 of head and features.
const CHECK: usize = 8;
/// How often it is looked for what others wrote.
const LOOK: Duration = Duration::from_millis(200);

/// Features that are kept, by all processes of a run together.
#[derive(Debug)]
pub struct KeptFeatures {
    folder: PathBuf,
    /// d.
    width: usize,
    /// Of a feature's numbers.
    kind: Kind,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    own: Own,
    files: Vec<Source>,
    /// Where the features are of a sample as an epoch draws it.
    places: HashMap<(u64, Sample), Place>,
    looked: Option<Instant>,
}

/// A file that some process writes.
#[derive(Debug)]
struct Source {
    path: PathBuf,
    file: Arc<File>,
    /// Its records whose places are known.
    n_known: u32,
}

/// A record: which of the files, and which of its records. As short as it may be, for there are millions.
#[derive(Clone, Copy, Debug)]
struct Place {
    file: u32,
    number: u32,
}

/// The file that this process writes.
#[derive(Debug, Default)]
enum Own {
    #[default]
    NotYet,
    /// Which of the files.
    Open(u32),
    /// It cannot be written.
    GivenUp,
}

impl KeptFeatures {
    /// Those of a run, of so many numbers of this kind each. What was kept for another recipe, other data or by another version is
    /// not looked at.
    pub fn of(output: &Path, (recipe, index): (&Recipe, &Index), (width, kind): (i64, Kind)) -> Self {
        let mut name = blake3::Hasher::new();
        for part in [
            recipe.digest().to_string(),
            index.facts().fingerprint,
            env!("CARGO_PKG_VERSION").to_owned(),
        ] {
            name.update(part.as_bytes()).update(b"\n");
        }
        Self {
            folder: output.join(FOLDER).join(&name.finalize().to_hex()[..16]),
            width: width.unsigned_abs() as usize,
            kind,
            inner: Mutex::default(),
        }
    }

    /// What a loader need not read.
    pub fn known(self: &Arc<Self>) -> Known {
        let kept = Arc::clone(self);
        Known::by(move |epoch, samples| kept.find(epoch, samples))
    }

    /// As a tensor [n, d] and its classes `[n]`, int64.
    pub fn tensors(&self, known: &KnownImages) -> (Tensor, Tensor) {
        let size = [known.classes.len() as i64, self.width as i64];
        let features = Tensor::from_data_size(&known.features, &size, self.kind);
        (features, classes(&known.classes))
    }

    /// Keeps features [n, d] of samples as `epoch` draws them, and their classes, where they are not kept yet. Where they cannot be
    /// written, nothing is kept from then on.
    pub fn keep(&self, (epoch, samples): (u64, &[Sample]), features: &Tensor, classes: &[u32]) {
        assert_eq!(features.kind(), self.kind, "features are of one kind");
        let mut inner = self.lock();
        if matches!(inner.own, Own::GivenUp) {
            return;
        }
        let bytes = bytes_of(features);
        let mut records = Vec::with_capacity(samples.len() * self.record());
        for ((sample, class), feature) in samples
            .iter()
            .zip(classes)
            .zip(bytes.chunks_exact(self.feature()))
        {
            if inner.places.contains_key(&(epoch, *sample)) {
                continue;
            }
            let begin = records.len();
            for number in [epoch, sample.0, u64::from(*class)] {
                records.extend(number.to_le_bytes());
            }
            records.extend(feature);
            let check = check(&records[begin..]);
            records.extend(check);
        }
        if let Err(error) = self.append(&mut inner, &records) {
            inner.own = Own::GivenUp;
            tracing::warn!(
                "features cannot be kept in {}: {error}; those to come are computed anew each time",
                self.folder.display()
            );
        }
    }

    /// Bytes of a feature.
    fn feature(&self) -> usize {
        self.width * self.kind.elt_size_in_bytes()
    }

    fn record(&self) -> usize {
        HEAD + self.feature() + CHECK
    }

    fn append(&self, inner: &mut Inner, records: &[u8]) -> io::Result<()> {
        if matches!(inner.own, Own::NotYet) {
            fs::create_dir_all(&self.folder)?;
            inner.own = Own::Open(u32::try_from(inner.files.len()).unwrap_or(u32::MAX));
            inner.files.push(new_file(&self.folder)?);
        }
        let Own::Open(own) = inner.own else {
            return Ok(());
        };
        // One write, so that others hardly ever see a record in half; the check tells.
        (&*inner.files[own as usize].file).write_all(records)?;
        self.look_at(own, inner);
        Ok(())
    }

    /// What is kept of all of them, or nothing.
    fn find(&self, epoch: u64, samples: &[Sample]) -> Option<KnownImages> {
        let mut inner = self.lock();
        let mut places = inner.all(epoch, samples);
        if places.is_none() && inner.looked.is_none_or(|looked| looked.elapsed() > LOOK) {
            inner.looked = Some(Instant::now());
            self.look(&mut inner);
            places = inner.all(epoch, samples);
        }
        let places = places?;
        let place = |place: &Place| (Arc::clone(&inner.files[place.file as usize].file), place.number);
        let places: Vec<_> = places.iter().map(place).collect();
        drop(inner);
        let mut known = KnownImages::default();
        let mut record = vec![0; self.record()];
        for (sample, (file, number)) in samples.iter().zip(places) {
            let is_sound = file.read_exact_at(&mut record, self.offset(number)).is_ok();
            let (body, found) = record.split_at(HEAD + self.feature());
            let [drawn_in, of, class] = head(body);
            if !is_sound || check(body) != found || (drawn_in, of) != (epoch, sample.0) {
                // Not there, as far as anybody can tell; it is computed again.
                self.lock().places.remove(&(epoch, *sample));
                return None;
            }
            known.features.extend(&body[HEAD..]);
            known.classes.push(u32::try_from(class).ok()?);
        }
        Some(known)
    }

    /// Takes in what was written since the last look. Where a folder or file cannot be read, nothing of it is known.
    fn look(&self, inner: &mut Inner) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if !inner.files.iter().any(|source| source.path == path)
                && let Ok(file) = File::open(&path)
            {
                let file = Arc::new(file);
                inner.files.push(Source {
                    path,
                    file,
                    n_known: 0,
                });
            }
        }
        for file in 0..inner.files.len() {
            self.look_at(file as u32, inner);
        }
    }

    fn look_at(&self, file: u32, inner: &mut Inner) {
        let source = &mut inner.files[file as usize];
        let length = source.file.metadata().map_or(0, |about| about.len());
        let n_records = u32::try_from(length / self.record() as u64).unwrap_or(u32::MAX);
        for number in source.n_known..n_records {
            let mut bytes = [0; HEAD];
            if source.file.read_exact_at(&mut bytes, self.offset(number)).is_ok() {
                let [epoch, sample, _] = head(&bytes);
                // The first one counts: a damaged one may say that it is another's.
                let place = inner.places.entry((epoch, Sample(sample)));
                place.or_insert(Place { file, number });
            }
        }
        source.n_known = source.n_known.max(n_records);
    }

    /// Where a record begins in its file.
    fn offset(&self, number: u32) -> u64 {
        u64::from(number) * self.record() as u64
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn all(&self, epoch: u64, samples: &[Sample]) -> Option<Vec<Place>> {
        let place = |sample: &Sample| self.places.get(&(epoch, *sample)).copied();
        samples.iter().map(place).collect()
    }
}

/// Classes as the loss wants them, `[n]`, int64.
pub(crate) fn classes(classes: &[u32]) -> Tensor {
    Tensor::from_slice(&classes.iter().map(|class| i64::from(*class)).collect::<Vec<_>>())
}

/// A file of this process's own: of the first number that none has.
fn new_file(folder: &Path) -> io::Result<Source> {
    for number in 0u32.. {
        let path = folder.join(format!("{number}.records"));
        match File::options()
            .read(true)
            .append(true)
            .create_new(true)
            .open(&path)
        {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            opened => {
                let file = Arc::new(opened?);
                return Ok(Source {
                    path,
                    file,
                    n_known: 0,
                });
            }
        }
    }
    Err(io::Error::other("there are too many files"))
}

fn head(record: &[u8]) -> [u64; 3] {
    let mut numbers = record
        .as_chunks::<8>()
        .0
        .iter()
        .map(|bytes| u64::from_le_bytes(*bytes));
    std::array::from_fn(|_| numbers.next().unwrap_or_default())
}

fn check(body: &[u8]) -> [u8; CHECK] {
    let hash = blake3::hash(body);
    std::array::from_fn(|i| hash.as_bytes()[i])
}

#[cfg(test)]
mod tests;
