//! The batches in the making, shared by the loader's threads and its owner.
//!
//! ```text
//!  batch: claimed 0..n ──► finished n ──► taken by the owner; a new batch enters the window
//!  window: open ──► ended (stopped, an error was handed out, or a thread panicked); then nothing is claimed
//! ```
//! The window's lock is held for bookkeeping only: twice an image. Pictures are read, decoded, drawn and written without it.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use m2t_common::Step;
use m2t_common::recipe::AugmentOn;
use m2t_common::shard::Sample;

use super::files::{Desk, Files};
use super::making::{Content, Made, Making, Parts};
use super::stages::timed;
use super::views::Pool;
use super::watch::{Change, Limits, Watch};
use super::{LoadError, LoaderSettings, SlowFile};
use crate::augment::{Canvas, ViewKey, ViewParameters};
use crate::decode::{Image, panic_text};

/// How often a file is read anew after reading it hung, and how often in all.
const TRIES: u32 = 3;
/// Most threads that work in the stead of others that hang. With more, the storage as a whole hangs.
const MOST_SUBSTITUTES: usize = 32;

#[derive(Debug)]
pub(super) struct Window {
    settings: LoaderSettings,
    limits: Limits,
    files: Files,
    pool: Arc<Pool>,
    state: Mutex<State>,
    /// There may be an image to claim, or the window ended.
    work: Condvar,
    /// The oldest batch may be complete, or the window ended.
    progress: Condvar,
}

#[derive(Debug)]
struct State {
    /// Oldest first, of consecutive steps.
    batches: VecDeque<Making>,
    /// Images whose reading was given up, to be read again before all others.
    again: VecDeque<Claim>,
    /// The step of the next batch to enter.
    next_step: u64,
    end: Option<End>,
    /// Threads that wait for an image to claim.
    n_asleep: usize,
    /// Threads but those found slow.
    n_working: usize,
    /// Of every thread.
    watches: Vec<Arc<Watch>>,
}

#[derive(Debug)]
enum End {
    /// No batch is wanted any more.
    Stopped,
    /// A thread panicked with this message.
    Panicked(String),
}

/// An image that a thread works at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    step: Step,
    epoch: u64,
    place: usize,
    sample: Sample,
    /// From 1.
    attempt: u32,
}

/// What the owner's wait came to.
#[derive(Debug)]
pub(super) enum Waited {
    Complete(Content),
    /// So many threads hang that others have to be started in their stead.
    Short {
        n_threads: usize,
    },
    TooLong,
}

impl Window {
    pub(super) fn new(settings: LoaderSettings, files: Files) -> Self {
        let view_size = settings.format.view_size(settings.pixels);
        let size = settings.shards.batch_per_rank as usize * view_size;
        let window = Self {
            limits: Limits::of(settings.read_timeout),
            files,
            pool: Pool::new(settings.format, size),
            state: Mutex::new(State {
                batches: VecDeque::new(),
                again: VecDeque::new(),
                next_step: settings.first_step.0,
                end: None,
                n_asleep: 0,
                n_working: 0,
                watches: Vec::new(),
            }),
            work: Condvar::new(),
            progress: Condvar::new(),
            settings,
        };
        window.fill(&mut window.lock());
        window
    }

    /// Waits for the oldest batch and takes it out.
    pub(super) fn wait(&self, deadline: Instant) -> Result<Waited, LoadError> {
        let mut state = self.lock();
        loop {
            match &state.end {
                Some(End::Stopped) => return Err(LoadError::Ended),
                Some(End::Panicked(message)) => return Err(LoadError::Panicked(message.clone())),
                None => {}
            }
            match state.batches.front() {
                None => return Err(LoadError::Ended),
                Some(oldest) if oldest.is_complete() => break,
                Some(_) => {}
            }
            let n_threads = self.look_at_readers(&mut state);
            if n_threads > 0 {
                return Ok(Waited::Short { n_threads });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Waited::TooLong);
            }
            let pause = left.min(self.limits.slow);
            let waited = self.progress.wait_timeout(state, pause);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let oldest = state.batches.pop_front().expect("it was just looked at");
        match oldest.content(&self.settings, &self.pool) {
            Ok(content) => {
                self.fill(&mut state);
                Ok(Waited::Complete(content))
            }
            Err(error) => {
                state.end = Some(End::Stopped);
                self.work.notify_all();
                Err(error)
            }
        }
    }

    /// Ends all work after the images that are being made.
    pub(super) fn stop(&self) {
        self.end(End::Stopped);
    }

    fn end(&self, end: End) {
        self.lock().end.get_or_insert(end);
        self.work.notify_all();
        self.progress.notify_all();
    }

    /// The files that take long to read.
    pub(super) fn slow_files(&self) -> Vec<SlowFile> {
        let slow = self.lock();
        let slow = slow.watches.iter().filter_map(|watch| watch.slow());
        slow.map(|(sample, waited)| SlowFile {
            path: self.settings.index.entry(sample).path(),
            waited,
        })
        .collect()
    }

    /// A thread is about to begin.
    pub(super) fn enter(&self) -> Arc<Watch> {
        let watch = Arc::default();
        let mut state = self.lock();
        state.watches.push(Arc::clone(&watch));
        state.n_working += 1;
        watch
    }

    /// A thread's life. A panic ends the window, so that whoever waits for a batch learns of it.
    pub(super) fn work(&self, watch: &Arc<Watch>) {
        let life = || {
            let canvas = || Canvas::new(self.settings.pixels);
            let (mut desk, mut canvases) = (Desk::new(Arc::clone(watch)), [canvas(), canvas()]);
            let mut made = None;
            while let Some(claim) = self.finish_and_claim(made.take(), watch) {
                made = self
                    .make(claim, &mut desk, &mut canvases)
                    .map(|made| (claim, made));
            }
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(life)) {
            self.end(End::Panicked(panic_text(panic.as_ref())));
        }
        self.lock().watches.retain(|other| !Arc::ptr_eq(other, watch));
    }

