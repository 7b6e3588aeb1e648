//! What a checkpoint costs on this machine: the whole state of a recipe copied, written with fsync, and read back, without training.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use m2t_common::recipe::resolve;
use m2t_common::recipe::written::Source;
use m2t_common::{Rank, Step};
use m2t_torch::collective::Solo;
use serde::Serialize;
use tch::Device;

use super::{Belonging, load, manifest, write};
use crate::state::State;
use crate::state::frozen::Buffers;

/// What is measured.
#[derive(clap::Args, Clone, Debug)]
pub struct Question {
    /// Where the checkpoint is written; the last one stays there.
    folder: PathBuf,
    /// How often.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Changes a key of the recipe 8x_v100_100e.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
}

/// What it cost, each time, in seconds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Answer {
    /// Where the last checkpoint is.
    pub checkpoint: PathBuf,
    /// Bytes of the state's file.
    pub n_bytes: u64,
    /// From the state in memory to the checkpoint on the disk, fsync included.
    pub save: Vec<f64>,
    /// From the checkpoint to a new state, verified. The first one's memory is fetched from the system, as in a trainer that begins;
    /// that of the others is kept, as in one that goes on.
    pub load: Vec<f64>,
    /// How long training would stand for the copy.
    pub stall: Vec<f64>,
    /// One copy of as many bytes from memory to memory by one thread.
    pub copy: Vec<f64>,
}

/// Measures.
///
/// # Errors
/// A recipe that is none, and what writing and reading a checkpoint fail by.
pub fn measure(question: &Question) -> anyhow::Result<Answer> {
    let recipe = resolve(Source::Preset("8x_v100_100e"), &question.sets, None)?;
    m2t_torch::set_threads(recipe.training.threads_per_device);
    let (world, group, ranks) = (recipe.training.world, Solo::default(), [Rank(0)]);
    let mut state = State::initial(&recipe, &ranks, Device::Cpu)?;
    let buffers = Buffers::default();
    buffers.make_ready(state.n_frozen_bytes(world));
    let belonging = Belonging {
        recipe: recipe.clone(),
        n_samples: 1_281_167,
    };
    let from = vec![1u8; state.n_frozen_bytes(world)];
    let mut to = vec![2u8; from.len()];
    let mut answer = Answer::default();
    for step in 1..=u64::from(question.runs) {
        // Under a new name, as in a run; what it is beside is not the measurement's.
        let _ = std::fs::remove_dir_all(&answer.checkpoint);
        state.step = Step(step);
        answer.copy.push(seconds(|| to.copy_from_slice(&from)).0);
        let began = Instant::now();
        let frozen = state.freeze(world, &group, &buffers)?;
        answer.stall.push(began.elapsed().as_secs_f64());
        let report = write(&question.folder, &frozen.in_order().pieces(), &belonging)?;
        answer.save.push(began.elapsed().as_secs_f64());
        answer.n_bytes = report.cost.n_bytes;
        answer.checkpoint = question.folder.join(report.name.as_str());
        let (took, loaded) = seconds(|| -> anyhow::Result<State> {
            let found = manifest(&answer.checkpoint)?;
            Ok(load(
                &answer.checkpoint,
                &found,
                State::blank(&recipe, &ranks, Device::Cpu)?,
            )?)
        });
        answer.load.push(took);
        state = loaded.context("the checkpoint just written")?;
    }
    Ok(answer)
}

fn seconds<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let began = Instant::now();
    let done = work();
    (began.elapsed().as_secs_f64(), done)
}
