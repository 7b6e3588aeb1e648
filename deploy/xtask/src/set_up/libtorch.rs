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

/// Leaves a user's own libtorch alone; else sees to it that `.libtorch` is complete.
pub(super) fn provide(root: &Path) -> Result<()> {
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
    let place = Place {
        root,
        name: ".libtorch",
        what: PACKAGES.what,
        stamp: PACKAGES.stamp(),
        witness: LIBRARY,
        cost: "1.2 GB, once",
        needed_bytes: NEEDED_BYTES,
        own: OWN,
    };
    place.provide(|partial, log| {
        ensure!(
            cfg!(all(target_os = "linux", target_arch = "x86_64")),
            "libtorch can be fetched for x86-64 Linux only: move to such a machine, {OWN}"
        );
        pip::install(pip::find(&PACKAGES)?, &PACKAGES, partial, log)
    })
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
    fn cargos_own_setting_is_not_taken_for_the_users() {
        let root = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        assert!(is_ours(&root.path().join(".libtorch/torch"), root.path()));
        assert!(!is_ours(&other.path().join(".libtorch/torch"), root.path()));
        assert!(!is_ours(&root.path().join("libtorch"), root.path()));
    }
}
