//! One generation of one device: come to a state, come to a group, train in it ([`crate::train`]).
//!
//! However it ends but by an own failure, the state of the last commit is left in [`Life::kept`] if there is a whole one.

use std::sync::Arc;

use anyhow::{Context, ensure};
use m2t_common::Rank;
use m2t_common::machine_link::StartFrom;
use m2t_common::manifest::CheckpointName;
use m2t_common::recipe::Plan;
use m2t_common::report::News;
use m2t_common::trainer_link::Start;
use m2t_data::Index;
use m2t_torch::collective::Collective;
use tch::Device;

use crate::checkpoint;
use crate::donate::{self, Donation};
use crate::evaluation::Exam;
use crate::feed::{Data, Feed};
use crate::group;
use crate::kept_features::KeptFeatures;
use crate::leave::Leave;
use crate::life::Life;
use crate::membership::Membership;
use crate::state::State;
use crate::step::Trainer;
use crate::train::Training;

/// How a generation ended for this device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It said its last word; the process ends.
    Done,
    /// It is out of the group and waits for the next generation.
    Out {
        /// Why, where the group broke under it.
        broken: Option<String>,
    },
}

/// Takes part in the generation of `start`, to its end.
///
/// # Errors
/// [`Leave`] says why the device left before.
pub fn run(life: &mut Life, data: &Data, start: &Start, membership: &Arc<Membership>) -> Result<End, Leave> {
    note_where_it_stands(start);
    let index = index(data, start, membership)?;
    let plan = start.recipe.plan(start.n_samples).map_err(anyhow::Error::from)?;
    let ranks = own_ranks(start)?;
    m2t_log::stand("ranks", ranks.iter().map(|rank| rank.0).collect::<Vec<_>>());
    let donation = first_state(life, start, &ranks, membership)?;
    let first_step = start.start_from.step();
    let exam = prepared(life, data, start, membership)?;
    let objective = life.objective.as_ref().context("a generation trains something")?;
    let kept = data.kept_features(start, objective)?;
    let known = kept.as_ref().map(KeptFeatures::known).unwrap_or_default();
    let of_data = (Arc::clone(&index), &plan, (&*ranks, first_step, known));
    let mut feed = Feed::start(start, of_data, membership)?;
    let group = group::join(start, &*life.link, membership, &life.hardware)?;
    let of = (start, &plan, &*ranks);
    let end = in_group(
        life,
        of,
        (exam.as_ref(), &index, kept.as_deref()),
        (donation, &group),
        |training| training.run(&mut feed, membership),
    );
    if end.is_err() {
        // The peers notice, and nothing that was started is waited for.
        group.abort();
        group::departed(start, &*group)?;
    }
    end
}

/// From the group's first operation on. The state is in `life` before and after.
fn in_group(
    life: &mut Life,
    (start, plan, ranks): (&Start, &Plan, &[Rank]),
    (exam, index, kept): (Option<&Exam>, &Index, Option<&KeptFeatures>),
    (donation, group): (Option<Donation>, &Arc<dyn Collective>),
    train: impl FnOnce(&mut Training<'_>) -> Result<End, Leave>,
) -> Result<End, Leave> {
    if let Some(donation) = donation {
        let device = life.hardware.device();
        donation.share(
            &mut life.kept,
            || State::blank(&start.recipe, ranks, device),
            &**group,
        )?;
    }
    let state = life.kept.take().context("a generation begins with a state")?;
    let of = (&start.recipe, ranks);
    let objective = life.objective.take().context("a generation trains something")?;
    let mut trainer = Trainer::of(objective, of, state, Arc::clone(group))?;
    let step = trainer.state.step;
    life.link.tell(start.generation, News::Ready { step });
    let end = train(&mut Training {
        start,
        plan,
        trainer: &mut trainer,
        link: &*life.link,
        writer: &mut life.writer,
        exam,
        index,
        kept,
    });
    let (state, objective) = trainer.into_parts();
    (life.kept, life.objective) = (Some(state), Some(objective));
    end
}

/// Makes ready what is trained, where it is not yet, and what is asked of it now and then.
fn prepared(
    life: &mut Life,
    data: &Data,
    start: &Start,
    membership: &Arc<Membership>,
) -> Result<Option<Exam>, Leave> {
    let (device, is_ready) = (life.hardware.device(), life.objective.is_some());
    let (data, recipe, folder) = (data.clone(), start.recipe.clone(), start.data.clone());
    let read = move || {
        let exam = data.exam(&recipe, &folder)?;
        let objective = (!is_ready).then(|| data.objective(&recipe, &folder, device));
        anyhow::Ok((exam, objective.transpose()?))
    };
    let (exam, objective) = membership.apart(read)??;
    life.objective = objective.or(life.objective.take());
    Ok(exam)
}

fn index(data: &Data, start: &Start, membership: &Arc<Membership>) -> Result<Arc<Index>, Leave> {
    let (data, folder) = (data.clone(), start.data.clone());
    let index = membership.apart(move || data.index(&folder))??;
    let n_found = index.n_samples();
    if n_found != start.n_samples {
        let other = anyhow::anyhow!(
            "{} has {n_found} images and the run was begun with {}; restore the data set",
            start.data.display(),
            start.n_samples
        );
        return Err(other.into());
    }
    Ok(index)
}

/// Lines of the log say where this device is when they are written; the step moves on with each commit.
fn note_where_it_stands(start: &Start) {
    m2t_log::stand("run", &*start.recipe.name);
    m2t_log::stand("generation", start.generation.0);
    m2t_log::stand("step", start.start_from.step().0);
    m2t_log::stand("machine", start.device.machine.to_string());
    m2t_log::stand("device", start.device.index.0);
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

/// Brings the state to where the generation begins, or tells what is to be received once the group stands.
fn first_state(
    life: &mut Life,
    start: &Start,
    ranks: &[Rank],
    membership: &Arc<Membership>,
) -> Result<Option<Donation>, Leave> {
    if let StartFrom::Donor { device, step, .. } = &start.start_from {
        donate::drop_distrusted(start, &mut life.kept);
        let kept = life.kept.as_ref().map(|state| state.step);
        let donation = Donation::check(start, device, *step, kept).map_err(anyhow::Error::from)?;
        return Ok(Some(donation));
    }
    life.kept = None;
    let (start, ranks, device) = (start.clone(), ranks.to_vec(), life.hardware.device());
    life.kept = Some(membership.apart(move || made(&start, &ranks, device))??);
    Ok(None)
}

fn made(start: &Start, ranks: &[Rank], device: Device) -> anyhow::Result<State> {
    match &start.start_from {
        StartFrom::Checkpoint(name) => read(start, (ranks, device), name),
        StartFrom::Initial | StartFrom::Donor { .. } => Ok(State::initial(&start.recipe, ranks, device)?),
    }
}

fn read(start: &Start, (ranks, device): (&[Rank], Device), name: &CheckpointName) -> anyhow::Result<State> {
    let folder = start.output.join("checkpoints").join(name.as_str());
    let manifest = checkpoint::manifest(&folder)?;
    let differences = manifest.recipe.differences(&start.recipe);
    ensure!(
        differences.is_empty(),
        "{} was made by another recipe: {differences:?}",
        folder.display()
    );
    // Files are read into memory of the CPU.
    let blank = State::blank(&start.recipe, ranks, Device::Cpu)?;
    Ok(checkpoint::load(&folder, &manifest, blank)?.on(device))
}
