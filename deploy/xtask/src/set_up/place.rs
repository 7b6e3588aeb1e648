//! A folder in the root that pip fills: complete, or not there.
//!
//! Why renamed into place: a set-up that is interrupted leaves no folder that looks complete. A stamp in the folder says
//! what it was filled with, so that other versions are installed anew.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::show;

const STAMP_FILE: &str = "versions.txt";

/// Where something goes, and when it counts as there.
pub(super) struct Place<'a> {
    /// The workspace's root.
    pub(super) root: &'a Path,
    /// The folder's name in it.
    pub(super) name: &'static str,
    /// What goes there, for messages.
    pub(super) what: &'static str,
    /// What it says there once it is complete.
    pub(super) stamp: String,
    /// A file without which it is not.
    pub(super) witness: &'static str,
    /// "1.2 GB, once".
    pub(super) cost: &'static str,
    /// Installed, and what pip needs on the way.
    pub(super) needed_bytes: u64,
    /// What to do instead.
    pub(super) own: &'static str,
}

impl Place<'_> {
    /// Sees to it that the folder is complete. `fill` is given an empty folder and a log file.
    pub(super) fn provide(&self, fill: impl FnOnce(&Path, &Path) -> Result<()>) -> Result<()> {
        if self.is_complete() {
            return Ok(());
        }
        let name = format!("{}.lock", self.name);
        let lock = File::create(self.root.join(&name)).context("cannot write into the workspace's root")?;
        lock.lock().with_context(|| format!("cannot lock {name}"))?;
        // Whoever held the lock may have done the work.
        if self.is_complete() {
            return Ok(());
        }
        self.install(fill)
    }

    /// The folder once it is complete.
    pub(super) fn complete(&self) -> PathBuf {
        self.root.join(self.name)
    }

    /// Whether it has what it is to have.
    pub(super) fn is_complete(&self) -> bool {
        let stamp = fs::read_to_string(self.complete().join(STAMP_FILE));
        stamp.is_ok_and(|stamp| stamp == self.stamp) && self.complete().join(self.witness).is_file()
    }

    fn install(&self, fill: impl FnOnce(&Path, &Path) -> Result<()>) -> Result<()> {
        let Self {
            root,
            name,
            what,
            cost,
            witness,
            ..
        } = self;
        let start = Instant::now();
        // With our number: a pip that outlived an interrupted set-up must not write into this one's folder.
        let partial = root.join(format!("{}{}", self.prefix(), std::process::id()));
        let log = root.join(format!("{name}.log"));
        self.remove_leftovers()?;
        self.require_space()?;
        println!("set-up: installing {what} into {name}/ ({cost})");
        if let Err(error) = fill(&partial, &log) {
            // What it left may be what fills the disk.
            remove(&partial)?;
            return Err(error);
        }
        ensure!(
            partial.join(witness).is_file(),
            "pip installed {what} without {witness}; what it did is in {}",
            log.display()
        );
        fs::write(partial.join(STAMP_FILE), &self.stamp)
            .with_context(|| format!("cannot write {name}'s stamp"))?;
        remove(&self.complete())?;
        fs::rename(&partial, self.complete()).with_context(|| format!("cannot move {what} to {name}"))?;
        remove(&log)?;
        println!("set-up: {what}: installed in {}", show::duration(start.elapsed()));
        Ok(())
    }

    fn prefix(&self) -> String {
        format!("{}.partial-", self.name)
    }

    /// What interrupted set-ups left behind.
    fn remove_leftovers(&self) -> Result<()> {
        let cannot = || format!("cannot read {}", self.root.display());
        let prefix = self.prefix();
        for entry in fs::read_dir(self.root).with_context(cannot)? {
            let entry = entry.with_context(cannot)?;
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }

    fn require_space(&self) -> Result<()> {
        let disk = rustix::fs::statvfs(self.root)
            .with_context(|| format!("cannot ask for the free space at {}", self.root.display()))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        ensure!(
            free >= self.needed_bytes,
            "installing {} needs {:.1} GB on the disk of {}, and {:.1} GB are free: make room, {}",
            self.what,
            self.needed_bytes as f64 / 1e9,
            self.root.display(),
            free as f64 / 1e9,
            self.own
        );
        Ok(())
    }
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
