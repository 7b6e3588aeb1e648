//! Views for evaluation: every image of a range exactly once, in order, none replaced.

use std::any::Any;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use m2t_common::shard::Sample;

use super::LoadError;
use super::files::{Desk, Files};
use crate::augment::{Canvas, center_view};
use crate::decode::{Image, panic_text};
use crate::index::Index;

/// Which images to look at, and how.
#[derive(Clone, Debug)]
pub struct Evaluation<'a> {
    /// The data set.
    pub index: &'a Index,
    /// The samples, by number; all below the number of files.
    pub samples: Range<u64>,
    /// Side of a view.
    pub pixels: u32,
    /// Threads; 0 counts as 1.
    pub threads: u32,
}

/// The centre views of the samples: `[n, 3, pixels, pixels]`, normalised.
///
/// # Errors
/// The first file, in order, that cannot be read or decoded.
pub fn center_views(
    index: &Index,
    samples: Range<u64>,
    pixels: u32,
    threads: u32,
) -> Result<Vec<f32>, LoadError> {
    let evaluation = Evaluation {
        index,
        samples,
        pixels,
        threads,
    };
    load_views(&evaluation, |_, image, canvas, out| {
        center_view(image, canvas, out);
    })
}

/// Lets `view` make one view of each sample, in parallel: `[n, 3, pixels, pixels]`.
///
/// # Errors
/// The first file, in order, that cannot be read or decoded.
pub fn load_views(
    evaluation: &Evaluation<'_>,
    view: impl Fn(Sample, &Image, &mut Canvas, &mut [f32]) + Sync,
) -> Result<Vec<f32>, LoadError> {
    let Evaluation {
        index,
        samples,
        pixels,
        threads,
    } = evaluation;
    let files = Files::on_disk();
    let size = 3 * (*pixels as usize).pow(2);
    let mut views = vec![0.0; samples.clone().count() * size];
    // Handed out in order; a failure ends it. So every sample before the first that fails is looked at, and the error
    // is the same for any number of threads.
    let places = Mutex::new(Some(
        samples.clone().map(Sample).zip(views.chunks_exact_mut(size)),
    ));
    let lock = || places.lock().unwrap_or_else(PoisonError::into_inner);
    let look_at = |sample: Sample, desk: &mut Desk| {
        let decoded = files.decode(index, sample, desk)?;
        decoded.map_err(|source| LoadError::Decode {
            path: index.locate(sample),
            source,
        })
    };
    let work = || -> Result<(), (Sample, LoadError)> {
        let mut desk = Desk::new(Arc::default());
        let mut canvas = Canvas::new(*pixels);
        loop {
            let place = lock().as_mut().and_then(Iterator::next);
            let Some((sample, out)) = place else { return Ok(()) };
            look_at(sample, &mut desk).map_err(|error| {
                *lock() = None;
                (sample, error)
            })?;
            view(sample, &desk.image, &mut canvas, out);
        }
    };
    let failed = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..(*threads).max(1)).map(|_| scope.spawn(work)).collect();
        let panicked = |panic: Box<dyn Any + Send>| {
            let error = LoadError::Panicked(panic_text(panic.as_ref()));
            Err((Sample(samples.start), error))
        };
        let results = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(panicked));
        results.filter_map(Result::err).min_by_key(|(sample, _)| *sample)
    });
    match failed {
        Some((_, error)) => Err(error),
        None => Ok(views),
    }
}
