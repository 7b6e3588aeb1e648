//! Whether the group of a GPU works on this machine: made by NCCL, used, aborted in mid-life, made anew in the same process.
//!
//! A group of one device, which training never makes ([`crate::group`] has nothing to exchange then): what it shows is that driver,
//! libtorch and NCCL are of releases that go together, and that an abort frees the GPU. Groups of several are measured
//! ([`crate::measure`]).

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use m2t_common::gpu::GpuName;
use m2t_torch::collective::nccl::{Backend, Deadlines, UniqueId};
use m2t_torch::collective::{Collective, Departure, Nccl, Op};
use serde::Serialize;
use tch::{Kind, Tensor};

use crate::hardware::{Company, Hardware};

/// Elements of the vector that is summed: a bucket of gradients.
const N: i64 = 25 * (1 << 20) / 4;
const PATIENCE: Duration = Duration::from_secs(60);

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    /// NCCL's release.
    pub nccl: String,
    /// How long the first group took to be made.
    pub made_seconds: f64,
    /// How long from the abort until the GPU was free.
    pub aborted_seconds: f64,
    /// How long the second group took.
    pub made_anew_seconds: f64,
}

/// Makes a group, uses it, aborts it; and a second one.
///
/// # Errors
/// Where one of these fails, or a sum is another than it must be.
pub fn check_gpu(name: &GpuName) -> anyhow::Result<Checked> {
    let Hardware::Gpu(backend) = Hardware::named(Some(name), Company::Nobody)? else {
        unreachable!("a GPU was named");
    };
    let began = Instant::now();
    let first = group(&backend).context("the first group could not be made")?;
    let made = began.elapsed();
    sums_right(&first, &backend).context("the first group does not work")?;
    let began = Instant::now();
    first.abort();
    ensure!(
        first.departed(PATIENCE) == Departure::Over,
        "the first group was aborted and did not let go of the GPU within {PATIENCE:?}"
    );
    let aborted = began.elapsed();
    ensure!(
        first.barrier().is_err(),
        "the first group works on after its abort"
    );
    let began = Instant::now();
    let second = group(&backend).context("no second group could be made in this process")?;
    let made_anew = began.elapsed();
    sums_right(&second, &backend).context("the second group does not work")?;
    Ok(Checked {
        nccl: backend.library.version().to_string(),
        made_seconds: made.as_secs_f64(),
        aborted_seconds: aborted.as_secs_f64(),
        made_anew_seconds: made_anew.as_secs_f64(),
    })
}

fn group(backend: &Backend) -> anyhow::Result<Nccl> {
    let deadlines = Deadlines {
        connecting: PATIENCE,
        operation: PATIENCE,
        parting: PATIENCE,
    };
    let id = UniqueId::fresh(&backend.library)?;
    let group = Nccl::begin(backend, id, (0, 1), deadlines)?;
    group.until_whole()?;
    Ok(group)
}

/// What one device sums alone stays as it is, on the GPU and from the CPU, whatever the kind.
fn sums_right(group: &Nccl, backend: &Backend) -> anyhow::Result<()> {
    for kind in [Kind::Float, Kind::Double, Kind::Int64] {
        let vector = Tensor::arange(N, (kind, backend.tensors));
        let before = vector.copy();
        group.all_reduce(&vector, Op::Sum)?.wait()?;
        ensure!(vector == before, "a sum of {kind:?} changed the only summand");
    }
    let mut here = Tensor::from_slice(&[1.5f64, -2.0]);
    group.combine(&mut here, Op::Max)?;
    ensure!(
        Vec::<f64>::try_from(&here)? == [1.5, -2.0],
        "a vector of the CPU did not come back as it went"
    );
    group.barrier()?.wait()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_gpu_it_is_refused_before_anything_is_made() {
        // Of a machine without GPUs, or of one with fewer than a thousand.
        let refused = check_gpu(&GpuName::Number(999)).unwrap_err();
        let text = format!("{refused:#}");
        assert!(
            text.contains("no NVIDIA driver") || text.contains("GPU") || text.contains("CUDA"),
            "{text}"
        );
    }
}
