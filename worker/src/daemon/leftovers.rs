//! The folder with the trainers' sockets, and what a dead daemon left of its own: its folder, and the shared memory of its
//! trainers. It touches nothing whose owner it does not know to be dead, and ends no process.
//!
//! A living daemon holds a lock on the file `owner` in its folder; the kernel lets go of it when the daemon is gone,
//! however it went. The file gets its name when it is locked already, so an unlocked one is a dead daemon's. In `trainers`
//! stand the ids of all processes the daemon started: only segments with one of them in their name are removed, once
//! no process has that id. NCCL gives its segments random names and unlinks them itself as soon as all have opened them; what
//! is left of them the trainers of GPUs remove, which see that nobody maps it.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, test_kill_process};
use tempfile::TempDir;

const PREFIX: &str = "m2t-worker-";
const OWNER: &str = "owner";
const TRAINERS: &str = "trainers";
const SHARED_MEMORY: &str = "/dev/shm";

/// A folder only this user can enter; gone with the daemon.
#[derive(Debug)]
pub(super) struct SocketFolder {
    folder: TempDir,
    /// Held for as long as the daemon lives.
    _lock: File,
}

impl SocketFolder {
    /// Makes one below `parent`.
    pub(super) fn new(parent: &Path) -> std::io::Result<Self> {
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
        let draft = folder.path().join(".owner");
        let lock = File::create(&draft)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        fs::rename(draft, folder.path().join(OWNER))?;
        Ok(Self { folder, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Notes that this daemon started the process `pid`.
    pub(super) fn note(&self, pid: u32) {
        let path = self.path().join(TRAINERS);
        let opened = OpenOptions::new().create(true).append(true).open(path);
        // Without the note a segment may be left; that is no reason not to train.
        if let Err(error) = opened.and_then(|mut file| writeln!(file, "{pid}")) {
            tracing::warn!("could not note the trainer {pid}: {error}");
        }
    }
}

/// Removes what dead daemons of this user left below `parent`.
pub(super) fn remove_leftovers(parent: &Path) {
    for folder in entries(parent, |name| name.starts_with(PREFIX)) {
        match remove_folder(&folder, Path::new(SHARED_MEMORY)) {
            Ok(Some(n_segments)) => tracing::info!(
                "removed {}, which a dead daemon left, and {n_segments} segments of its trainers' shared memory",
                folder.display()
            ),
            Ok(None) => {}
            Err(error) => tracing::debug!("left {} alone: {error}", folder.display()),
        }
    }
}

/// Removes the shared memory of the process `pid` if it is dead; the number of segments.
pub(super) fn remove_segments(pid: u32) -> usize {
    remove_segments_in(Path::new(SHARED_MEMORY), pid)
}

/// Removes `folder` if its daemon is dead, with its trainers' segments; their number.
fn remove_folder(folder: &Path, shared_memory: &Path) -> std::io::Result<Option<usize>> {
    if !fs::symlink_metadata(folder)?.is_dir() {
        return Ok(None);
    }
    // Another user's cannot be opened for writing, or not at all.
    let owner = OpenOptions::new().write(true).open(folder.join(OWNER))?;
    if flock(&owner, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(None); // Its daemon lives.
    }
    let trainers = fs::read_to_string(folder.join(TRAINERS)).unwrap_or_default();
    let pids: Vec<u32> = trainers.lines().filter_map(|line| line.parse().ok()).collect();
    if pids.iter().any(|&pid| lives(pid)) {
        return Ok(None); // Its trainers are still on their way out, or others have their ids: another time.
    }
    let remove = |&pid: &u32| remove_segments_in(shared_memory, pid);
    let n_segments = pids.iter().map(remove).sum();
    fs::remove_dir_all(folder)?;
    Ok(Some(n_segments))
}

fn remove_segments_in(shared_memory: &Path, pid: u32) -> usize {
    if lives(pid) {
        return 0;
    }
    let prefixes = [format!("torch_{pid}_"), format!("m2t-{pid}-")];
    let is_of_pid = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix));
    let segments = entries(shared_memory, is_of_pid);
    // Another user's cannot be removed, for the folder is sticky.
    segments
        .into_iter()
        .filter(|path| fs::remove_file(path).is_ok())
        .count()
}

/// Whether a process has this id; a number that cannot be one counts as one.
fn lives(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_none_or(|pid| test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

/// What lies in `folder` under a name that is looked for.
fn entries(folder: &Path, is_looked_for: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let named = |path: &PathBuf| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(&is_looked_for)
    };
    entries
        .flatten()
        .map(|entry| entry.path())
        .filter(named)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The id of a process that is gone.
    fn dead() -> u32 {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        child.id()
    }

    #[test]
    fn a_dead_daemons_folder_and_segments_are_removed_and_nobody_elses() {
        let parent = tempfile::tempdir().unwrap();
        let memory = tempfile::tempdir().unwrap();
        let (dead, living) = (dead(), std::process::id());
        let gone = [format!("torch_{dead}_1_0"), format!("m2t-{dead}-x")];
        let kept = [
            format!("torch_{living}_1_0"),
            format!("torch_{dead}1_1_0"),
            "nccl-abc".to_owned(),
            "mine".to_owned(),
        ];
        for name in gone.iter().chain(&kept) {
            fs::write(memory.path().join(name), "x").unwrap();
        }
        let folder = SocketFolder::new(parent.path()).unwrap();
        folder.note(dead);
        folder.note(living);
        // Its daemon lives.
        assert_eq!(remove_folder(folder.path(), memory.path()).unwrap(), None);
        let SocketFolder { folder, _lock } = folder;
        let folder = folder.keep();
        drop(_lock);
        assert_eq!(remove_folder(&folder, memory.path()).unwrap(), None);
        fs::write(folder.join(TRAINERS), format!("{dead}\n")).unwrap();
        assert_eq!(remove_folder(&folder, memory.path()).unwrap(), Some(2));
        assert!(!folder.exists());
        for (names, expected) in [(&gone[..], false), (&kept[..], true)] {
            for name in names {
                assert_eq!(memory.path().join(name).exists(), expected, "{name}");
            }
        }
    }

    #[test]
    fn a_folder_that_says_nothing_of_its_owner_is_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("m2t-worker-old");
        fs::create_dir(&folder).unwrap();
        let living = SocketFolder::new(parent.path()).unwrap();
        remove_leftovers(parent.path());
        assert!(folder.exists() && living.path().join(OWNER).exists());
    }
}
