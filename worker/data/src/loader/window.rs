//! The batches in the making, shared by the loader's threads and its owner.
//!
//! ```text
//!  batch: claimed 0..n ──► finished n ──► taken by the owner; a new batch enters the window
//!  window: open ──► ended (stopped, an error was handed out, or a thread panicked); then nothing is claimed
//! ```
//! The window's lock is held for bookkeeping only, a batch's for copying one image's views.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use m2t_common::Step;
use m2t_common::shard::Sample;

use super::files::{Files, Found};
use super::{LoadError, LoaderSettings, RankViews, Replacement};
use crate::augment::{Canvas, ViewKey, ViewParameters};
use crate::decode::{Image, panic_text};

#[derive(Debug)]
pub(super) struct Window {
    settings: LoaderSettings,
    files: Files,
    state: Mutex<State>,
    /// There may be an image to claim, or the window ended.
    work: Condvar,
    /// A batch may be complete, or the window ended.
    progress: Condvar,
}

#[derive(Debug)]
struct State {
    /// Oldest first, of consecutive steps.
    batches: VecDeque<InMaking>,
    /// The step of the next batch to enter.
    next_step: u64,
    end: Option<End>,
}

#[derive(Debug)]
enum End {
    /// No batch is wanted any more.
    Stopped,
    /// A thread panicked with this message.
    Panicked(String),
}

#[derive(Debug)]
struct InMaking {
    batch: Arc<Making>,
    claimed: usize,
    finished: usize,
}

#[derive(Debug)]
struct Making {
    step: Step,
    epoch: u64,
    /// Rank by rank.
    samples: Vec<Sample>,
    content: Mutex<Content>,
}

/// What the images of a batch leave behind, by their place in it.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) ranks: Vec<RankViews>,
    pub(super) replaced: BTreeMap<usize, Replacement>,
    failed: BTreeMap<usize, LoadError>,
}

/// What a thread works with, kept from image to image.
struct Scratch {
    bytes: Vec<u8>,
    /// One a view.
    canvases: [Canvas; 2],
}

impl Window {
    pub(super) fn new(settings: LoaderSettings, files: Files) -> Self {
        let mut state = State {
            batches: VecDeque::new(),
            next_step: settings.first_step.0,
            end: None,
        };
        fill(&mut state, &settings);
        Self {
            settings,
            files,
            state: Mutex::new(state),
            work: Condvar::new(),
            progress: Condvar::new(),
        }
    }

