//! The training loop of one device: load, step, tell, checkpoint; until the last step, a drain, or something breaks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use m2t_common::recipe::{Plan, Recipe};
use m2t_common::report::{News, ReplacedFile, StepReport};
use m2t_common::trainer_link::Start;
use m2t_common::{Rank, Step};
use m2t_data::Index;
use m2t_data::loader::{Batch, Loader, LoaderSettings};
use tch::{Kind, Tensor};

use crate::checkpoint::{self, Belonging, Need, Writer};
use crate::group;
use crate::link::Link;
use crate::state::{State, options};
use crate::step::{Committed, Trainer, Views};
use crate::sum::round::Stopping;

/// Trains as `start` says, and tells `link`. Returns when the run is finished or the group has drained.
///
/// # Errors
/// When the device cannot go on in this generation; nothing but committed steps has been told.
pub fn train(start: &Start, link: &Arc<dyn Link>) -> anyhow::Result<()> {
    let training = &start.recipe.training;
    m2t_torch::set_threads(training.threads_per_device);
    let plan = start.recipe.plan(start.n_samples)?;
    let ranks = own_ranks(start)?;
    let state = first_state(start, &ranks)?;
    let mut loader = loader(start, &plan, &ranks, state.step)?;
    let group = group::join(start, &**link)?;
    let writes_checkpoints = group.index() == 0;
    let mut trainer = Trainer::new(&start.recipe, &ranks, state, group)?;
    let belonging = Belonging {
        recipe: start.recipe.clone(),
        n_samples: start.n_samples,
    };
    let writer = Writer::start(start.output.join("checkpoints"), belonging, Arc::clone(link));
    link.tell(&News::Ready {
        step: trainer.state.step,
    });

    let mut stopped = false;
    let mut began = Instant::now();
    while trainer.state.step.0 < plan.schedule.total_steps && !stopped {
        let batch = loader.next()?;
        let stopping = if link.draining() {
            Stopping::AfterThisStep
        } else {
            Stopping::No
        };
        let committed = trainer.step(&tensors(&batch, &start.recipe), &plan.schedule, stopping)?;
        let step = trainer.state.step;
        link.tell(&News::Stepped(report(step, &committed, &batch, began.elapsed())));
        began = Instant::now();
        stopped = committed.stop;
        if stopped || is_due(step, &plan, &start.recipe) {
            let group = Arc::clone(trainer.group());
            if writes_checkpoints {
                let snapshot = trainer.state.snapshot(training.world, &*group)?;
                let is_last = stopped || step.0 == plan.schedule.total_steps;
                writer.write(snapshot, if is_last { Need::Must } else { Need::Should });
            } else {
                trainer.state.give_to_snapshot(training.world, &*group)?;
            }
        }
    }
    writer.finish();
    let step = trainer.state.step;
    let end = if step.0 < plan.schedule.total_steps {
        News::Stopped { step }
    } else {
        let state_digest = trainer
            .state
            .snapshot(training.world, &**trainer.group())?
            .digest();
        News::Finished { step, state_digest }
    };
    link.tell(&end);
    Ok(())
}

fn own_ranks(start: &Start) -> anyhow::Result<Vec<Rank>> {
    let placed = start
        .placement
        .devices
        .iter()
        .find(|placed| placed.device == start.device);
    let placed = placed.with_context(|| format!("device {} hosts no rank", start.device))?;
    Ok(placed.ranks.clone())
}

fn first_state(start: &Start, ranks: &[Rank]) -> anyhow::Result<State> {
    let mut state = State::initial(&start.recipe, ranks)?;
    if let Some(name) = &start.start_from {
        let folder = start.output.join("checkpoints").join(name.as_str());
        let (manifest, snapshot) = checkpoint::read(&folder)?;
        let differences = manifest.recipe.differences(&start.recipe);
        ensure!(
            differences.is_empty(),
            "{} was made by another recipe: {differences:?}",
            folder.display()
        );
        state.restore(&snapshot)?;
    }
    Ok(state)
}

fn loader(start: &Start, plan: &Plan, ranks: &[Rank], first_step: Step) -> anyhow::Result<Loader> {
    let index = Index::read(&start.data)?;
    let n_found = index.files.len() as u64;
    ensure!(
        n_found == start.n_samples,
        "{} has {n_found} images and the run was begun with {}; restore the data set",
        start.data.display(),
        start.n_samples
    );
    let recipe = &start.recipe;
    Ok(Loader::start(LoaderSettings {
        index: Arc::new(index),
        augment: recipe.augment.clone(),
        shards: plan.shards,
        ranks: ranks.to_vec(),
        pixels: recipe.training.pixels,
        first_step,
        last_step: plan.schedule.total_steps,
        threads: recipe.run.loader_threads,
        ahead: recipe.run.loader_ahead,
    })?)
}

/// The views as tensors of the recipe's kind.
fn tensors(batch: &Batch, recipe: &Recipe) -> Vec<(Rank, Views)> {
    let (kind, _) = options(recipe);
    let (b, side) = (
        i64::from(recipe.training.batch_per_rank),
        i64::from(recipe.training.pixels),
    );
    let tensor = |view: &Vec<f32>| as_images(view, [b, 3, side, side], kind);
    batch
        .ranks
        .iter()
        .map(|of_rank| (of_rank.rank, of_rank.views.each_ref().map(tensor)))
        .collect()
}

fn as_images(values: &[f32], shape: [i64; 4], kind: Kind) -> Tensor {
    Tensor::from_slice(values).view(shape).to_kind(kind)
}

fn report(step: Step, committed: &Committed, batch: &Batch, duration: Duration) -> StepReport {
    let replaced = batch.replaced.iter().map(|file| ReplacedFile {
        sample: file.sample,
        by: file.by,
        path: file.path.display().to_string(),
        reason: file.reason.clone(),
    });
    StepReport {
        step,
        loss: committed.loss,
        loss_by_rank: committed.loss_by_rank.clone(),
        gradient_norm: committed.gradient_norm,
        duration,
        data_wait: batch.waited,
        replaced: replaced.collect(),
    }
}

/// At the end of each epoch, every `checkpoint_every` steps, and after the last step.
fn is_due(step: Step, plan: &Plan, recipe: &Recipe) -> bool {
    let every = recipe.run.checkpoint_every;
    plan.shards.step_in_epoch(step) == 0
        || (every > 0 && step.0.is_multiple_of(every))
        || step.0 == plan.schedule.total_steps
}
