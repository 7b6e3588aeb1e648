//! What a trainer computes on: a share of the CPU, or a GPU. It decides how devices exchange ([`crate::group`]).

use std::path::Path;

use anyhow::Context as _;
use m2t_common::GpuName;
use m2t_torch::collective::nccl::{Backend, Library, clear_stale};
use m2t_torch::cuda::{self, Context};

/// The hardware of this process's device.
#[derive(Clone)]
pub enum Hardware {
    /// Devices exchange by Gloo.
    Cpu,
    /// Devices exchange by NCCL.
    Gpu(Backend),
}

impl Hardware {
    /// A GPU that nobody else uses. Before the first use of libtorch in the process.
    ///
    /// # Errors
    /// Without a driver, libtorch's CUDA half, NCCL or that GPU, and where an earlier trainer still holds its memory.
    pub fn gpu(name: &GpuName) -> anyhow::Result<Self> {
        let driver = cuda::load()?;
        let gpus = cuda::gpus(&driver)?;
        let gpu = match name {
            GpuName::Number(number) => cuda::by_index(&gpus, *number)?,
            GpuName::Uuid(uuid) => cuda::by_uuid(&gpus, uuid)?,
        };
        let cleared = clear_stale(Path::new("/dev/shm"), Path::new("/proc"))
            .context("cannot look for what dead trainers left in /dev/shm")?;
        if cleared.n_files > 0 {
            tracing::info!(
                "removed {} segments ({} MiB) that dead trainers left in /dev/shm",
                cleared.n_files,
                cleared.n_bytes >> 20
            );
        }
        let context = Context::retain(&driver, gpu.ordinal)?;
        context.check_unused()?;
        Ok(Self::Gpu(Backend::of_gpu(Library::load()?, context)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_that_is_not_there_is_told_in_words() {
        // Of a machine without GPUs, or of one with fewer than a thousand.
        let Err(error) = Hardware::gpu(&GpuName::Number(999)) else {
            panic!("this machine has a thousand GPUs");
        };
        let text = format!("{error:#}");
        let reasons = [
            "no NVIDIA driver",
            "libtorch was set up without CUDA",
            "there is no GPU 999",
        ];
        assert!(reasons.iter().any(|reason| text.contains(reason)), "{text}");
    }
}
