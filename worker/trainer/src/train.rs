//! The training loop of one device in its group: load, step, tell, evaluate, checkpoint; until the last step, a boundary that all stop at,
//! or something breaks.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use m2t_common::machine_link::{Boundary, StartFrom};
use m2t_common::recipe::{AugmentOn, LedgerDetail, Plan, Recipe};
use m2t_common::report::{News, RankSamples, ReplacedFile, StepReport, WAITS};
use m2t_common::shard::Sample;
use m2t_common::trainer_link::Start;
use m2t_common::{Rank, Step};
use m2t_data::loader::RankViews;
use m2t_data::{Batch, Index, ViewKey, ViewParameters};
use tch::{Kind, Tensor};

use crate::augment;
use crate::checkpoint::{Belonging, Job, Need, Writer};
use crate::encoder::FrozenEncoder;
use crate::evaluation::share::Refusal;
use crate::evaluation::{Exam, Meanwhile, Outcome};
use crate::feed::Feed;
use crate::generation::End;
use crate::kept_features::{KeptFeatures, classes};
use crate::leave::Leave;
use crate::link::Link;
use crate::membership::Membership;
use crate::objective::{Images, Objective};
use crate::state::activations;
use crate::step::{Committed, Trainer};

/// How often it is told how far an evaluation is.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// A device in a group that stands.
pub struct Training<'a> {
    /// The generation.
    pub start: &'a Start,
    /// Its steps.
    pub plan: &'a Plan,
    /// State and group.
    pub trainer: &'a mut Trainer,
    /// Whoever is told.
    pub link: &'a dyn Link,
    /// Writes what is due.
    pub writer: &'a mut Writer,
    /// What is asked now and then, if anything.
    pub exam: Option<&'a Exam>,
    /// The data set.
    pub index: &'a Index,
    /// Features of epochs before, if views come again.
    pub kept: Option<&'a KeptFeatures>,
}

