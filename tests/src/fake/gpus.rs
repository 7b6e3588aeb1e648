//! The GPUs of a machine that has none: what `m2t-trainer gpus` would say where there are as many as the steering folder's file `gpus` has.

use anyhow::Context;
use m2t_common::GpuName;
use m2t_common::gpu::GpuFacts;

use super::Control;

/// The line of JSON for these names.
///
/// # Errors
/// Where a GPU is not there, in the words that the real trainer has for a machine without a driver.
pub fn gpus(names: &[GpuName]) -> anyhow::Result<String> {
    let n_gpus = Control::from_environment()?.n_gpus();
    let n_gpus = n_gpus.context("no NVIDIA driver on this machine (the test gave it no GPU)")?;
    let all: Vec<GpuFacts> = (0..n_gpus).map(gpu).collect();
    let found: Vec<&GpuFacts> = names
        .iter()
        .map(|name| {
            let is_it = |gpu: &&GpuFacts| match name {
                GpuName::Number(number) => gpu.number == *number,
                GpuName::Uuid(uuid) => gpu.uuid == *uuid,
            };
            let found = all.iter().find(is_it);
            found.with_context(|| format!("there is no GPU {name} here; this machine has {n_gpus}"))
        })
        .collect::<anyhow::Result<_>>()?;
    Ok(serde_json::to_string(&found)?)
}

fn gpu(number: u32) -> GpuFacts {
    GpuFacts {
        number,
        uuid: format!("GPU-8a1fb2c3-0011-2233-4455-6677889900{number:02x}"),
        name: "Fake GPU".to_owned(),
    }
}
