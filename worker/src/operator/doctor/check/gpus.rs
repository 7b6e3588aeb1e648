//! The driver, the GPUs and NCCL. For a machine that trains on its CPU what is amiss with them is of no matter.

use m2t_common::GpuName;
use m2t_common::tensor_facts::{Cuda, Gpu, Nccl, TensorFacts};

use super::super::finding::Finding;
use super::size;
use crate::devices::Devices;

pub(super) fn all(tensor: &Result<TensorFacts, String>, devices: &Devices) -> Vec<Finding> {
    let mut findings = vec![Finding::ok("devices", devices.to_string())];
    let Ok(tensor) = tensor else {
        let why = "libtorch does not answer";
        findings.extend(["driver", "gpus", "nccl"].map(|check| Finding::skip(check, why)));
        return findings;
    };
    findings.extend(match devices {
        Devices::Cpu(_) => for_cpu(tensor),
        Devices::Gpus(asked) => [
            driver(&tensor.cuda),
            gpus(&tensor.cuda, asked),
            nccl(&tensor.nccl, asked),
        ],
    });
    findings
}

/// What there is is told, and nothing is asked of it.
fn for_cpu(tensor: &TensorFacts) -> [Finding; 3] {
    let not_asked = |check, what: &str| Finding::skip(check, format!("{what}; no GPU was asked for"));
    let release = match &tensor.nccl {
        Nccl::Usable(release) => format!("NCCL {release}"),
        Nccl::Absent(_) => "no NCCL".to_owned(),
        Nccl::Refused(_) => "an NCCL that would be refused".to_owned(),
    };
    let (driver, n_gpus) = match &tensor.cuda {
        Cuda::Usable { driver, gpus } => (format!("CUDA {driver}"), gpus.len()),
        Cuda::Absent(_) => ("no driver or no GPU".to_owned(), 0),
        Cuda::Unusable(_) => ("a driver that this libtorch cannot use".to_owned(), 0),
    };
    [
        not_asked("driver", &driver),
        not_asked("gpus", &format!("{n_gpus} usable")),
        not_asked("nccl", &release),
    ]
}

fn driver(cuda: &Cuda) -> Finding {
    match cuda {
        Cuda::Usable { driver, .. } => {
            Finding::ok("driver", format!("supports CUDA {driver}, as libtorch needs"))
        }
        Cuda::Absent(error) | Cuda::Unusable(error) => Finding::error("driver", error),
    }
}

fn gpus(cuda: &Cuda, asked: &[GpuName]) -> Finding {
    const CHECK: &str = "gpus";
    let Cuda::Usable { gpus: present, .. } = cuda else {
        return Finding::skip(CHECK, "there is no driver to ask");
    };
    let mut used = Vec::new();
    for name in asked {
        let Some(gpu) = present.iter().find(|gpu| is_named(gpu, name)) else {
            let found = format!("there is no GPU {name}; this machine has {}", listed(present));
            return Finding::bad(CHECK, found, "name GPUs that there are with --devices");
        };
        if let Some(trouble) = &gpu.trouble {
            return Finding::error(CHECK, trouble);
        }
        used.push(gpu.clone());
    }
    Finding::ok(
        CHECK,
        format!("{}; nobody else holds their memory", listed(&used)),
    )
}

fn is_named(gpu: &Gpu, name: &GpuName) -> bool {
    match name {
        GpuName::Number(number) => gpu.number == *number,
        GpuName::Uuid(uuid) => gpu.uuid.eq_ignore_ascii_case(uuid),
    }
}

fn listed(gpus: &[Gpu]) -> String {
    let one = |gpu: &Gpu| format!("{} ({}, {})", gpu.number, gpu.name, size(gpu.memory));
    gpus.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// A GPU that trains alone exchanges with nobody on this machine, but may with others.
fn nccl(nccl: &Nccl, asked: &[GpuName]) -> Finding {
    match nccl {
        Nccl::Usable(release) => {
            Finding::ok("nccl", format!("release {release}, not among the known bad ones"))
        }
        Nccl::Absent(error) | Nccl::Refused(error) if asked.len() == 1 => {
            Finding::error("nccl", error).lenient()
        }
        Nccl::Absent(error) | Nccl::Refused(error) => Finding::error("nccl", error),
    }
}
