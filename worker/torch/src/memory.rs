//! The memory of tensors on the CPU.

use crate::TorchError;
use crate::shim::{checked, m2t_keep_memory};

/// From now on, large blocks of memory are kept for the next tensor of their size instead of being given back to the system:
/// training asks for the same sizes step after step. What is kept unused is bounded by the most that was in use at a time.
///
/// # Errors
/// Libtorch's; none is known.
pub fn keep() -> Result<(), TorchError> {
    // SAFETY: the shim registers an allocator that lives as long as the process; blocks of the one before are freed by it.
    checked(unsafe { m2t_keep_memory() })
}
