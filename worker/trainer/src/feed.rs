//! The batches of one generation: a loader that a hold ends, and that holds nobody up when it is dropped.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use m2t_common::recipe::{AugmentOn, Dtype, Evaluate, Plan, Recipe};
use m2t_common::shard::Draws;
use m2t_common::trainer_link::Start;
use m2t_common::{Rank, Step};
use m2t_data::loader::Known;
use m2t_data::{Batch, Cache, Element, Index, Layout, LoadError, Loader, LoaderSettings, ViewFormat};
use tch::Device;

use crate::encoder::FrozenEncoder;
use crate::evaluation::{Exam, held_out_folder};
use crate::kept_features::KeptFeatures;
use crate::leave::Leave;
use crate::membership::Membership;
use crate::objective::Objective;

/// A device that waited so long for data when its generation was ended is the one that hung.
const HANGS: Duration = Duration::from_secs(30);

/// How often it is looked, while a batch is waited for, whether reading takes long.
const LOOK: Duration = Duration::from_secs(1);

/// A loader of one generation.
pub struct Feed {
    // None only while it is dropped.
    loader: Option<Loader>,
    membership: Arc<Membership>,
    /// Files whose reading takes long, as last told.
    slow: Vec<String>,
    data: std::path::PathBuf,
}

impl Feed {
    /// Starts to load what the ranks need from `first_step` on.
    pub fn start(
        start: &Start,
        (index, plan, (ranks, first_step, known)): (Arc<Index>, &Plan, (&[Rank], Step, Known)),
        membership: &Arc<Membership>,
    ) -> Result<Self, Leave> {
        let recipe = &start.recipe;
        let loader = Loader::start(LoaderSettings {
            index,
            augment: recipe.augment.clone(),
            shards: plan.shards,
            ranks: ranks.to_vec(),
            pixels: recipe.training.pixels,
            first_step,
            last_step: plan.schedule.total_steps,
            threads: recipe.run.loader_threads,
            ahead: recipe.run.loader_ahead,
            augment_on: recipe.training.augment_on,
            format: ViewFormat {
                layout: Layout::ChannelsLast,
                element: match (recipe.training.augment_on, recipe.training.dtype) {
                    (AugmentOn::Device, _) => Element::U8,
                    (AugmentOn::Cpu, Dtype::Bfloat16) => Element::Bf16,
                    (AugmentOn::Cpu, Dtype::Float32 | Dtype::Float64) => Element::F32,
                },
            },
            read_timeout: recipe.run.read_timeout,
            draws: recipe.draws(),
            known,
            n_views: if recipe.training.linear.is_some() { 1 } else { 2 },
        })?;
        let stopper = loader.stopper();
        let feed = Self {
            loader: Some(loader),
            membership: Arc::clone(membership),
            slow: Vec::new(),
            data: start.data.clone(),
        };
        membership.at_hold(move || stopper.stop())?;
        Ok(feed)
    }

    /// The next step's batch, or the end of the generation if that comes first. While it is waited for, `tell_slow` hears of
    /// the files whose reading takes long, each time that they are others.
    pub fn batch(&mut self, tell_slow: impl Fn(Vec<String>)) -> Result<Batch, Leave> {
        let began = Instant::now();
        loop {
            match self.loader().next_within(LOOK) {
                Err(LoadError::Ended) if self.membership.check().is_err() => {
                    return Err(cut_off(began.elapsed()).map_or(Leave::Held, |error| {
                        Leave::Failed(error.context(format!("no image comes from {}", self.data.display())))
                    }));
                }
                result => match result? {
                    Some(batch) if self.slow.is_empty() => return Ok(batch),
                    Some(batch) => {
                        self.look_for_slow_files(tell_slow);
                        return Ok(batch);
                    }
                    None => self.look_for_slow_files(&tell_slow),
                },
            }
        }
    }

    fn loader(&mut self) -> &mut Loader {
        self.loader.as_mut().expect("it is there until the drop")
    }

    fn look_for_slow_files(&mut self, tell: impl Fn(Vec<String>)) {
        let slow = self.loader().slow_files();
        let names: Vec<_> = slow.iter().map(|file| file.path.display().to_string()).collect();
        if names == self.slow {
            return;
        }
        for file in slow {
            tracing::warn!(
                "reading {} has taken {:.1} s so far",
                file.path.display(),
                file.waited.as_secs_f64()
            );
        }
        self.slow.clone_from(&names);
        tell(names);
    }
}

