//! libtorch, taken from PyTorch's own packages by pip; nothing of Python is used once it is there.
//!
//! Why pip: it is the one client for these packages that most machines have, it verifies what it fetches, and it honours
//! mirrors and proxies that are set up there. Why a folder renamed into place: a set-up that is interrupted leaves no
//! folder that looks complete.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::pip::{self, OWN};
use crate::show;

/// 1.2 GB installed, 1.7 GB while pip works, and what pip itself keeps in its cache.
const NEEDED_BYTES: u64 = 2_500_000_000;
const PARTIAL: &str = ".libtorch.partial-";
const STAMP_FILE: &str = "versions.txt";
const LIBRARY: &str = "torch/lib/libtorch_cpu.so";

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
    root: PathBuf,
    complete: PathBuf,
    partial: PathBuf,
    log: PathBuf,
}

impl Place {
    fn below(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
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
            "libtorch can be fetched for x86-64 Linux only: move to such a machine, {OWN}"
        );
        let client = pip::find()?;
        self.remove_leftovers()?;
        self.require_space()?;
        println!("set-up: installing libtorch into .libtorch/ (1.2 GB, once)");
        if let Err(error) = pip::install(client, &self.partial, &self.log) {
            // What it left may be what fills the disk.
            remove(&self.partial)?;
            return Err(error);
        }
        ensure!(
            self.partial.join(LIBRARY).is_file(),
            "pip installed {} without {LIBRARY}; what it did is in {}",
            pip::PACKAGES[0],
            self.log.display()
        );
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
        let cannot = || format!("cannot read {}", self.root.display());
        for entry in fs::read_dir(&self.root).with_context(cannot)? {
            let entry = entry.with_context(cannot)?;
            if entry.file_name().to_string_lossy().starts_with(PARTIAL) {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }

    fn require_space(&self) -> Result<()> {
        let disk = rustix::fs::statvfs(&self.root)
            .with_context(|| format!("cannot ask for the free space at {}", self.root.display()))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        ensure!(
            free >= NEEDED_BYTES,
            "libtorch needs {:.1} GB on the disk of {} while it is installed, and {:.1} GB are free: make room, {OWN}",
            NEEDED_BYTES as f64 / 1e9,
            self.root.display(),
            free as f64 / 1e9
        );
        Ok(())
    }
}

fn stamp_text() -> String {
    pip::PACKAGES.map(|package| format!("{package}\n")).concat()
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