impl Training<'_> {
    /// Trains to the end of the generation.
    ///
    /// # Errors
    /// [`Leave`]; nothing but committed steps has been told.
    pub fn run(&mut self, feed: &mut Feed, membership: &Arc<Membership>) -> Result<End, Leave> {
        if self.trainer.group().index() == 0 {
            let n_bytes = self.trainer.state.n_frozen_bytes(self.world());
            self.writer.make_ready(n_bytes);
        }
        // It may have been left, or broken off, at just this step.
        let mut boundary = self.evaluate(membership)?;
        let mut began = Instant::now();
        while !self.is_last() && boundary == Boundary::GoOn {
            let batch = feed.batch(|files| self.tell(News::SlowFiles { files }))?;
            let images = self.images(&batch);
            let committed = self
                .trainer
                .step(&images, &self.plan.schedule, membership.boundary())?;
            let mut report = report(self.step(), &committed, &batch, began.elapsed());
            self.add_proofs(&mut report, &batch);
            m2t_log::stand("step", report.step.0);
            self.tell(News::Stepped(report));
            began = Instant::now();
            boundary = committed.boundary;
            // The last one is the end's, and a group that is held goes on at once as another.
            let goes_on = !self.is_last() && boundary == Boundary::GoOn;
            if goes_on && is_due(self.step(), self.plan, &self.start.recipe) {
                self.checkpoint(Need::Should, membership)?;
            }
            if goes_on || self.is_last() {
                boundary = boundary.max(self.evaluate(membership)?);
            }
        }
        if boundary == Boundary::Hold && !self.is_last() {
            return Ok(End::Out { broken: None });
        }
        self.end(membership)
    }

    /// Finds out with the group what the encoders are worth, where that is due. The boundary at which all leave it, if they do; at the last
    /// step nobody does.
    fn evaluate(&self, membership: &Membership) -> Result<Boundary, Leave> {
        let (step, recipe) = (self.step(), &self.start.recipe);
        let exam = self.exam.filter(|_| recipe.is_evaluation(step, self.plan));
        let Some(exam) = exam else {
            return Ok(Boundary::GoOn);
        };
        let group = &**self.trainer.group();
        let meanwhile = Rounds {
            training: self,
            membership,
            told: Cell::new(Instant::now()),
        };
        let of = (recipe, &self.trainer.objective, &self.trainer.state);
        let mut news = Vec::new();
        match exam.of_state(of, (group, &meanwhile))? {
            Outcome::Left(boundary) => return Ok(boundary),
            Outcome::Figures(figures) => news.extend(figures.into_iter().map(News::Evaluated)),
            Outcome::Failed(Refusal { reason }) => news.push(News::EvaluationFailed { step, reason }),
        }
        if group.index() == 0 {
            news.into_iter().for_each(|news| self.tell(news));
        }
        Ok(Boundary::GoOn)
    }

    /// The last words, once the last checkpoint is on the disk.
    fn end(&mut self, membership: &Arc<Membership>) -> Result<End, Leave> {
        let step = self.step();
        let from_the_disk = matches!(self.start.start_from, StartFrom::Checkpoint(_));
        let unchanged = from_the_disk && step == self.start.start_from.step();
        if !unchanged && !self.writer.will_write(step) {
            self.checkpoint(Need::Must, membership)?;
        }
        self.writer.flush(membership)?;
        // Nobody goes before the checkpoint is on the disk: whoever writes it may yet be lost, and then the others have the state.
        self.trainer.group().barrier()?.wait()?;
        let end = if self.is_last() {
            let snapshot = self
                .trainer
                .state
                .snapshot(self.world(), &**self.trainer.group())?;
            News::Finished {
                step,
                state_digest: snapshot.digest(),
            }
        } else {
            News::Stopped { step }
        };
        self.tell(end);
        Ok(End::Done)
    }

    /// Hands a copy of the state to the writer on the first device; the others give their part.
    fn checkpoint(&mut self, need: Need, membership: &Arc<Membership>) -> Result<(), Leave> {
        let group = Arc::clone(self.trainer.group());
        let (state, world) = (&self.trainer.state, self.world());
        if group.index() > 0 {
            return Ok(state.give_to_snapshot(world, &*group)?);
        }
        let began = Instant::now();
        let frozen = state.freeze(world, &*group, self.writer.buffers())?;
        let job = Job {
            generation: self.start.generation,
            folder: self.start.output.join("checkpoints"),
            frozen,
            stall: began.elapsed(),
            belonging: Belonging {
                recipe: self.start.recipe.clone(),
                n_samples: self.start.n_samples,
            },
            need,
        };
        Ok(self.writer.write(job, membership)?)
    }

    /// What is said only now and then, or only where it is asked for: the digest of the state, and the samples.
    fn add_proofs(&self, report: &mut StepReport, batch: &Batch) {
        let recipe = &self.start.recipe;
        if recipe.run.ledger == LedgerDetail::Full {
            let consumed = batch.ranks.iter().map(|of_rank| RankSamples {
                rank: of_rank.rank,
                samples: of_rank.samples.clone(),
            });
            report.samples = consumed.collect();
        }
        if recipe.is_replica_check(report.step) {
            report.state_digest = self.trainer.state.digest();
        }
    }

    fn step(&self) -> Step {
        self.trainer.state.step
    }

    fn is_last(&self) -> bool {
        self.step().0 >= self.plan.schedule.total_steps
    }

    fn world(&self) -> u32 {
        self.start.recipe.training.world
    }

    fn tell(&self, news: News) {
        self.link.tell(self.start.generation, news);
    }
}

/// What the group does while it evaluates.
struct Rounds<'a> {
    training: &'a Training<'a>,
    membership: &'a Membership,
    /// When it was last told.
    told: Cell<Instant>,
}

impl Meanwhile for Rounds<'_> {
    fn done(&self, done: u64, of: u64) {
        let is_first = self.training.trainer.group().index() == 0;
        if is_first && (done == of || self.told.get().elapsed() > TOLD_EVERY) {
            let step = self.training.step();
            self.training.tell(News::Evaluating { step, done, of });
            self.told.set(Instant::now());
        }
    }

    fn boundary(&self) -> Boundary {
        if self.training.is_last() {
            return Boundary::GoOn;
        }
        self.membership.boundary()
    }
}

