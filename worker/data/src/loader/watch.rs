//! What each thread is reading, and since when: a read that hangs cannot be broken off, so others take over its work.
//!
//! ```text
//!  reading ── a tenth of the time limit ──► slow: named; another thread works in its stead
//!     │                                       │── the time limit ──► given up: the image is read again by another thread
//!     └──────────── the read ends ────────────┴──► not reading; a picture that is there already is not written again
//! ```
//! Nothing here decides who does what: `window` does.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use m2t_common::shard::Sample;

use super::window::Claim;

/// What one thread is reading.
#[derive(Debug, Default)]
pub(super) struct Watch(Mutex<Option<Reading>>);

#[derive(Debug)]
struct Reading {
    /// The sample whose file it is.
    sample: Sample,
    /// Whose place in a batch it is read for; none in an evaluation.
    claim: Option<Claim>,
    since: Instant,
    patience: Patience,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Patience {
    Whole,
    /// It was found slow.
    Strained,
    /// It was given up.
    Lost,
}

/// How long a read may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// After which another thread works in the reader's stead, and the file is named.
    pub(super) slow: Duration,
    /// After which another thread reads the file again.
    pub(super) lost: Duration,
}

/// What has become of a read since it was looked at last.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    Slow,
    Lost(Claim),
}

/// A file whose reading takes long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowFile {
    /// Below the data folder.
    pub path: PathBuf,
    /// How long it has been read.
    pub waited: Duration,
}

impl Limits {
    pub(super) fn of(read_timeout: Duration) -> Self {
        Self {
            slow: (read_timeout / 10).min(Duration::from_secs(1)),
            lost: read_timeout,
        }
    }
}

impl Watch {
    pub(super) fn begin(&self, sample: Sample, claim: Option<Claim>) {
        *self.lock() = Some(Reading {
            sample,
            claim,
            since: Instant::now(),
            patience: Patience::Whole,
        });
    }

    /// The read ended. Whether it was found slow.
    pub(super) fn end(&self) -> bool {
        let reading = self.lock().take();
        reading.is_some_and(|reading| reading.patience > Patience::Whole)
    }

    /// Looks at the time; tells each change once.
    pub(super) fn look(&self, limits: Limits) -> Option<Change> {
        let mut reading = self.lock();
        let reading = reading.as_mut()?;
        let waited = reading.since.elapsed();
        match (reading.patience, reading.claim) {
            (Patience::Whole, _) if waited > limits.slow => {
                reading.patience = Patience::Strained;
                Some(Change::Slow)
            }
            (Patience::Strained, Some(claim)) if waited > limits.lost => {
                reading.patience = Patience::Lost;
                Some(Change::Lost(claim))
            }
            _ => None,
        }
    }

    /// The sample whose file takes long, and how long it has been read.
    pub(super) fn slow(&self) -> Option<(Sample, Duration)> {
        let reading = self.lock();
        let reading = reading.as_ref()?;
        (reading.patience > Patience::Whole).then(|| (reading.sample, reading.since.elapsed()))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Reading>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
