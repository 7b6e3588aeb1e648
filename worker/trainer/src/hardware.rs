//! What a trainer computes on: a share of the CPU, or a GPU. It decides how devices exchange ([`crate::group`]).

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use m2t_common::gpu::{GpuFacts, GpuName};
use m2t_torch::collective::nccl::{Backend, Library, clear_stale};
use m2t_torch::cuda::{self, Context, Driver, Gpu};
use tch::Device;

/// The hardware of this process's device.
#[derive(Clone)]
pub enum Hardware {
    /// Devices exchange by Gloo.
    Cpu,
    /// Devices exchange by NCCL.
    Gpu(Backend),
}

/// Who else may hold memory of the GPU when this process comes to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Company {
    /// Nobody, as in training: it would be an earlier trainer that did not end.
    Nobody,
    /// Other devices of a group, where several share one GPU to be tried out.
    Others,
}

impl Hardware {
    /// That GPU, or without a name a share of the CPU. Before the first use of libtorch in the process.
    ///
    /// # Errors
    /// Of a GPU: without a driver, libtorch's CUDA half, NCCL or that GPU, and where somebody unexpected holds its memory.
    pub fn named(name: Option<&GpuName>, company: Company) -> anyhow::Result<Self> {
        match name {
            Some(name) => Self::gpu(name, company),
            None => {
                m2t_torch::memory::keep()?;
                Ok(Self::Cpu)
            }
        }
    }

    fn gpu(name: &GpuName, company: Company) -> anyhow::Result<Self> {
        let driver = cuda::load()?;
        let gpus = cuda::gpus(&driver)?;
        let gpu = find(&gpus, name)?;
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
        if company == Company::Nobody {
            context.check_unused()?;
        }
        cuda::repeatable()?;
        Ok(Self::Gpu(Backend::of_gpu(Library::load()?, context)))
    }

    /// Where tensors of training lie.
    pub fn device(&self) -> Device {
        match self {
            Self::Cpu => Device::Cpu,
            Self::Gpu(backend) => backend.tensors,
        }
    }

    /// Waits until the device has done all it was given, for whoever measures time.
    pub fn finish(&self) {
        if let Device::Cuda(ordinal) = self.device() {
            tch::Cuda::synchronize(ordinal as i64);
        }
    }
}

/// The GPUs of these names, in their order, with all that training on them takes; without a name, all there are.
///
/// # Errors
/// Without a driver, libtorch's CUDA half or one of those GPUs.
pub fn gpus(names: &[GpuName]) -> anyhow::Result<Vec<GpuFacts>> {
    let driver: Arc<Driver> = cuda::load()?;
    let all = cuda::gpus(&driver)?;
    if names.is_empty() {
        return Ok(all.iter().map(facts).collect());
    }
    names.iter().map(|name| Ok(facts(find(&all, name)?))).collect()
}

fn find<'a>(gpus: &'a [Gpu], name: &GpuName) -> anyhow::Result<&'a Gpu> {
    Ok(match name {
        GpuName::Number(number) => cuda::by_index(gpus, *number)?,
        GpuName::Uuid(uuid) => cuda::by_uuid(gpus, uuid)?,
    })
}

fn facts(gpu: &Gpu) -> GpuFacts {
    GpuFacts {
        number: gpu.ordinal,
        uuid: gpu.uuid.clone(),
        name: gpu.name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_that_is_not_there_is_told_in_words() {
        // Of a machine without GPUs, or of one with fewer than a thousand.
        let Err(error) = Hardware::named(Some(&GpuName::Number(999)), Company::Nobody) else {
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
