//! Batches of two views, made ahead by threads, in order, and bit-identical for any number of threads.
//!
//! ```text
//!  shards ──► window of batches ◄── claim an image ── threads: read → decode → two views → write in place
//!              │ at most `ahead`
//!              └──► next(): waits for the oldest batch to be complete; a batch that is dropped gives its memory back
//! ```
//! Work is handed out image by image, oldest batch first; a thread writes its views at the image's own place, so
//! neither the number of threads nor their timing shows in the result. The loader allocates nothing for an image: its threads' buffers
//! are kept, and so is the batches' memory; what the decoder's and the resizer's libraries make anew is theirs. Which samples a step has is decided by
//! [`Shards`], what a view looks like by [`ViewParameters`](crate::augment::ViewParameters); what happens to a damaged
//! file in `files`.
//!
//! Nothing here turns floats into tensors or counts what was replaced: a [`Batch`] tells both.

mod evaluate;
mod files;
mod format;
mod known;
mod making;
mod stages;
mod views;
mod watch;
mod window;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use m2t_common::recipe::{Augment, AugmentOn};
use m2t_common::shard::{Draws, Sample, Shards};
use m2t_common::{Rank, Step};

use crate::decode::DecodeError;
use crate::index::Index;
pub use evaluate::{Evaluation, center_views, load_views};
use files::Files;
pub use format::{Element, Layout, ViewFormat};
pub use known::{Known, KnownImages};
pub use stages::StageTimes;
pub use views::Views;
pub use watch::SlowFile;
use watch::Watch;
use window::{FOREVER, Waited, Window};

/// What a loader needs to know.
#[derive(Clone, Debug)]
pub struct LoaderSettings {
    /// The data set.
    pub index: Arc<Index>,
    /// How views are drawn.
    pub augment: Augment,
    /// Which samples a rank has in a step.
    pub shards: Shards,
    /// The ranks to load for, in the order of a batch.
    pub ranks: Vec<Rank>,
    /// Whose views an epoch sees.
    pub draws: Draws,
    /// Images of which no view is made.
    pub known: Known,
    /// Views of an image that are made: 1 or 2. Of one, the second holds nothing of meaning.
    pub n_views: usize,
    /// Side of a view.
    pub pixels: u32,
    /// What a view looks like in memory.
    pub format: ViewFormat,
    /// The step of the first batch.
    pub first_step: Step,
    /// The step after that of the last batch.
    pub last_step: u64,
    /// Threads that decode and augment; 0 counts as 1.
    pub threads: u32,
    /// Where views are made; for a device, the loader only crops them.
    pub augment_on: AugmentOn,
    /// Batches made ahead of the one handed out; 0 counts as 1.
    pub ahead: u32,
    /// How long reading a file may take before another thread reads it again. After a tenth of it, or a second, another thread
    /// works in the reader's stead.
    pub read_timeout: Duration,
}

/// The views of one step for the ranks of one device.
#[derive(Debug, PartialEq)]
pub struct Batch {
    /// The step that trains on them.
    pub step: Step,
    /// In the order of [`LoaderSettings::ranks`].
    pub ranks: Vec<RankViews>,
    /// How long [`Loader::next`] waited for it.
    pub waited: Duration,
    /// How long the threads worked at it, stage by stage.
    pub times: StageTimes,
    /// Files that could not be decoded, in the order of their places in the batch.
    pub replaced: Vec<Replacement>,
}

/// The two views of a rank's images.
#[derive(Debug, PartialEq)]
pub struct RankViews {
    /// The rank.
    pub rank: Rank,
    /// Its samples, in the order of their places; those of replaced files, too.
    pub samples: Vec<Sample>,
    /// In the form that [`LoaderSettings::format`] asks for.
    pub views: [Views; 2],
    /// What is known of them instead; then the views hold nothing of meaning.
    pub known: Option<KnownImages>,
}

/// A file that could not be decoded, and the one taken in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// Whose place it is; the augmentation stays keyed by it.
    pub sample: Sample,
    /// The next sample that decodes.
    pub by: Sample,
    /// The damaged file, below the data folder.
    pub path: PathBuf,
    /// Why it could not be decoded.
    pub reason: String,
}

