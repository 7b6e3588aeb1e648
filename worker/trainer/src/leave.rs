//! Why a device leaves its group before the end. The kind decides what follows, never the text: a peer's fault and an order end
//! the group, an own failure ends the process.

use m2t_data::LoadError;
use m2t_torch::TorchError;

use crate::membership::Held;
use crate::sum::Broken;

/// Why a device leaves its group.
#[derive(Debug)]
pub enum Leave {
    /// It was told to.
    Held,
    /// The group broke under it: a peer is gone. Why, in a sentence.
    Broken(String),
    /// It cannot go on, in this generation or any.
    Failed(anyhow::Error),
}

impl From<Held> for Leave {
    fn from(_: Held) -> Self {
        Self::Held
    }
}

/// Of an operation of the group. What CUDA fails in is this device's own failure: the process cannot use its GPU again.
impl From<TorchError> for Leave {
    fn from(error: TorchError) -> Self {
        match error {
            TorchError::Cuda(error) => Self::Failed(error.into()),
            error => Self::Broken(format!("the group is broken: {error}")),
        }
    }
}

impl From<Broken> for Leave {
    fn from(error: Broken) -> Self {
        match error {
            Broken::Collective(TorchError::Cuda(error)) => Self::Failed(error.into()),
            Broken::Collective(_) => Self::Broken(error.to_string()),
            Broken::Gradients(_)
            | Broken::NotFinite { .. }
            | Broken::Images { .. }
            | Broken::OtherImages { .. }
            | Broken::ReducerGone => Self::Failed(error.into()),
        }
    }
}

impl From<LoadError> for Leave {
    fn from(error: LoadError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<anyhow::Error> for Leave {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

#[cfg(test)]
mod tests {
    use m2t_torch::cuda::CudaError;

    use super::*;

    #[test]
    fn a_failure_of_the_own_gpu_ends_the_process_and_a_lost_peer_the_group() {
        let lost = || TorchError::Libtorch("connection reset".to_owned());
        let own = || TorchError::Cuda(CudaError::NoGpu);
        for leave in [Leave::from(lost()), Leave::from(Broken::Collective(lost()))] {
            assert!(
                matches!(&leave, Leave::Broken(reason) if reason.contains("connection reset")),
                "{leave:?}"
            );
        }
        for leave in [Leave::from(own()), Leave::from(Broken::Collective(own()))] {
            assert!(matches!(leave, Leave::Failed(_)), "{leave:?}");
        }
    }
}
