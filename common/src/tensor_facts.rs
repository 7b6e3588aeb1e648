//! What `m2t-trainer doctor` prints for `m2t doctor`, as one line of JSON: what only a program with libtorch can see of a machine.
//!
//! Facts and reasons in words; what is good or bad of them is judged by `m2t doctor`.

use serde::{Deserialize, Serialize};

/// The subcommand, and the name of these facts.
pub const COMMAND: &str = "doctor";

/// What is seen from within libtorch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TensorFacts {
    /// libtorch's release: "2.11.0".
    pub libtorch: String,
    /// The instruction set its kernels use here: "AVX2", "AVX512", "DEFAULT". Another one, other bits.
    pub instruction_set: String,
    /// The GPUs and their driver.
    pub cuda: Cuda,
    /// Their library of collectives.
    pub nccl: Nccl,
}

/// Whether there are GPUs that can be used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cuda {
    /// No driver, or no GPU; why, and what to do.
    Absent(String),
    /// A driver, but something is wrong with it or with libtorch's CUDA half; what, and what to do.
    Unusable(String),
    /// They can be used.
    Usable {
        /// The newest CUDA that the driver supports: "13.0".
        driver: String,
        /// In the order of their numbers.
        gpus: Vec<Gpu>,
    },
}

/// One GPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gpu {
    /// Its number among those visible.
    pub number: u32,
    /// As nvidia-smi writes it.
    pub uuid: String,
    /// "NVIDIA H100 80GB HBM3".
    pub name: String,
    /// Its memory in bytes; 0 where it could not be asked.
    pub memory: u64,
    /// Why it cannot be used: somebody holds its memory, say. With what to do.
    pub trouble: Option<String>,
}

/// Whether there is an NCCL that can be used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nccl {
    /// There is none; where it was looked for, and what to do.
    Absent(String),
    /// It is of a release that is known to be bad, or does not answer; which, and what to do.
    Refused(String),
    /// Its release: "2.28.9".
    Usable(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_go_through_json_unchanged() {
        let gpu = Gpu {
            number: 1,
            uuid: "GPU-8a1f".to_owned(),
            name: "NVIDIA H100 80GB HBM3".to_owned(),
            memory: 80 << 30,
            trouble: Some("in use".to_owned()),
        };
        for (cuda, nccl) in [
            (
                Cuda::Absent("no driver".to_owned()),
                Nccl::Absent("no NCCL".to_owned()),
            ),
            (
                Cuda::Unusable("too old".to_owned()),
                Nccl::Refused("2.28.3".to_owned()),
            ),
            (
                Cuda::Usable {
                    driver: "13.0".to_owned(),
                    gpus: vec![gpu],
                },
                Nccl::Usable("2.28.9".to_owned()),
            ),
        ] {
            let facts = TensorFacts {
                libtorch: "2.11.0".to_owned(),
                instruction_set: "AVX2".to_owned(),
                cuda,
                nccl,
            };
            let line = serde_json::to_string(&facts).unwrap();
            assert!(!line.contains('\n'));
            assert_eq!(serde_json::from_str::<TensorFacts>(&line).unwrap(), facts);
        }
    }
}
