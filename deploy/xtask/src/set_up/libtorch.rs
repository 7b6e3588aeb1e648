//! libtorch, taken from PyTorch's own packages by pip; nothing of Python is used once it is there.
//!
//! Why pip: it is the one client for these packages that most machines have, it verifies what it fetches, and it honours
//! mirrors and proxies that are set up there.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use super::pip::{self, Build, Packages};
use super::place::Place;

/// 1.2 GB installed, 1.7 GB while pip works, and what pip itself keeps in its cache.
const NEEDED_BYTES: u64 = 2_500_000_000;
/// 3.9 GB installed, and the packages as pip fetched them.
const NEEDED_BYTES_WITH_CUDA: u64 = 8_000_000_000;
const LIBRARY: &str = "torch/lib/libtorch_cpu.so";
/// What to do instead.
const OWN: &str = "or use a libtorch 2.11 of your own with LIBTORCH=/path or LIBTORCH_USE_PYTORCH=1";

/// tch 0.24 speaks to this release; the CUDA libraries are those that libtorch's loader wants to see even on a CPU.
const PACKAGES: Packages<'static> = Packages {
    what: "libtorch",
    list: &[
        "torch==2.11.0",
        "nvidia-cuda-runtime==13.0.96",
        "nvidia-cuda-cupti==13.0.85",
    ],
    build: Build::OneForAll,
    own: OWN,
};

/// With what torch 2.11.0 itself requires for GPUs, but for what only its Python uses: libtorch_cuda.so looks for them beside itself.
const PACKAGES_WITH_CUDA: Packages<'static> = Packages {
    what: "libtorch with CUDA",
    list: &[
        "torch==2.11.0",
        "nvidia-cublas==13.1.0.3",
        "nvidia-cuda-cupti==13.0.85",
        "nvidia-cuda-nvrtc==13.0.88",
        "nvidia-cuda-runtime==13.0.96",
        "nvidia-cudnn-cu13==9.19.0.56",
        "nvidia-cufft==12.0.0.61",
        "nvidia-cufile==1.15.1.6",
        "nvidia-curand==10.4.0.35",
        "nvidia-cusolver==12.0.4.66",
        "nvidia-cusparse==12.6.3.3",
        "nvidia-cusparselt-cu13==0.8.0",
        "nvidia-nccl-cu13==2.28.9",
        "nvidia-nvjitlink==13.0.88",
        "nvidia-nvshmem-cu13==3.4.5",
        "nvidia-nvtx==13.0.85",
    ],
    build: Build::OneForAll,
    own: OWN,
};

/// How much of libtorch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    /// What computes on CPUs.
    Cpu,
    /// And what computes on GPUs, installed only when it is asked for.
    Both,
}

/// Leaves a user's own libtorch alone; else sees to it that `.libtorch` is complete.
pub(super) fn provide(root: &Path, half: Half) -> Result<()> {
    if std::env::var_os("LIBTORCH_USE_PYTORCH").is_some() {
        println!(
            "set-up: libtorch is your own PyTorch's (LIBTORCH_USE_PYTORCH is set); nothing is installed"
        );
        return Ok(());
    }
    if let Some(own) = std::env::var_os("LIBTORCH").map(PathBuf::from)
        && !is_ours(&own, root)
    {
        ensure!(
            own.join("lib").join("libtorch_cpu.so").is_file() || std::env::var_os("LIBTORCH_LIB").is_some(),
            "LIBTORCH is {}, but there is no lib/libtorch_cpu.so in it: correct it, or unset it to have libtorch installed",
            own.display()
        );
        println!(
            "set-up: libtorch is your own (LIBTORCH={}); nothing is installed",
            own.display()
        );
        return Ok(());
    }
    let with_cuda = place(root, Half::Both);
    if with_cuda.is_complete() {
        return Ok(()); // Who has both has the CPU's, and asks for no less.
    }
    let packages = match half {
        Half::Cpu => &PACKAGES,
        Half::Both => &PACKAGES_WITH_CUDA,
    };
    place(root, half).provide(|partial, log| {
        ensure!(
            cfg!(all(target_os = "linux", target_arch = "x86_64")),
            "libtorch can be fetched for x86-64 Linux only: move to such a machine, {OWN}"
        );
        pip::install(pip::find(packages)?, packages, partial, log)
    })
}

fn place(root: &Path, half: Half) -> Place<'_> {
    let (packages, cost, needed_bytes) = match half {
        Half::Cpu => (&PACKAGES, "1.2 GB, once", NEEDED_BYTES),
        Half::Both => (
            &PACKAGES_WITH_CUDA,
            "3.9 GB and some minutes, once",
            NEEDED_BYTES_WITH_CUDA,
        ),
    };
    Place {
        root,
        name: ".libtorch",
        what: packages.what,
        stamp: packages.stamp(),
        witness: LIBRARY,
        cost,
        needed_bytes,
        own: OWN,
    }
}

/// `.cargo/config.toml` sets LIBTORCH for what cargo runs, us included; that is not the user's wish.
fn is_ours(given: &Path, root: &Path) -> bool {
    given.ends_with(".libtorch/torch")
        && given
            .ancestors()
            .nth(2)
            .is_some_and(|above| above.canonicalize().ok() == root.canonicalize().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_cuda_is_not_given_less_and_who_has_none_is_not_taken_to_have_it() {
        let root = tempfile::tempdir().unwrap();
        let library = root.path().join(".libtorch").join(LIBRARY);
        std::fs::create_dir_all(library.parent().unwrap()).unwrap();
        std::fs::write(&library, "").unwrap();
        for (packages, cpu, both) in [(&PACKAGES, true, false), (&PACKAGES_WITH_CUDA, false, true)] {
            std::fs::write(root.path().join(".libtorch/versions.txt"), packages.stamp()).unwrap();
            let complete = [Half::Cpu, Half::Both].map(|half| place(root.path(), half).is_complete());
            assert_eq!(complete, [cpu, both], "{}", packages.what);
        }
    }

    #[test]
    fn cargos_own_setting_is_not_taken_for_the_users() {
        let root = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        assert!(is_ours(&root.path().join(".libtorch/torch"), root.path()));
        assert!(!is_ours(&other.path().join(".libtorch/torch"), root.path()));
        assert!(!is_ours(&root.path().join("libtorch"), root.path()));
    }
}
