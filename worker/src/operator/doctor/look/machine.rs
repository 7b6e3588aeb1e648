//! Processors, memory, control groups, limits, shared memory and processes, as the kernel tells them.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::process::{Resource, getrlimit};

use super::super::facts::{Limits, Process, Room, SharedMemory};

/// Segments of trainers in shared memory begin so.
const SEGMENTS: [&str; 3] = ["nccl-", "torch_", "m2t-"];
/// A segment this young may belong to a process that has not mapped it yet.
const YOUNG: Duration = Duration::from_secs(60);

pub(super) fn room() -> Result<Room, String> {
    let usable = std::thread::available_parallelism().map_err(|error| error.to_string())?;
    let usable = usable.get() as u64;
    let memory = read(Path::new("/proc/meminfo"))?;
    let bytes = |name| meminfo(&memory, name).ok_or_else(|| format!("/proc/meminfo says nothing of {name}"));
    let online = read(Path::new("/sys/devices/system/cpu/online")).ok();
    Ok(Room {
        online: online
            .and_then(|list| n_listed(&list))
            .unwrap_or(usable)
            .max(usable),
        usable,
        memory: bytes("MemTotal")?,
        available: bytes("MemAvailable")?,
        limit: memory_limit(
            Path::new("/sys/fs/cgroup"),
            &read(Path::new("/proc/self/cgroup")).unwrap_or_default(),
        ),
    })
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// A line of `/proc/meminfo` in bytes.
pub(super) fn meminfo(text: &str, name: &str) -> Option<u64> {
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kibibytes: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

/// How many numbers a list such as "0-3,8" names.
pub(super) fn n_listed(list: &str) -> Option<u64> {
    let mut n = 0;
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        n += (last + 1).checked_sub(first)?;
    }
    Some(n)
}

/// The tightest limit of the process's control groups and those above, with what is in use of it. `groups` is
/// `/proc/self/cgroup`; both versions of control groups are understood.
pub(super) fn memory_limit(root: &Path, groups: &str) -> Option<(u64, u64)> {
    let of_line = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        if controllers.is_empty() {
            let files = ["memory.max", "memory.current"];
            return tightest(root, path, files);
        }
        let files = ["memory.limit_in_bytes", "memory.usage_in_bytes"];
        let is_memory = controllers.split(',').any(|controller| controller == "memory");
        is_memory
            .then(|| tightest(&root.join("memory"), path, files))
            .flatten()
    };
    groups
        .lines()
        .filter_map(of_line)
        .min_by_key(|(limit, used)| limit.saturating_sub(*used))
}

fn tightest(root: &Path, group: &str, [limit, used]: [&str; 2]) -> Option<(u64, u64)> {
    let number = |path: PathBuf| -> Option<u64> { fs::read_to_string(path).ok()?.trim().parse().ok() };
    let group = root.join(group.trim_start_matches('/'));
    group
        .ancestors()
        .take_while(|folder| folder.starts_with(root))
        .filter_map(|folder| {
            Some((
                number(folder.join(limit))?,
                number(folder.join(used)).unwrap_or(0),
            ))
        })
        .min_by_key(|(limit, used)| limit.saturating_sub(*used))
}

pub(super) fn limits() -> Limits {
    let of = |resource| getrlimit(resource).current;
    Limits {
        open_files: of(Resource::Nofile),
        processes: of(Resource::Nproc),
        locked_memory: of(Resource::Memlock),
    }
}

/// `folder` is `/dev/shm`, `processes` is `/proc`.
pub(super) fn shared_memory(folder: &Path, processes: &Path) -> Result<SharedMemory, String> {
    let say = |error: std::io::Error| format!("{}: {error}", folder.display());
    let room = rustix::fs::statvfs(folder).map_err(|error| say(error.into()))?;
    let user = rustix::process::getuid().as_raw();
    let mut left = Vec::new();
    for entry in fs::read_dir(folder).map_err(say)? {
        let entry = entry.map_err(say)?;
        let name = entry.file_name();
        let is_segment = SEGMENTS
            .iter()
            .any(|prefix| name.to_string_lossy().starts_with(prefix));
        let Some(facts) = entry
            .metadata()
            .ok()
            .filter(|facts| is_segment && facts.is_file())
        else {
            continue;
        };
        let modified = facts.modified().map_err(say)?;
        let age = SystemTime::now().duration_since(modified).unwrap_or_default();
        if facts.uid() == user && age >= YOUNG {
            left.push((entry.path(), facts.len()));
        }
    }
    if !left.is_empty() {
        let used = mapped(processes);
        left.retain(|(path, _)| !used.contains(path));
    }
    left.sort();
    Ok(SharedMemory {
        size: room.f_blocks * room.f_frsize,
        free: room.f_bavail * room.f_frsize,
        left,
    })
}

/// Files that processes map. Those of other users cannot be looked into; they do not map this user's.
fn mapped(processes: &Path) -> HashSet<PathBuf> {
    let maps = numbered(processes)
        .into_iter()
        .filter_map(|(_, folder)| fs::read_to_string(folder.join("maps")).ok());
    let paths = |maps: String| -> Vec<PathBuf> {
        let lines = maps
            .lines()
            .filter_map(|line| line.find('/').map(|at| &line[at..]));
        lines.map(PathBuf::from).collect()
    };
    maps.flat_map(paths).collect()
}

/// Processes of m2t; `processes` is `/proc`.
pub(super) fn processes(processes: &Path) -> Vec<Process> {
    let mut found: Vec<Process> = numbered(processes)
        .into_iter()
        .filter_map(|(pid, folder)| {
            let stat = fs::read_to_string(folder.join("stat")).ok()?;
            let (name, parent) = name_and_parent(&stat)?;
            name.starts_with("m2t").then(|| Process {
                pid,
                parent,
                name: name.to_owned(),
            })
        })
        .collect();
    found.sort_unstable_by_key(|process| process.pid);
    found
}

/// Of a line of `/proc/PID/stat`: "17 (name) S 1 …", where the name may hold anything.
pub(super) fn name_and_parent(stat: &str) -> Option<(&str, u32)> {
    let (before, after) = stat.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let parent = after.split_whitespace().nth(1)?.parse().ok()?;
    Some((name, parent))
}

fn numbered(folder: &Path) -> Vec<(u32, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
        .collect()
}
