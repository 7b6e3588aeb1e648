//! How much of a GPU's memory is in use, and how much was at most.
//!
//! It is the driver's figure, for the whole GPU: libtorch keeps what it once allocated, so the most that was seen in use is what
//! a run needs, context and NCCL's buffers included.

use super::{Context, CudaError};

/// A GPU's memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// In nobody's use.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

impl Memory {
    /// In somebody's use, this process's included.
    pub fn used(self) -> u64 {
        self.total.saturating_sub(self.free)
    }
}

/// The most memory in use so far beyond what was when the watch began.
pub struct HighWater {
    context: Context,
    at_start: u64,
    most: u64,
}

impl HighWater {
    /// Begins now.
    ///
    /// # Errors
    /// When the driver fails.
    pub fn begin(context: &Context) -> Result<Self, CudaError> {
        let at_start = context.memory()?.used();
        Ok(Self {
            context: context.clone(),
            at_start,
            most: 0,
        })
    }

    /// Looks, and tells the most so far, in bytes.
    ///
    /// # Errors
    /// When the driver fails.
    pub fn look(&mut self) -> Result<u64, CudaError> {
        let used = self.context.memory()?.used();
        self.most = self.most.max(used.saturating_sub(self.at_start));
        Ok(self.most)
    }
}