impl Training<'_> {
    /// A batch as tensors, on the CPU or already on the device; what the loader left to do is done there.
    fn images(&self, batch: &Batch) -> Vec<(Rank, Images)> {
        let of_rank = |of_rank: &RankViews| {
            let images = match (&self.trainer.objective, self.kept) {
                (Objective::Pretraining(_), _) => {
                    Images::Views([0, 1].map(|view| self.view(batch, of_rank, view)))
                }
                (Objective::Linear { .. }, None) => Images::Labelled {
                    images: self.view(batch, of_rank, 0),
                    labels: classes(&self.classes(batch, of_rank)),
                },
                (Objective::Linear { encoder, .. }, Some(kept)) => {
                    let (features, labels) = self.features(batch, of_rank, (encoder, kept));
                    Images::Features { features, labels }
                }
            };
            (of_rank.rank, images)
        };
        batch.ranks.iter().map(of_rank).collect()
    }

    /// Features [B, d] of a rank's images, and their classes: those that are known, or computed and kept.
    fn features(
        &self,
        batch: &Batch,
        rank: &RankViews,
        (encoder, kept): (&FrozenEncoder, &KeptFeatures),
    ) -> (Tensor, Tensor) {
        if let Some(known) = &rank.known {
            return kept.tensors(known);
        }
        let features = encoder.features(&self.view(batch, rank, 0));
        let of_images = self.classes(batch, rank);
        kept.keep((self.drawn_in(batch), &rank.samples), &features, &of_images);
        (features, classes(&of_images))
    }

    /// The epoch whose views a batch has.
    fn drawn_in(&self, batch: &Batch) -> u64 {
        let epoch = self.plan.shards.epoch(batch.step);
        self.start.recipe.draws().of(epoch)
    }

    /// One view of a rank's images, [B, 3, H, W].
    fn view(&self, batch: &Batch, rank: &RankViews, view: usize) -> Tensor {
        let recipe = &self.start.recipe;
        let (b, side) = (
            i64::from(recipe.training.batch_per_rank),
            i64::from(recipe.training.pixels),
        );
        // One copy, into the tensor's own memory.
        let size = [b, side, side, 3];
        let tensor =
            |bytes: &[u8], kind: Kind| Tensor::from_data_size(bytes, &size, kind).permute([0, 3, 1, 2]); // [B, 3, H, W]
        let bytes = rank.views[view].bytes();
        match recipe.training.augment_on {
            AugmentOn::Cpu => tensor(bytes, loaded(activations(recipe))),
            AugmentOn::Device => {
                let drawn = rank.samples.iter().map(|&sample| {
                    let key = ViewKey {
                        seed: self.plan.shards.seed,
                        epoch: self.drawn_in(batch),
                        sample,
                        view,
                    };
                    // The crop, which alone depends on the picture's size, is done.
                    ViewParameters::draw(&recipe.augment, (1, 1), key)
                });
                let levels = tensor(bytes, Kind::Uint8).to_device(self.trainer.state.device());
                augment::finish(&levels, &drawn.collect::<Vec<_>>())
            }
        }
    }

    /// The classes of a rank's images, [B]; of a replaced file that of the one in its place.
    fn classes(&self, batch: &Batch, rank: &RankViews) -> Vec<u32> {
        let shown = |sample: &Sample| {
            let replaced = batch.replaced.iter().find(|file| file.sample == *sample);
            replaced.map_or(*sample, |file| file.by)
        };
        let classes = rank
            .samples
            .iter()
            .map(|sample| self.index.entry(shown(sample)).class);
        classes.collect()
    }
}

/// What the loader's threads make of a view whose activations are to be of this kind.
fn loaded(activations: Kind) -> Kind {
    match activations {
        Kind::BFloat16 => Kind::BFloat16,
        _ => Kind::Float,
    }
}

fn report(step: Step, committed: &Committed, batch: &Batch, duration: Duration) -> StepReport {
    let replaced = batch.replaced.iter().map(|file| ReplacedFile {
        sample: file.sample,
        by: file.by,
        path: file.path.display().to_string(),
        reason: file.reason.clone(),
    });
    let is_worth_a_word = batch.waited.as_secs_f64() > WAITS * duration.as_secs_f64();
    StepReport {
        step,
        loss: committed.loss,
        loss_by_rank: committed.loss_by_rank.clone(),
        gradient_norm: committed.gradient_norm,
        duration,
        data_wait: batch.waited,
        bottleneck: is_worth_a_word.then(|| batch.times.bottleneck()),
        replaced: replaced.collect(),
        state_digest: None,
        samples: Vec::new(),
    }
}

/// Within a run: at the end of each epoch, and every `checkpoint_every` steps.
fn is_due(step: Step, plan: &Plan, recipe: &Recipe) -> bool {
    let every = recipe.run.checkpoint_every;
    plan.shards.step_in_epoch(step) == 0 || (every > 0 && step.0.is_multiple_of(every))
}
