//! What a process that was killed left of NCCL in shared memory: files `nccl-*` that nobody maps any more. They count against
//! the machine's memory until somebody removes them.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleared {
    /// Files.
    pub n_files: usize,
    /// Their bytes.
    pub n_bytes: u64,
}

/// A file this young may belong to a process that has not mapped it yet.
const YOUNG: Duration = Duration::from_secs(60);

/// Removes this user's files `nccl-*` in `folder` (`/dev/shm`) that no process of `processes` (`/proc`) maps and that are older than
/// a minute. Another's files, and those of runs that live, stay. Should a process that cannot be seen map one (in another container,
/// say), only its name goes: within a minute all who need it have opened it.
///
/// # Errors
/// When one of the folders cannot be read.
pub fn clear_stale(folder: &Path, processes: &Path) -> io::Result<Cleared> {
    let user = fs::metadata("/proc/self")?.uid();
    let candidates = stale(folder, user)?;
    let mut cleared = Cleared::default();
    if candidates.is_empty() {
        return Ok(cleared);
    }
    let mapped = mapped(processes)?;
    for (path, n_bytes) in candidates {
        // Whoever else clears may be faster.
        if !mapped.contains(&path) && fs::remove_file(&path).is_ok() {
            cleared.n_files += 1;
            cleared.n_bytes += n_bytes;
        }
    }
    Ok(cleared)
}

fn stale(folder: &Path, user: u32) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_nccl = entry.file_name().to_string_lossy().starts_with("nccl-");
        let Some(facts) = entry.metadata().ok().filter(|facts| is_nccl && facts.is_file()) else {
            continue;
        };
        let age = SystemTime::now()
            .duration_since(facts.modified()?)
            .unwrap_or_default();
        if facts.uid() == user && age >= YOUNG {
            found.push((entry.path(), facts.len()));
        }
    }
    Ok(found)
}

/// Files that processes map. Those of other users cannot be looked into; they do not map this user's files.
fn mapped(processes: &Path) -> io::Result<HashSet<PathBuf>> {
    let mut mapped = HashSet::new();
    for entry in fs::read_dir(processes)? {
        let Ok(maps) = fs::read_to_string(entry?.path().join("maps")) else {
            continue;
        };
        mapped.extend(
            maps.lines()
                .filter_map(|line| line.find('/').map(|at| PathBuf::from(&line[at..]))),
        );
    }
    Ok(mapped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_files_of_nccl_that_nobody_maps_are_removed() {
        let place = std::env::temp_dir().join(format!("m2t-nccl-shm-{}", std::process::id()));
        let (folder, processes) = (place.join("shm"), place.join("proc"));
        fs::create_dir_all(&folder).unwrap();
        fs::create_dir_all(processes.join("17")).unwrap();
        fs::create_dir_all(processes.join("self-without-maps")).unwrap();
        let used = folder.join("nccl-used");
        fs::write(
            processes.join("17/maps"),
            format!(
                "7f0000000000-7f0000001000 rw-s 00000000 00:1a 4711    {}\n",
                used.display()
            ),
        )
        .unwrap();
        for (name, age) in [
            ("nccl-used", 3600),
            ("nccl-left", 3600),
            ("nccl-left-too", 3600),
            ("nccl-young", 1),
            ("other", 3600),
        ] {
            let file = fs::File::create(folder.join(name)).unwrap();
            file.set_len(100).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age))
                .unwrap();
        }
        let cleared = clear_stale(&folder, &processes).unwrap();
        assert_eq!(
            cleared,
            Cleared {
                n_files: 2,
                n_bytes: 200
            }
        );
        let mut left: Vec<_> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["nccl-used", "nccl-young", "other"]);
        assert_eq!(clear_stale(&folder, &processes).unwrap(), Cleared::default());
        assert!(clear_stale(&place.join("nowhere"), &processes).is_err());
        fs::remove_dir_all(&place).unwrap();
    }
}
