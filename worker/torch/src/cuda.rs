//! CUDA for a program that also runs without it: the driver and libtorch's CUDA half are opened at run time, and whatever is
//! missing is an error that says what to do.
//!
//! [`load`] comes first of all. [`Driver`] is the few functions of `libcuda.so.1` that the collectives need; [`gpus`] says which GPUs
//! there are, [`Context`] makes one this process's, and [`HighWater`] follows its memory. Kernels are libtorch's; here are none.

mod arithmetic;
mod context;
mod driver;
mod gpu;
mod memory;
mod stream;

use std::ffi::c_int;
use std::path::PathBuf;
use std::ptr;
use std::sync::Arc;

pub use arithmetic::repeatable;
pub use context::Context;
pub use driver::Driver;
pub(crate) use driver::RawStream;
pub use gpu::{Gpu, by_index, by_uuid, gpus};
pub use memory::{HighWater, Memory};
pub(crate) use stream::{Event, Stream};

use crate::library::{LibraryError, OpenLibrary, Scope, folder_of_libtorch};

/// What fails of CUDA.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CudaError {
    /// The machine has no driver.
    #[error(
        "no NVIDIA driver on this machine: {0}; install the driver, or train on shares of the CPU (--devices cpu:2)"
    )]
    NoDriver(LibraryError),
    /// libtorch has only its CPU half, or that of CUDA lacks a library.
    #[error(
        "libtorch was set up without CUDA: {0}; install the CUDA libraries that torch requires beside it (cargo xtask set-up --cuda), or name a libtorch that has them by LIBTORCH"
    )]
    NoLibtorchCuda(LibraryError),
    /// The driver is older than what libtorch was built for.
    #[error("the NVIDIA driver supports CUDA {driver} and libtorch needs {needed}; update the driver")]
    DriverTooOld {
        /// The newest release it supports.
        driver: Release,
        /// That of libtorch's runtime.
        needed: Release,
    },
    /// The driver is there and the hardware is not.
    #[error(
        "the NVIDIA driver sees no GPU; look at nvidia-smi and CUDA_VISIBLE_DEVICES, or train on shares of the CPU (--devices cpu:2)"
    )]
    NoGpu,
    /// Another GPU was asked for than there is.
    #[error("there is no GPU {wanted} here; this machine has {present}")]
    UnknownGpu {
        /// Its number or its UUID.
        wanted: String,
        /// All there are.
        present: String,
    },
    /// Somebody holds the GPU's memory.
    #[error(
        "GPU {ordinal} has {used_mib} MiB of its memory in use before this process took any; nvidia-smi names whose it is; end that process, or take another GPU"
    )]
    InUse {
        /// Its number.
        ordinal: u32,
        /// In use.
        used_mib: u64,
    },
    /// A call of the driver failed.
    #[error("{call}: {message} (CUDA error {code})")]
    Call {
        /// Its name.
        call: &'static str,
        /// The driver's number of the error.
        code: i32,
        /// The driver's words.
        message: String,
    },
}

/// A release of CUDA, as the libraries count: 13020 is 13.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release(pub i32);

impl Release {
    fn major(self) -> i32 {
        self.0 / 1000
    }
}

impl std::fmt::Display for Release {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major(), self.0 % 1000 / 10)
    }
}

/// Opens the driver and libtorch's CUDA half. Call it before the first use of libtorch in the process: libtorch looks once whether
/// it has CUDA, and keeps the answer.
///
/// # Errors
/// Without driver, with too old a one, without a GPU, or with a libtorch that was set up for the CPU alone.
pub fn load() -> Result<Arc<Driver>, CudaError> {
    let name = "libtorch_cuda.so";
    let beside = folder_of_libtorch().map(|folder| folder.join(name));
    let places: Vec<PathBuf> = beside.into_iter().chain([name.into()]).collect();
    load_from(&["libcuda.so.1".into()], &places)
}

/// As [`load`], with the places where the driver and libtorch's CUDA half are looked for.
///
/// # Errors
/// As [`load`].
pub fn load_from(driver: &[PathBuf], libtorch_cuda: &[PathBuf]) -> Result<Arc<Driver>, CudaError> {
    let driver = Driver::open(driver)?;
    let libtorch = OpenLibrary::open(libtorch_cuda, Scope::Process).map_err(CudaError::NoLibtorchCuda)?;
    if let Some(needed) = release_of_runtime(&libtorch)
        && driver.release().major() < needed.major()
    {
        return Err(CudaError::DriverTooOld {
            driver: driver.release(),
            needed,
        });
    }
    Ok(Arc::new(driver))
}

/// Of the CUDA runtime that libtorch brings along. Within one major release, an older driver serves.
fn release_of_runtime(libtorch: &OpenLibrary) -> Option<Release> {
    // SAFETY: cudaRuntimeGetVersion has had this type in every release. It is found in the library or those it needs.
    let get =
        unsafe { libtorch.function::<unsafe extern "C" fn(*mut c_int) -> c_int>("cudaRuntimeGetVersion") };
    let (get, mut release) = (get.ok()?, 0);
    // SAFETY: the pointer is to a live local; the call touches no device.
    (unsafe { get(ptr::from_mut(&mut release)) } == 0).then_some(Release(release))
}
