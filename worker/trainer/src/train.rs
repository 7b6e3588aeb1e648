//! The training loop of one device in its group: load, step, tell, checkpoint; until the last step, a boundary that all stop at,
//! or something breaks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use m2t_common::machine_link::{Boundary, StartFrom};
use m2t_common::recipe::{AugmentOn, LedgerDetail, Plan, Recipe};
use m2t_common::report::{News, RankSamples, ReplacedFile, StepReport, WAITS};
use m2t_common::trainer_link::Start;
use m2t_common::{Rank, Step};
use m2t_data::loader::RankViews;
use m2t_data::{Batch, ViewKey, ViewParameters};
use tch::{Device, Kind, Tensor};

use crate::augment;
use crate::checkpoint::{Belonging, Job, Need, Writer};
use crate::feed::Feed;
use crate::generation::End;
use crate::leave::Leave;
use crate::link::Link;
use crate::membership::Membership;
use crate::state::activations;
use crate::step::{Committed, Trainer, Views};

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
        let mut boundary = Boundary::GoOn;
        let mut began = Instant::now();
        while !self.is_last() && boundary == Boundary::GoOn {
            let batch = feed.batch(|files| self.tell(News::SlowFiles { files }))?;
            let views = tensors(&batch, self.start, self.plan, self.trainer.state.device());
            let committed = self
                .trainer
                .step(&views, &self.plan.schedule, membership.boundary())?;
            let mut report = report(self.step(), &committed, &batch, began.elapsed());
            self.add_proofs(&mut report, &batch);
            self.tell(News::Stepped(report));
            began = Instant::now();
            boundary = committed.boundary;
            // The last one is the end's, and a group that is held goes on at once as another.
            let goes_on = !self.is_last() && boundary == Boundary::GoOn;
            if goes_on && is_due(self.step(), self.plan, &self.start.recipe) {
                self.checkpoint(Need::Should, membership)?;
            }
        }
        if boundary == Boundary::Hold && !self.is_last() {
            return Ok(End::Out { broken: None });
        }
        self.end(membership)
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

/// The views as tensors, on the CPU or already on the device; what the loader left to do is done there.
fn tensors(batch: &Batch, start: &Start, plan: &Plan, device: Device) -> Vec<(Rank, Views)> {
    let recipe = &start.recipe;
    let (b, side) = (
        i64::from(recipe.training.batch_per_rank),
        i64::from(recipe.training.pixels),
    );
    // One copy, into the tensor's own memory.
    let size = [b, side, side, 3];
    let tensor = |bytes: &[u8], kind: Kind| Tensor::from_data_size(bytes, &size, kind).permute([0, 3, 1, 2]); // [B, 3, H, W]
    let of_rank = |rank: &RankViews| match recipe.training.augment_on {
        AugmentOn::Cpu => rank
            .views
            .each_ref()
            .map(|views| tensor(views.bytes(), loaded(activations(recipe)))),
        AugmentOn::Device => [0, 1].map(|view| {
            let levels = tensor(rank.views[view].bytes(), Kind::Uint8);
            let drawn = rank.samples.iter().map(|&sample| {
                let key = ViewKey {
                    seed: plan.shards.seed,
                    epoch: plan.shards.epoch(batch.step),
                    sample,
                    view,
                };
                // The crop, which alone depends on the picture's size, is done.
                ViewParameters::draw(&recipe.augment, (1, 1), key)
            });
            augment::finish(&levels.to_device(device), &drawn.collect::<Vec<_>>())
        }),
    };
    batch
        .ranks
        .iter()
        .map(|rank| (rank.rank, of_rank(rank)))
        .collect()
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
