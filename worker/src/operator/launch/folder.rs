//! What is kept of a program on its host while it runs, so that a launcher whose connection broke finds it again: one folder
//! below the temporary one, which only this user can enter, gone when the program's end has been heard.
//!
//! | file | holds |
//! | --- | --- |
//! | `owner` | locked for as long as the keeper lives, however it goes |
//! | `keeper` | the keeper's process id |
//! | `arguments` | what the program was given, to tell another order from the same |
//! | `log` | what it said |
//! | `ended` | its exit code, once it ended |
//!
//! No token is written here.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, getuid};

/// Made and named by the launcher's key.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

/// Held by the keeper.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "the file's lock ends when it is closed")] File);

impl Folder {
    /// Opens the one of `key`, makes it where there is none.
    pub(super) fn open(key: &str) -> anyhow::Result<Self> {
        Self::open_in(&std::env::temp_dir(), key)
    }

    fn open_in(parent: &Path, key: &str) -> anyhow::Result<Self> {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        ensure!(
            !key.is_empty() && key.chars().all(legal),
            "{key:?} cannot be part of a folder's name"
        );
        let user = getuid().as_raw();
        let path = parent.join(format!("m2t-launch-{user}-{key}"));
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| {
                    format!(
                        "cannot make {}; set TMPDIR to a folder that can be written",
                        path.display()
                    )
                });
            }
            _ => {}
        }
        let is = fs::symlink_metadata(&path).with_context(|| format!("cannot look at {}", path.display()))?;
        ensure!(
            is.is_dir() && is.uid() == user && is.mode() & 0o077 == 0,
            "{} is not a folder of this user alone; remove it",
            path.display()
        );
        Ok(Self { path })
    }

    /// The lock, unless a keeper holds it.
    pub(super) fn lock(&self) -> io::Result<Option<Lock>> {
        let file = self.create("owner", OpenOptions::new().append(true))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock(file))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Forgets an older program; it must have ended.
    pub(super) fn clear(&self) -> io::Result<()> {
        for name in ["keeper", "arguments", "log", "ended"] {
            match fs::remove_file(self.path.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// The file the program writes to.
    pub(super) fn log(&self) -> io::Result<File> {
        self.create("log", OpenOptions::new().append(true).read(true))
    }

    pub(super) fn write_arguments(&self, arguments: &[String]) -> io::Result<()> {
        self.write("arguments", &serde_json::to_string(arguments)?)
    }

    /// What the program was given; none if it cannot be read.
    pub(super) fn arguments(&self) -> Option<Vec<String>> {
        let text = fs::read_to_string(self.path.join("arguments")).ok()?;
        serde_json::from_str(&text).ok()
    }

    pub(super) fn write_keeper(&self, pid: u32) -> io::Result<()> {
        self.write("keeper", &pid.to_string())
    }

    /// The living keeper: one that is gone has let go of the lock, and its number may be another's.
    pub(super) fn keeper(&self) -> Option<Pid> {
        if self.lock().ok()?.is_some() {
            return None;
        }
        let text = fs::read_to_string(self.path.join("keeper")).ok()?;
        Pid::from_raw(text.parse().ok()?)
    }

    pub(super) fn write_ended(&self, code: u8) -> io::Result<()> {
        self.write("ended", &code.to_string())
    }

    /// The exit code of a program that ended.
    pub(super) fn ended(&self) -> Option<u8> {
        fs::read_to_string(self.path.join("ended")).ok()?.parse().ok()
    }

    /// Removes all of it.
    pub(super) fn remove(self) -> io::Result<()> {
        fs::remove_dir_all(self.path)
    }

    /// Writes beside and renames, so that nobody reads a half.
    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        let draft = self.path.join(format!(".{name}"));
        fs::write(&draft, text)?;
        fs::rename(draft, self.path.join(name))
    }

    fn create(&self, name: &str, options: &mut OpenOptions) -> io::Result<File> {
        options.create(true).mode(0o600).open(self.path.join(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_belongs_to_one_keeper_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::open_in(parent.path(), "0a-node.1").unwrap();
        let lock = folder.lock().unwrap().unwrap();
        folder.write_keeper(std::process::id()).unwrap();
        let again = Folder::open_in(parent.path(), "0a-node.1").unwrap();
        assert!(again.lock().unwrap().is_none());
        assert_eq!(again.keeper(), Some(rustix::process::getpid()));
        drop(lock);
        assert_eq!(again.keeper(), None);
        again.write_ended(4).unwrap();
        assert_eq!(folder.ended(), Some(4));
        folder.clear().unwrap();
        assert_eq!(folder.ended(), None);
        folder.remove().unwrap();
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_others_can_enter_is_not_used() {
        let parent = tempfile::tempdir().unwrap();
        let user = getuid().as_raw();
        fs::create_dir(parent.path().join(format!("m2t-launch-{user}-k"))).unwrap();
        let error = Folder::open_in(parent.path(), "k").unwrap_err().to_string();
        assert!(error.contains("not a folder of this user alone"), "{error}");
        for key in ["", "../k", "a b"] {
            assert!(Folder::open_in(parent.path(), key).is_err(), "{key}");
        }
    }
}