    /// Waits for the oldest batch and takes it out.
    pub(super) fn take_oldest(&self) -> Result<(Step, Content), LoadError> {
        let mut state = lock(&self.state);
        loop {
            match &state.end {
                Some(End::Stopped) => return Err(LoadError::Ended),
                Some(End::Panicked(message)) => return Err(LoadError::Panicked(message.clone())),
                None => {}
            }
            let Some(oldest) = state.batches.front() else {
                return Err(LoadError::Ended);
            };
            if oldest.finished == oldest.batch.samples.len() {
                break;
            }
            state = self.progress.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let Making { step, content, .. } = &*state.batches.pop_front().expect("it was just looked at").batch;
        let mut content = std::mem::take(&mut *lock(content));
        if let Some((_, error)) = content.failed.pop_first() {
            state.end = Some(End::Stopped);
            self.work.notify_all();
            return Err(error);
        }
        fill(&mut state, &self.settings);
        self.work.notify_all();
        Ok((*step, content))
    }

    /// Ends all work after the images that are being made.
    pub(super) fn stop(&self) {
        self.end(End::Stopped);
    }

    fn end(&self, end: End) {
        lock(&self.state).end.get_or_insert(end);
        self.work.notify_all();
        self.progress.notify_all();
    }

    /// A thread's life. A panic ends the window, so that whoever waits for a batch learns of it.
    pub(super) fn work(&self) {
        let life = || {
            let canvas = || Canvas::new(self.settings.pixels);
            let mut scratch = Scratch {
                bytes: Vec::new(),
                canvases: [canvas(), canvas()],
            };
            while let Some((batch, place)) = self.claim() {
                self.make(&batch, place, &mut scratch);
                self.finish(&batch);
            }
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(life)) {
            self.end(End::Panicked(panic_text(panic.as_ref())));
        }
    }

    /// The next image nobody works at; none when the window ended.
    fn claim(&self) -> Option<(Arc<Making>, usize)> {
        let mut state = lock(&self.state);
        loop {
            if state.end.is_some() {
                return None;
            }
            let unclaimed = |making: &&mut InMaking| making.claimed < making.batch.samples.len();
            if let Some(making) = state.batches.iter_mut().find(unclaimed) {
                making.claimed += 1;
                return Some((Arc::clone(&making.batch), making.claimed - 1));
            }
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn finish(&self, batch: &Making) {
        let mut state = lock(&self.state);
        let making = state
            .batches
            .iter_mut()
            .find(|making| making.batch.step == batch.step);
        let making = making.expect("a batch stays until its last image is finished");
        making.finished += 1;
        if making.finished == batch.samples.len() {
            self.progress.notify_all();
        }
    }

    /// Both views of the image at `place`, or why there are none.
    fn make(&self, batch: &Making, place: usize, scratch: &mut Scratch) {
        let sample = batch.samples[place];
        let found = self.files.find(&self.settings.index, sample, &mut scratch.bytes);
        match found {
            Ok(Found { image, replaced }) => {
                self.draw(&image, sample, batch.epoch, &mut scratch.canvases);
                let mut content = lock(&batch.content);
                content.write(place, self.settings.shards.batch_per_rank, &scratch.canvases);
                content
                    .replaced
                    .extend(replaced.map(|replaced| (place, replaced)));
            }
            Err(error) => {
                lock(&batch.content).failed.insert(place, error);
            }
        }
    }

    fn draw(&self, image: &Image, sample: Sample, epoch: u64, canvases: &mut [Canvas; 2]) {
        for (view, canvas) in canvases.iter_mut().enumerate() {
            let key = ViewKey {
                seed: self.settings.shards.seed,
                epoch,
                sample,
                view,
            };
            ViewParameters::draw(&self.settings.augment, (image.width, image.height), key)
                .render(image, canvas);
        }
    }
}

impl Content {
    fn write(&mut self, place: usize, batch_per_rank: u32, canvases: &[Canvas; 2]) {
        let batch_per_rank = batch_per_rank as usize;
        let rank = &mut self.ranks[place / batch_per_rank];
        for (canvas, view) in canvases.iter().zip(&mut rank.views) {
            let size = view.len() / batch_per_rank;
            let first = place % batch_per_rank * size;
            canvas.write_normalized(&mut view[first..first + size]);
        }
    }
}

/// Lets new batches in while there is room.
fn fill(state: &mut State, settings: &LoaderSettings) {
    let room = settings.ahead.max(1) as usize;
    while state.batches.len() < room && state.next_step < settings.last_step {
        state.batches.push_back(InMaking {
            batch: Arc::new(Making::new(Step(state.next_step), settings)),
            claimed: 0,
            finished: 0,
        });
        state.next_step += 1;
    }
}

impl Making {
    fn new(step: Step, settings: &LoaderSettings) -> Self {
        let shards = &settings.shards;
        let view_size = shards.batch_per_rank as usize * 3 * (settings.pixels as usize).pow(2);
        let mut samples = Vec::new();
        let mut ranks = Vec::new();
        for &rank in &settings.ranks {
            let of_rank = shards.samples(step, rank).1;
            samples.extend(&of_rank);
            ranks.push(RankViews {
                rank,
                samples: of_rank,
                views: [vec![0.0; view_size], vec![0.0; view_size]],
            });
        }
        Self {
            step,
            epoch: shards.epoch(step),
            samples,
            content: Mutex::new(Content {
                ranks,
                ..Content::default()
            }),
        }
    }
}

/// A thread that panicked ends the window anyway; what it held is not looked at again.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
