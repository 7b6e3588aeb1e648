//! How libtorch computes on a GPU where it has a choice: float32 is float32, and no algorithm is picked by trial.

use crate::TorchError;
use crate::shim::{checked, m2t_repeatable};

/// From now on float32 means float32, not TF32, and cuDNN takes only algorithms that repeat their bits. For the whole process.
///
/// # Errors
/// When libtorch does not take to it.
pub fn repeatable() -> Result<(), TorchError> {
    // SAFETY: the shim sets flags of libtorch's; no memory is shared.
    checked(unsafe { m2t_repeatable() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libtorch_takes_to_it_and_says_so() {
        // The shim reads the flags again, and fails where they are not as they were set.
        repeatable().unwrap();
        repeatable().unwrap();
    }
}