/// What is wrong with a wait for data of this length that a hold ended.
fn cut_off(waited: Duration) -> Option<anyhow::Error> {
    (waited > HANGS).then(|| {
        anyhow!(
            "a batch was waited for for {} s; look at the disk or the mount of the data folder",
            waited.as_secs()
        )
    })
}

impl Drop for Feed {
    /// In the background: a thread that hangs on a disk is not waited for.
    fn drop(&mut self) {
        let loader = self.loader.take();
        if let Some(loader) = &loader {
            loader.stopper().stop();
        }
        std::thread::spawn(move || drop(loader));
    }
}

/// Something that is read once a process, whoever asks first.
pub struct Once<T>(Arc<std::sync::OnceLock<Result<Arc<T>, String>>>);

impl<T> Clone for Once<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Once<T> {
    /// It; the first call reads it, and every other one waits for that.
    ///
    /// # Errors
    /// What went wrong when it was read.
    pub fn get(&self, read: impl FnOnce() -> anyhow::Result<Arc<T>>) -> anyhow::Result<Arc<T>> {
        let read = || read().map_err(|error| format!("{error:#}"));
        self.0.get_or_init(read).clone().map_err(|error| anyhow!(error))
    }
}

/// What a process reads once: the data folder's index; where it evaluates, that of the held-out images; where views come again, which
/// features are kept.
#[derive(Clone, Default)]
pub struct Data {
    index: Once<Index>,
    held_out: Once<Index>,
    kept: Once<KeptFeatures>,
}

impl Data {
    /// The index of the data folder.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn index(&self, folder: &Path) -> anyhow::Result<Arc<Index>> {
        self.index.get(|| {
            let index =
                Index::open(folder, &Cache::usual()).context("cannot read the data folder's index")?;
            Ok(Arc::new(index))
        })
    }

    /// What is asked of the encoders now and then, if the recipe wants that.
    ///
    /// # Errors
    /// When the held-out images are not there, or of other classes.
    pub fn exam(&self, recipe: &Recipe, folder: &Path) -> anyhow::Result<Option<Exam>> {
        if recipe.run.evaluate == Evaluate::Off {
            return Ok(None);
        }
        let held_out = self.held_out.get(|| {
            let folder = held_out_folder(recipe, folder);
            let index = Index::open(&folder, &Cache::usual()).context(
                "the held-out images cannot be read; name their folder with run.evaluate_on, or leave run.evaluate off",
            )?;
            Ok(Arc::new(index))
        })?;
        Exam::new(recipe, &*self.index(folder)?, &held_out).map(Some)
    }

    /// The features that are kept of a frozen encoder, if the recipe has views come again.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn kept_features(
        &self,
        start: &Start,
        objective: &Objective,
    ) -> anyhow::Result<Option<Arc<KeptFeatures>>> {
        match objective {
            Objective::Linear { encoder, .. } if start.recipe.draws() != Draws::default() => {
                let index = self.index(&start.data)?;
                let of = (&start.recipe, &*index);
                let kept = || Ok(Arc::new(KeptFeatures::of(&start.output, of, encoder.shape())));
                self.kept.get(kept).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// What is trained.
    ///
    /// # Errors
    /// When the encoder below a linear head cannot be read, or the data have another number of classes than the head.
    pub fn objective(&self, recipe: &Recipe, folder: &Path, device: Device) -> anyhow::Result<Objective> {
        let Some(linear) = &recipe.training.linear else {
            return Ok(Objective::pretraining(recipe));
        };
        let index = self.index(folder)?;
        let n_classes = index.classes().count();
        ensure!(
            n_classes as u64 == u64::from(linear.classes),
            "{} has {n_classes} classes and the recipe says linear.classes = {}; write {n_classes}",
            folder.display(),
            linear.classes
        );
        let encoder = FrozenEncoder::of_linear(recipe, linear, &index, device)?;
        Ok(Objective::linear(recipe, linear.classes, encoder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_wait_for_data_is_the_devices_own_failure() {
        assert!(cut_off(Duration::from_secs(29)).is_none());
        let said = cut_off(Duration::from_secs(31)).unwrap().to_string();
        assert!(said.contains("31 s") && said.contains("disk"), "{said}");
    }
}
