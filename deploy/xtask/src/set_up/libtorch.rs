//! libtorch, taken from PyTorch's own packages by pip; nothing of Python is used once it is there.
//!
//! Why pip: it is the one client for these packages that most machines have, it verifies what it fetches, and it honours
//! mirrors and proxies that are set up there. Why a folder renamed into place: a set-up that is interrupted leaves no
//! folder that looks complete.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use super::answers;
use crate::show;

/// tch 0.24 speaks to this release; the CUDA libraries are those that libtorch's loader wants to see even on a CPU.
const PACKAGES: [&str; 3] = [
    "torch==2.11.0",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cuda-cupti==13.0.85",
];
/// One fixed build, so that whatever Python runs pip does not matter.
const BUILD: [&str; 5] = ["--no-deps", "--python-version", "3.11", "--only-binary", ":all:"];
/// The packages are built for different ages of the C library, and older pips (23 for one) do not know that the newest
/// includes the others.
const PLATFORMS: [&str; 5] = [
    "manylinux_2_28_x86_64",
    "manylinux_2_27_x86_64",
    "manylinux_2_25_x86_64",
    "manylinux_2_17_x86_64",
    "manylinux2014_x86_64",
];
/// 1.2 GB installed, 1.7 GB while pip works, and what pip itself keeps in its cache.
const NEEDED_BYTES: u64 = 2_500_000_000;
const PARTIAL: &str = ".libtorch.partial-";
const STAMP_FILE: &str = "versions.txt";
const LIBRARY: &str = "torch/lib/libtorch_cpu.so";
const OWN: &str = "or use a libtorch 2.11 of your own with LIBTORCH=/path or LIBTORCH_USE_PYTORCH=1";

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
    let place = Place::below(root);
    if place.is_complete() {
        return Ok(());
    }
    let lock = File::create(root.join(".libtorch.lock")).context("cannot write into the workspace's root")?;
    lock.lock().context("cannot lock .libtorch.lock")?;
    // Whoever held the lock may have done the work.
    if place.is_complete() {
        Ok(())
    } else {
        place.install()
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

/// Where it goes.
struct Place {
    complete: PathBuf,
    partial: PathBuf,
    log: PathBuf,
}

impl Place {
    fn below(root: &Path) -> Self {
        Self {
            complete: root.join(".libtorch"),
            // With our number: a pip that outlived an interrupted set-up must not write into this one's folder.
            partial: root.join(format!("{PARTIAL}{}", std::process::id())),
            log: root.join(".libtorch.log"),
        }
    }

    fn is_complete(&self) -> bool {
        let stamp = fs::read_to_string(self.complete.join(STAMP_FILE));
        stamp.is_ok_and(|stamp| stamp == stamp_text()) && self.complete.join(LIBRARY).is_file()
    }

    fn install(&self) -> Result<()> {
        let start = Instant::now();
        ensure!(
            cfg!(all(target_os = "linux", target_arch = "x86_64")),
            "libtorch can be installed by itself on x86-64 Linux only: use a libtorch 2.11 of your own with LIBTORCH=/path or LIBTORCH_USE_PYTORCH=1"
        );
        let pip = find_pip()?;
        self.remove_leftovers()?;
        let scratch = self.partial.join("tmp");
        fs::create_dir_all(&scratch).with_context(|| format!("cannot create {}", scratch.display()))?;
        self.require_space()?;
        println!("set-up: installing libtorch into .libtorch/ (1.2 GB, once)");
        self.run_pip(pip, &scratch)?;
        ensure!(
            self.partial.join(LIBRARY).is_file(),
            "pip installed {} without {LIBRARY}; what it did is in {}",
            PACKAGES[0],
            self.log.display()
        );
        remove(&scratch)?;
        fs::write(self.partial.join(STAMP_FILE), stamp_text()).context("cannot write .libtorch's stamp")?;
        remove(&self.complete)?;
        fs::rename(&self.partial, &self.complete).context("cannot move libtorch to .libtorch")?;
        remove(&self.log)?;
        println!(
            "set-up: libtorch is installed ({})",
            show::duration(start.elapsed())
        );
        Ok(())
    }

    /// What interrupted set-ups left behind.
    fn remove_leftovers(&self) -> Result<()> {
        let root = self.complete.parent().expect(".libtorch lies in the root");
        let cannot = || format!("cannot read {}", root.display());
        for entry in fs::read_dir(root).with_context(cannot)? {
            let entry = entry.with_context(cannot)?;
            if entry.file_name().to_string_lossy().starts_with(PARTIAL) {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }

    fn require_space(&self) -> Result<()> {
        let disk = rustix::fs::statvfs(&self.partial)
            .with_context(|| format!("cannot ask for the free space at {}", self.partial.display()))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        ensure!(
            free >= NEEDED_BYTES,
            "libtorch needs {:.1} GB on the disk of {} while it is installed, and {:.1} GB are free: make room, {OWN}",
            NEEDED_BYTES as f64 / 1e9,
            self.complete.display(),
            free as f64 / 1e9
        );
        Ok(())
    }

    /// The scratch folder lies beside the destination, so that no small `/tmp` is filled and moving is renaming.
    fn run_pip(&self, mut pip: Command, scratch: &Path) -> Result<()> {
        remove(&self.log)?;
        pip.args([
            "install",
            "--no-input",
            "--no-compile",
            "--disable-pip-version-check",
            "--target",
        ])
        .arg(&self.partial)
        .args(BUILD)
        .args(PLATFORMS.iter().flat_map(|platform| ["--platform", platform]))
        .args(PACKAGES)
        .arg("--log")
        .arg(&self.log)
        .env("TMPDIR", scratch)
        // A user's setting of `user = true` cannot be combined with a target folder.
        .env("PIP_USER", "0")
        .env("PIP_ROOT_USER_ACTION", "ignore");
        let status = pip.status().context("cannot run pip")?;
        if status.success() {
            return Ok(());
        }
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        bail!(
            "{} (pip: {status}; its log is {})",
            explain(&log),
            self.log.display()
        )
    }
}

fn stamp_text() -> String {
    PACKAGES.map(|package| format!("{package}\n")).concat()
}

/// Any pip will do, since the build is named and not that of the Python that runs it.
fn find_pip() -> Result<Command> {
    const KNOWN: [&[&str]; 4] = [
        &["python3", "-m", "pip"],
        &["python", "-m", "pip"],
        &["pip3"],
        &["pip"],
    ];
    let as_command = |words: &&[&str]| {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        command
    };
    if let Some(found) = KNOWN
        .iter()
        .find(|words| answers(as_command(words).arg("--version")))
    {
        return Ok(as_command(found));
    }
    let missing = if answers(Command::new("python3").arg("--version")) {
        "python3 has no pip, which fetches libtorch: install it (Debian, Ubuntu: `apt install python3-pip`)"
    } else {
        "python3 and its pip, which fetches libtorch, were not found: install them (Debian, Ubuntu: `apt install python3-pip`)"
    };
    bail!("{missing}, {OWN}")
}

/// What went wrong, from pip's log. Lack of space comes first: it also breaks connections off.
fn explain(log: &str) -> String {
    let any = |words: &[&str]| words.iter().any(|word| log.contains(word));
    if any(&["No space left on device", "Disk quota exceeded"]) {
        return format!("libtorch could not be installed, for the disk is full: make room, {OWN}");
    }
    if any(&[
        "NewConnectionError",
        "NameResolutionError",
        "Connection broken",
        "ConnectTimeout",
        "ReadTimeout",
        "ProxyError",
        "SSLError",
        "connection error",
        "Failed to establish a new connection",
        "Temporary failure in name resolution",
    ]) {
        return format!(
            "libtorch could not be fetched, for pip reached no package index: check the network and pip's settings, {OWN}"
        );
    }
    if any(&["No matching distribution found"]) {
        return format!(
            "libtorch could not be fetched, for pip's package index lacks one of {}: use a complete index, {OWN}",
            PACKAGES.join(", ")
        );
    }
    format!("libtorch could not be installed by pip: see its log, {OWN}")
}

/// Removes a file, link or folder, if there is one.
fn remove(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    removed.with_context(|| format!("cannot remove {}", path.display()))
}

#[cfg(test)]
mod tests;
