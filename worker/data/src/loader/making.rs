//! A batch in the making: which of its images are claimed, and what the finished ones left behind.
//!
//! ```text
//!  image: free ──claim──► claimed ──its parts are taken──► being written ──► done, or failed
//! ```
//! An image that is read anew because reading hung is claimed twice; whoever takes its parts first makes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::BytesMut;
use m2t_common::shard::Sample;
use m2t_common::{Rank, Step};

use super::known::KnownImages;
use super::stages::StageTimes;
use super::views::Pool;
use super::{LoadError, LoaderSettings, RankViews, Replacement};

/// Where the two views of an image are to be written.
pub(super) type Parts = [BytesMut; 2];

#[derive(Debug)]
pub(super) struct Making {
    pub(super) step: Step,
    /// The epoch whose views are seen.
    pub(super) epoch: u64,
    /// Rank by rank; what is known of its images already.
    ranks: Vec<(Vec<Sample>, Option<KnownImages>)>,
    batch_per_rank: usize,
    /// An image each, rank by rank.
    places: Vec<Place>,
    claimed: usize,
    finished: usize,
    replaced: BTreeMap<usize, Replacement>,
    failed: BTreeMap<usize, LoadError>,
    times: StageTimes,
}

#[derive(Debug)]
enum Place {
    Waiting(Parts),
    BeingWritten,
    Done(Parts),
    Failed,
}

/// What is left behind by an image whose parts were taken.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) parts: Parts,
    pub(super) result: Result<Option<Replacement>, LoadError>,
    pub(super) times: StageTimes,
}

/// What a complete batch consists of.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) step: Step,
    pub(super) ranks: Vec<RankViews>,
    pub(super) replaced: Vec<Replacement>,
    pub(super) times: StageTimes,
}

impl Making {
    pub(super) fn new(step: Step, settings: &LoaderSettings, pool: &Pool) -> Self {
        let shards = &settings.shards;
        let batch_per_rank = shards.batch_per_rank as usize;
        let view_size = settings.format.view_size(settings.pixels);
        let epoch = settings.draws.of(shards.epoch(step));
        let of_rank = |&rank: &Rank| {
            let samples = shards.samples(step, rank).1;
            let known = settings.known.of(epoch, &samples);
            (samples, known)
        };
        let ranks: Vec<_> = settings.ranks.iter().map(of_rank).collect();
        let mut places = Vec::with_capacity(ranks.len() * batch_per_rank);
        let mut finished = 0;
        for (_, known) in &ranks {
            let mut wholes = [pool.take(), pool.take()];
            for _ in 0..batch_per_rank {
                let parts = wholes.each_mut().map(|whole| whole.split_to(view_size));
                places.push(match known {
                    Some(_) => Place::Done(parts),
                    None => Place::Waiting(parts),
                });
            }
            finished += known.as_ref().map_or(0, |_| batch_per_rank);
        }
        Self {
            step,
            epoch,
            ranks,
            batch_per_rank,
            places,
            claimed: 0,
            finished,
            replaced: BTreeMap::new(),
            failed: BTreeMap::new(),
            times: StageTimes::default(),
        }
    }

    /// Images that are to be made.
    pub(super) fn n_left(&self) -> usize {
        self.places.len() - self.finished
    }

    pub(super) fn is_complete(&self) -> bool {
        self.finished == self.places.len()
    }

    /// The place of the next image nobody works at, and its sample.
    pub(super) fn claim(&mut self) -> Option<(usize, Sample)> {
        while let Some(Place::Done(_)) = self.places.get(self.claimed) {
            self.claimed += 1;
        }
        let place = self.claimed;
        let (samples, _) = self.ranks.get(place / self.batch_per_rank)?;
        self.claimed += 1;
        Some((place, samples[place % self.batch_per_rank]))
    }

    /// The parts of an image, for whoever comes first.
    pub(super) fn take_parts(&mut self, place: usize) -> Option<Parts> {
        match std::mem::replace(&mut self.places[place], Place::BeingWritten) {
            Place::Waiting(parts) => Some(parts),
            other => {
                self.places[place] = other;
                None
            }
        }
    }

    pub(super) fn finish(&mut self, place: usize, made: Made) {
        let Made { parts, result, times } = made;
        self.times += times;
        self.finished += 1;
        self.places[place] = Place::Done(parts);
        match result {
            Ok(None) => {}
            Ok(Some(replaced)) => drop(self.replaced.insert(place, replaced)),
            Err(error) => self.fail(place, error),
        }
    }

    /// Gives up an image whose parts nobody took.
    pub(super) fn give_up(&mut self, place: usize, error: LoadError) {
        if matches!(self.places[place], Place::Waiting(_)) {
            self.finished += 1;
            self.fail(place, error);
        }
    }

    fn fail(&mut self, place: usize, error: LoadError) {
        self.places[place] = Place::Failed;
        self.failed.insert(place, error);
    }

    /// What a complete batch consists of, or the first thing that went wrong in it.
    pub(super) fn content(
        mut self,
        settings: &LoaderSettings,
        pool: &Arc<Pool>,
    ) -> Result<Content, LoadError> {
        if let Some((_, error)) = self.failed.pop_first() {
            return Err(error);
        }
        let ranks = settings.ranks.iter().zip(self.ranks);
        let ranks = ranks.zip(self.places.chunks_exact_mut(self.batch_per_rank));
        let ranks = ranks.map(|((&rank, (samples, known)), places)| RankViews {
            rank,
            samples,
            known,
            views: [0, 1].map(|view| pool.join(places.iter_mut().map(|place| place.part(view)))),
        });
        Ok(Content {
            step: self.step,
            ranks: ranks.collect(),
            replaced: self.replaced.into_values().collect(),
            times: self.times,
        })
    }
}

impl Place {
    fn part(&mut self, view: usize) -> BytesMut {
        let Self::Done(parts) = self else {
            unreachable!("every image of a complete batch is done");
        };
        std::mem::take(&mut parts[view])
    }
}
