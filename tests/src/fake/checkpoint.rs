//! The fake trainer's checkpoints: valid in form, 32 bytes of state.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, ensure};
use m2t_common::machine_link::StartFrom;
use m2t_common::manifest::{CheckpointName, FORMAT, FileEntry, MANIFEST_FILE, Manifest, STATE_FILE};
use m2t_common::report::{CheckpointCost, CheckpointReport};
use m2t_common::trainer_link::Start;
use m2t_common::{Recipe, Step};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};

use super::State;

const TENSOR: &str = "student.state";

/// Writes the checkpoint of `state` at `step`, beside and renamed.
pub(super) fn write(start: &Start, step: Step, state: &State) -> anyhow::Result<CheckpointReport> {
    let folder = start.output.join("checkpoints");
    let name = CheckpointName::new(step);
    let report = CheckpointReport {
        name: name.clone(),
        step,
        state_digest: state.digest(),
        cost: CheckpointCost::default(),
    };
    let done = folder.join(name.as_str());
    if done.join(MANIFEST_FILE).exists() {
        return Ok(report); // The run resumed exactly here.
    }
    let draft = folder.join(format!(".{name}.tmp"));
    if draft.exists() {
        std::fs::remove_dir_all(&draft)?;
    }
    std::fs::create_dir_all(&draft)?;
    let tensor = TensorView::new(Dtype::U8, vec![state.0.len()], &state.0)?;
    let bytes = serialize([(TENSOR, tensor)], None::<HashMap<String, String>>)?;
    std::fs::write(draft.join(STATE_FILE), &bytes)?;
    let manifest = Manifest {
        format: FORMAT,
        step,
        n_samples: start.n_samples,
        recipe_digest: start.recipe.digest(),
        recipe: start.recipe.clone(),
        state_digest: state.digest(),
        files: vec![FileEntry {
            name: STATE_FILE.to_owned(),
            size: bytes.len() as u64,
            blake3: blake3::hash(&bytes).to_hex().to_string(),
        }],
    };
    std::fs::write(draft.join(MANIFEST_FILE), serde_json::to_vec_pretty(&manifest)?)?;
    if done.exists() {
        std::fs::remove_dir_all(&done)?;
    }
    std::fs::rename(&draft, &done)?;
    Ok(report)
}

/// The step and state to start from; none where a donor has them.
pub(super) fn start_state(start: &Start) -> anyhow::Result<Option<(Step, State)>> {
    match &start.start_from {
        StartFrom::Initial => Ok(Some((Step(0), State::initial(&start.recipe)))),
        StartFrom::Checkpoint(name) => {
            let folder = start.output.join("checkpoints").join(name.as_str());
            read(&folder, &start.recipe).map(Some)
        }
        StartFrom::Donor { .. } => Ok(None),
    }
}

/// Reads a checkpoint and checks all its manifest says.
fn read(folder: &Path, recipe: &Recipe) -> anyhow::Result<(Step, State)> {
    let manifest = std::fs::read(folder.join(MANIFEST_FILE))
        .with_context(|| format!("cannot read {}", folder.display()))?;
    let manifest: Manifest = serde_json::from_slice(&manifest)?;
    ensure!(
        manifest.recipe_digest == recipe.digest(),
        "checkpoint of another recipe"
    );
    let bytes = std::fs::read(folder.join(STATE_FILE))?;
    let entry = manifest.files.first().context("a checkpoint has a file")?;
    ensure!(
        entry.blake3 == blake3::hash(&bytes).to_hex().to_string(),
        "damaged checkpoint"
    );
    let tensors = SafeTensors::deserialize(&bytes)?;
    let state = State(tensors.tensor(TENSOR)?.data().try_into()?);
    ensure!(
        state.digest() == manifest.state_digest,
        "checkpoint of another state"
    );
    Ok((manifest.step, state))
}
