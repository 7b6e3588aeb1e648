//! `m2t-trainer doctor`: what only a program with libtorch sees of a machine, for `m2t doctor`. It judges nothing, and changes nothing.

use std::sync::Arc;

use m2t_common::tensor_facts::{Cuda, Gpu, Nccl, TensorFacts};
use m2t_torch::collective::nccl::{Library, NcclError};
use m2t_torch::cuda::{self, Context, CudaError, Driver};
use m2t_torch::facts;

/// Looks at libtorch, the driver, its GPUs and NCCL. Before the first use of libtorch in the process.
pub fn look() -> TensorFacts {
    let cuda = cuda_facts(cuda::load());
    let libtorch = facts::libtorch();
    TensorFacts {
        libtorch: libtorch.release,
        instruction_set: libtorch.instruction_set,
        cuda,
        nccl: nccl_facts(Library::load()),
    }
}

fn cuda_facts(loaded: Result<Arc<Driver>, CudaError>) -> Cuda {
    let found = loaded.and_then(|driver| Ok((cuda::gpus(&driver)?, driver)));
    match found {
        Ok((gpus, driver)) => Cuda::Usable {
            driver: driver.release().to_string(),
            gpus: gpus.into_iter().map(|gpu| gpu_facts(&driver, gpu)).collect(),
        },
        Err(error @ (CudaError::NoDriver(_) | CudaError::NoGpu)) => Cuda::Absent(error.to_string()),
        Err(error) => Cuda::Unusable(error.to_string()),
    }
}

fn gpu_facts(driver: &Arc<Driver>, gpu: cuda::Gpu) -> Gpu {
    let context = Context::retain(driver, gpu.ordinal);
    let memory = context.and_then(|context| Ok((context.memory()?.total, context.check_unused().err())));
    let (memory, trouble) = match memory {
        Ok((memory, held)) => (memory, held),
        Err(error) => (0, Some(error)),
    };
    Gpu {
        number: gpu.ordinal,
        uuid: gpu.uuid,
        name: gpu.name,
        memory,
        trouble: trouble.map(|error| error.to_string()),
    }
}

fn nccl_facts(loaded: Result<Library, NcclError>) -> Nccl {
    match loaded {
        Ok(library) => Nccl::Usable(library.version().to_string()),
        Err(error @ NcclError::NoLibrary(_)) => Nccl::Absent(error.to_string()),
        Err(error) => Nccl::Refused(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use m2t_torch::LibraryError;

    use super::*;

    fn no_library() -> LibraryError {
        LibraryError::NotOpened {
            tried: "libnothing.so".to_owned(),
            reason: "cannot open shared object file".to_owned(),
        }
    }

    #[test]
    fn what_is_absent_is_told_apart_from_what_is_wrong() {
        let absent = cuda_facts(Err(CudaError::NoDriver(no_library())));
        assert!(
            matches!(&absent, Cuda::Absent(why) if why.contains("install the driver")),
            "{absent:?}"
        );
        assert!(matches!(cuda_facts(Err(CudaError::NoGpu)), Cuda::Absent(_)));
        let wrong = cuda_facts(Err(CudaError::NoLibtorchCuda(no_library())));
        assert!(
            matches!(&wrong, Cuda::Unusable(why) if why.contains("without CUDA")),
            "{wrong:?}"
        );
        let absent = nccl_facts(Err(NcclError::NoLibrary(no_library())));
        assert!(
            matches!(&absent, Nccl::Absent(why) if why.contains("libnothing.so")),
            "{absent:?}"
        );
        assert!(matches!(nccl_facts(Err(NcclError::NvlsNotOff)), Nccl::Refused(_)));
    }

    #[test]
    fn this_machine_has_a_libtorch() {
        let facts = look();
        assert!(
            !facts.libtorch.is_empty() && !facts.instruction_set.is_empty(),
            "{facts:?}"
        );
    }
}
