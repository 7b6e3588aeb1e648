//! The primary context of a GPU in this process: the one that libtorch uses, too.

use std::sync::Arc;

use super::driver::RawContext;
use super::{CudaError, Driver, Memory};

/// What this process itself takes of a GPU's memory by its context and its modules, at most.
const OWN: u64 = 1 << 30;

/// A GPU as this process uses it. It is never given back: libtorch uses it to the end.
#[derive(Clone)]
pub struct Context {
    pub(super) driver: Arc<Driver>,
    raw: *mut RawContext,
    ordinal: u32,
}

// SAFETY: a context is bound to no thread; each thread that uses it makes it its current one.
unsafe impl Send for Context {}
// SAFETY: as above; the driver locks its own state.
unsafe impl Sync for Context {}

impl Context {
    /// Of the GPU of that number.
    ///
    /// # Errors
    /// When the driver cannot make it: out of memory, say, or the GPU is for one process alone that isn't this.
    pub fn retain(driver: &Arc<Driver>, ordinal: u32) -> Result<Self, CudaError> {
        let raw = driver.context(driver.device(ordinal)?)?;
        Ok(Self {
            driver: Arc::clone(driver),
            raw,
            ordinal,
        })
    }

    /// Makes it the current one of this thread, for the driver's calls and for NCCL's.
    pub(crate) fn enter(&self) -> Result<(), CudaError> {
        self.driver.enter(self.raw)
    }

    /// The GPU's number.
    pub fn ordinal(&self) -> u32 {
        self.ordinal
    }

    /// Of the GPU's memory, whoever uses it.
    ///
    /// # Errors
    /// When the driver fails: the GPU fell off the bus, say.
    pub fn memory(&self) -> Result<Memory, CudaError> {
        self.enter()?;
        let (free, total) = self.driver.memory()?;
        Ok(Memory {
            free: free as u64,
            total: total as u64,
        })
    }

    /// That nobody else holds the GPU's memory: an earlier trainer that did not end, say. To be asked before the first tensor.
    ///
    /// # Errors
    /// When more is in use than this process's own context takes.
    pub fn check_unused(&self) -> Result<(), CudaError> {
        let used = self.memory()?.used();
        if used <= OWN {
            return Ok(());
        }
        Err(CudaError::InUse {
            ordinal: self.ordinal,
            used_mib: used >> 20,
        })
    }
}
