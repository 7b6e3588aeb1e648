//! `keys.json`: read again when it changes, so that a revocation needs no restart.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use anyhow::Context;
use m2t_common::access::Keys;

use super::folder::{self, SecurityFolder};
use crate::open::Refused;

/// The file's name.
const NAME: &str = "keys.json";

/// The keys as the file has them.
#[derive(Debug)]
pub(super) struct KeyFile {
    path: PathBuf,
    read: Mutex<Read>,
}

#[derive(Debug)]
struct Read {
    keys: Arc<Keys>,
    stamp: Option<Stamp>,
}

/// What tells one content from the next: files are replaced, not written into.
type Stamp = (SystemTime, u64);

impl KeyFile {
    /// Reads it, or makes it with a first key.
    ///
    /// # Errors
    /// When it cannot be read or written, or is no such file.
    pub(super) fn open(folder: &SecurityFolder) -> anyhow::Result<Self> {
        let path = folder.file(NAME);
        let stamp = stamp(&path);
        let (keys, stamp) = match read(&path)? {
            Some(keys) => (keys, stamp),
            None => {
                let keys = super::first_keys().context("the kernel gave no random number")?;
                store(&path, &keys)?;
                (keys, self::stamp(&path))
            }
        };
        let read = Mutex::new(Read {
            keys: Arc::new(keys),
            stamp,
        });
        Ok(Self { path, read })
    }

    /// The keys now. A file that cannot be read keeps those that were.
    pub(super) fn now(&self) -> Arc<Keys> {
        let mut last = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = stamp(&self.path);
        if stamp != last.stamp {
            last.stamp = stamp;
            match read(&self.path) {
                Ok(Some(keys)) => {
                    tracing::info!("the keys have changed");
                    last.keys = Arc::new(keys);
                }
                Ok(None) => tracing::warn!("{} is gone; the keys it had are used on", self.path.display()),
                Err(error) => tracing::warn!("{error}; the keys it had are used on"),
            }
        }
        Arc::clone(&last.keys)
    }

    /// Changes the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn change(&self, change: impl FnOnce(&mut Keys)) -> anyhow::Result<()> {
        let mut keys = (*self.now()).clone();
        change(&mut keys);
        store(&self.path, &keys)
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    Some((
        found.modified().ok()?,
        std::os::unix::fs::MetadataExt::ino(&found),
    ))
}

fn read(path: &Path) -> Result<Option<Keys>, Refused> {
    let Some(text) = folder::read(path)? else {
        return Ok(None);
    };
    let keys = serde_json::from_str(&text);
    keys.map(Some)
        .map_err(|e| Refused::new(format!("{} is not what a coordinator wrote: {e}", path.display())))
}

fn store(path: &Path, keys: &Keys) -> anyhow::Result<()> {
    let json = serde_json::to_string_pretty(keys).context("keys are plain data")?;
    folder::write(path, &json).with_context(|| format!("could not write {}", path.display()))
}