    /// Puts down what was made, and takes the next image nobody works at; none when the window ended, or when there are more
    /// threads than there should be.
    fn finish_and_claim(&self, made: Option<(Claim, Made)>, watch: &Arc<Watch>) -> Option<Claim> {
        let mut state = self.lock();
        if let Some((claim, made)) = made {
            let batch = state.batch(claim.step);
            batch
                .expect("a batch stays until its last image is finished")
                .finish(claim.place, made);
            self.tell_if_complete(&state);
        }
        loop {
            if state.end.is_some() {
                return None;
            }
            if state.n_working > self.n_threads() {
                state.n_working -= 1;
                state.watches.retain(|other| !Arc::ptr_eq(other, watch));
                return None;
            }
            if let Some(claim) = state.claim() {
                return Some(claim);
            }
            state.n_asleep += 1;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.n_asleep -= 1;
        }
    }

    /// Both views of the image, or why there are none. Nothing if another thread made it meanwhile.
    fn make(&self, claim: Claim, desk: &mut Desk, canvases: &mut [Canvas; 2]) -> Option<Made> {
        desk.begin(claim);
        let found = self.files.find(&self.settings.index, claim.sample, desk);
        let mut parts = self.take_parts(claim, std::mem::take(&mut desk.n_slow))?;
        let mut times = desk.times;
        if found.is_ok() {
            timed(&mut times.augment, || {
                self.draw(&desk.image, claim, canvases);
            });
            timed(&mut times.write, || {
                for (canvas, part) in canvases.iter().zip(&mut parts).take(self.settings.n_views) {
                    self.settings.format.write(canvas, part);
                }
            });
        }
        Some(Made {
            parts,
            result: found,
            times,
        })
    }

    fn take_parts(&self, claim: Claim, n_slow: usize) -> Option<Parts> {
        let mut state = self.lock();
        // Found slow, it was counted out, and it is back.
        state.n_working += n_slow;
        state.batch(claim.step)?.take_parts(claim.place)
    }

    fn draw(&self, image: &Image, claim: Claim, canvases: &mut [Canvas; 2]) {
        for (view, canvas) in canvases.iter_mut().enumerate().take(self.settings.n_views) {
            let key = ViewKey {
                seed: self.settings.shards.seed,
                epoch: claim.epoch,
                sample: claim.sample,
                view,
            };
            let view = ViewParameters::draw(&self.settings.augment, (image.width, image.height), key);
            match self.settings.augment_on {
                AugmentOn::Cpu => view.render(image, canvas),
                AugmentOn::Device => view.crop(image, canvas),
            }
        }
    }

    /// Has the files read again that hang. How many threads are lacking because of it.
    fn look_at_readers(&self, state: &mut State) -> usize {
        let limits = self.limits;
        let changes: Vec<_> = state
            .watches
            .iter()
            .filter_map(|watch| watch.look(limits))
            .collect();
        for change in changes {
            match change {
                Change::Slow => state.n_working = state.n_working.saturating_sub(1),
                Change::Lost(claim) if claim.attempt < TRIES => {
                    state.again.push_back(Claim {
                        attempt: claim.attempt + 1,
                        ..claim
                    });
                    self.work.notify_one();
                }
                Change::Lost(claim) => self.give_up(state, claim),
            }
        }
        let room = (self.n_threads() + MOST_SUBSTITUTES).saturating_sub(state.watches.len());
        self.n_threads().saturating_sub(state.n_working).min(room)
    }

    fn give_up(&self, state: &mut State, claim: Claim) {
        let error = LoadError::Hangs {
            path: self.settings.index.locate(claim.sample),
            limit: self.limits.lost,
            tries: TRIES,
        };
        if let Some(batch) = state.batch(claim.step) {
            batch.give_up(claim.place, error);
            self.tell_if_complete(state);
        }
    }

    fn tell_if_complete(&self, state: &State) {
        if state.batches.front().is_some_and(Making::is_complete) {
            self.progress.notify_one();
        }
    }

    /// Lets new batches in while there is room, and wakes as many threads as find work.
    fn fill(&self, state: &mut State) {
        let room = self.settings.ahead.max(1) as usize;
        let mut n_images = 0;
        while state.batches.len() < room && state.next_step < self.settings.last_step {
            let batch = Making::new(Step(state.next_step), &self.settings, &self.pool);
            n_images += batch.n_left();
            state.batches.push_back(batch);
            state.next_step += 1;
        }
        for _ in 0..n_images.min(state.n_asleep) {
            self.work.notify_one();
        }
    }

    fn n_threads(&self) -> usize {
        self.settings.threads.max(1) as usize
    }

    /// A thread that panicked ends the window anyway; what it held is not looked at again.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn batch(&mut self, step: Step) -> Option<&mut Making> {
        self.batches.iter_mut().find(|batch| batch.step == step)
    }

    fn claim(&mut self) -> Option<Claim> {
        if let Some(claim) = self.again.pop_front() {
            return Some(claim);
        }
        self.batches.iter_mut().find_map(|batch| {
            let (place, sample) = batch.claim()?;
            Some(Claim {
                step: batch.step,
                epoch: batch.epoch,
                place,
                sample,
                attempt: 1,
            })
        })
    }
}

/// At most so long does a wait of the owner last by itself.
pub(super) const FOREVER: Duration = Duration::from_secs(3600);