/// Why there is no batch.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The index names a file that is gone.
    #[error(
        "the file {} was there when the data folder was indexed and is gone; restore it or start again",
        .0.display()
    )]
    Missing(PathBuf),
    /// A file is not as long as the index says.
    #[error(
        "the file {} has {found} bytes and had {indexed} when the data folder was indexed; restore it, or, if the data are \
         meant to change, call m2t data check, which indexes the folder anew, and begin another run",
        path.display()
    )]
    Changed {
        /// The file.
        path: PathBuf,
        /// Bytes in the index.
        indexed: u64,
        /// Bytes now.
        found: u64,
    },
    /// A file cannot be read, after several tries where trying again makes sense.
    #[error("the file {} cannot be read; check its permissions and the disk", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The last try's error.
        #[source]
        source: std::io::Error,
    },
    /// Reading a file does not come to an end, again and again.
    #[error("the file {} does not answer: {tries} reads of {limit:?} each; check the disk or the mount", path.display())]
    Hangs {
        /// The file.
        path: PathBuf,
        /// The time limit of a read.
        limit: Duration,
        /// How many reads were begun.
        tries: u32,
    },
    /// A file of an evaluation cannot be decoded; there every image counts, so none is replaced.
    #[error("the image {} cannot be decoded; repair or remove it", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: DecodeError,
    },
    /// Too many neighbours of a damaged file are damaged too.
    #[error(
        "{tried} files in a row, from {} on, cannot be decoded ({reason}); the data folder is damaged",
        first.display()
    )]
    NothingDecodes {
        /// The file whose place was to be filled.
        first: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// How many files were tried.
        tried: u64,
    },
    /// A loader thread failed in a way it should not.
    #[error("a loader thread panicked ({0}); this is a defect of m2t, please report it")]
    Panicked(String),
    /// The steps asked for lie beyond the last, or follow an error or a [`Stopper`].
    #[error(
        "the loader has no more batches; it ended with its last step, an error before, or because it was told to"
    )]
    Ended,
    /// The run is bound to another data set.
    #[error("the data folder has {found} images but the run is bound to {expected}; give it the same folder")]
    OtherSize {
        /// In the index.
        found: u64,
        /// In the shards.
        expected: u64,
    },
    /// The system refused a thread.
    #[error("a loader thread cannot be started; lower `run.loader_threads`")]
    Thread(#[source] std::io::Error),
}

/// Loads the batches of consecutive steps. Dropping it ends its threads, each after the image it is at; one that hangs in a read
/// is not waited for.
#[derive(Debug)]
pub struct Loader {
    window: Arc<Window>,
    threads: Vec<Thread>,
    /// Since when its owner has waited for a batch.
    waiting: Option<Instant>,
}

#[derive(Debug)]
struct Thread {
    handle: JoinHandle<()>,
    watch: Arc<Watch>,
}

impl Loader {
    /// Starts the threads; they begin with the first step's batch at once.
    pub fn start(settings: LoaderSettings) -> Result<Self, LoadError> {
        Self::start_on(settings, Files::on_disk())
    }

    fn start_on(settings: LoaderSettings, files: Files) -> Result<Self, LoadError> {
        let (found, expected) = (settings.index.n_samples(), settings.shards.n_samples);
        if found != expected {
            return Err(LoadError::OtherSize { found, expected });
        }
        let n_threads = settings.threads.max(1);
        let mut loader = Self {
            window: Arc::new(Window::new(settings, files)),
            threads: Vec::new(),
            waiting: None,
        };
        for _ in 0..n_threads {
            loader.start_thread()?;
        }
        Ok(loader)
    }

    fn start_thread(&mut self) -> Result<(), LoadError> {
        self.threads.retain(|thread| !thread.handle.is_finished());
        let (window, watch) = (Arc::clone(&self.window), self.window.enter());
        let of_thread = Arc::clone(&watch);
        let handle = std::thread::Builder::new()
            .name("m2t-loader".to_owned())
            .spawn(move || window.work(&of_thread))
            .map_err(LoadError::Thread)?;
        self.threads.push(Thread { handle, watch });
        Ok(())
    }

    /// What ends it from elsewhere.
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.window))
    }

    /// The next step's batch, once it is complete. After an error there is no other batch.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator's end is no error; a missing batch is one"
    )]
    pub fn next(&mut self) -> Result<Batch, LoadError> {
        loop {
            if let Some(batch) = self.next_within(FOREVER)? {
                return Ok(batch);
            }
        }
    }

    /// As [`next`](Self::next); nothing if the batch is not complete within `limit`. Then it can be asked for again.
    pub fn next_within(&mut self, limit: Duration) -> Result<Option<Batch>, LoadError> {
        let now = Instant::now();
        let began = *self.waiting.get_or_insert(now);
        loop {
            match self.window.wait(now + limit)? {
                Waited::Complete(content) => {
                    self.waiting = None;
                    return Ok(Some(Batch {
                        step: content.step,
                        ranks: content.ranks,
                        waited: began.elapsed(),
                        times: content.times,
                        replaced: content.replaced,
                    }));
                }
                Waited::Short { n_threads } => {
                    for _ in 0..n_threads {
                        self.start_thread()?;
                    }
                }
                Waited::TooLong => return Ok(None),
            }
        }
    }

    /// The files whose reading takes long at this moment. Only found out while a batch is waited for.
    pub fn slow_files(&self) -> Vec<SlowFile> {
        self.window.slow_files()
    }
}

/// Ends a loader from any thread, also while its owner waits for a batch.
#[derive(Clone, Debug)]
pub struct Stopper(Arc<Window>);

impl Stopper {
    /// No batch is wanted any more: [`Loader::next`] fails with [`LoadError::Ended`], at once.
    pub fn stop(&self) {
        self.0.stop();
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.window.stop();
        for Thread { handle, watch } in self.threads.drain(..) {
            if watch.slow().is_some() {
                continue;
            }
            // A thread catches its own panics, so there is nothing to learn from the result.
            let _ = handle.join();
        }
    }
}

#[cfg(test)]
mod tests;
