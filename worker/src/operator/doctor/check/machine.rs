//! Processors, memory, limits, shared memory, and what earlier runs left behind.

use super::super::estimate::Estimate;
use super::super::facts::{Limits, Process, Room, SharedMemory, Wanted};
use super::super::finding::Finding;
use super::{counted, size, some_of};
use crate::devices::Devices;

/// Files a trainer opens besides its sockets: libraries, pack files, data files, the log.
const FILES: u64 = 256;
/// The least with which a trainer starts at all.
const FEWEST_FILES: u64 = 64;
/// Threads of a trainer besides those of the recipe: libtorch's, Gloo's or NCCL's, the link's, the checkpoint's.
const THREADS: u64 = 32;
/// What NCCL takes of shared memory for each pair of GPUs that cannot reach each other directly.
const SHARED_BY_PAIR: u64 = 10 << 20;

pub(super) fn room(room: &Result<Room, String>, wanted: &Wanted, estimate: Estimate) -> Vec<Finding> {
    match room {
        Ok(room) => vec![
            cpu_limit(room),
            threads(room, wanted),
            memory_limit(room),
            memory(room, wanted, estimate),
        ],
        Err(why) => ["cpu-limit", "threads", "memory-limit", "memory"]
            .map(|check| Finding::skip(check, why))
            .into(),
    }
}

fn cpu_limit(room: &Room) -> Finding {
    let Room { online, usable, .. } = *room;
    if usable < online {
        let found = format!("{usable} of this machine's {online} CPUs may be used");
        let mend = "if that is not meant, raise the control group's quota (CPUQuota=, --cpus) or the affinity (taskset, cpuset)";
        return Finding::warn("cpu-limit", found, mend);
    }
    Finding::ok("cpu-limit", format!("all {online} CPUs may be used"))
}

fn threads(room: &Room, wanted: &Wanted) -> Finding {
    let (n, training) = (wanted.n_devices(), &wanted.recipe.training);
    let (each, of) = match wanted.devices {
        Devices::Cpu(_) => (u64::from(training.threads_per_device), "computing"),
        Devices::Gpus(_) => (u64::from(wanted.recipe.run.loader_threads), "loading"),
    };
    let needed = n * each;
    let found = format!(
        "{} with {} each on {} CPUs",
        counted(n, "device"),
        counted(each, &format!("{of} thread")),
        room.usable
    );
    if needed > room.usable {
        let mend = format!("name fewer --devices, or give CPUs to this machine: {needed} are needed");
        return Finding::warn("threads", found, mend);
    }
    Finding::ok("threads", found)
}

fn memory_limit(room: &Room) -> Finding {
    const CHECK: &str = "memory-limit";
    match room.limit {
        Some((limit, used)) if limit < room.memory => Finding::warn(
            CHECK,
            format!(
                "a control group limits this process to {} ({} in use) of the machine's {}",
                size(limit),
                size(used),
                size(room.memory)
            ),
            "if that is not meant, raise it (MemoryMax=, --memory); past it trainers are killed without a word",
        ),
        _ => Finding::ok(CHECK, format!("all {} may be used", size(room.memory))),
    }
}

fn memory(room: &Room, wanted: &Wanted, estimate: Estimate) -> Finding {
    let left = room
        .limit
        .map_or(u64::MAX, |(limit, used)| limit.saturating_sub(used));
    let available = room.available.min(left);
    let n = wanted.n_devices();
    // On GPUs the activations are not in this memory; what the loaders and the program take is a small part.
    let Devices::Cpu(_) = wanted.devices else {
        return Finding::ok("memory", format!("{} available", size(available)));
    };
    let found = format!(
        "{} available; {} of {} need about {} each",
        size(available),
        counted(n, "device"),
        wanted.recipe.name,
        size(estimate.memory)
    );
    if estimate.memory.saturating_mul(n) > available {
        let mend = "name fewer --devices, raise the world of the recipe (--world: fewer images a rank), or end what else runs";
        return Finding::warn("memory", found, mend);
    }
    Finding::ok("memory", found)
}

pub(super) fn limits(limits: Limits, wanted: &Wanted) -> [Finding; 3] {
    [
        open_files(limits.open_files, u64::from(wanted.recipe.training.world)),
        processes(limits.processes, wanted),
        locked_memory(limits.locked_memory, &wanted.devices),
    ]
}

/// Each trainer opens two connections to every other at most.
fn open_files(limit: Option<u64>, world: u64) -> Finding {
    const CHECK: &str = "open-files";
    let needed = FILES + 2 * world;
    let Some(limit) = limit else {
        return Finding::ok(CHECK, "no limit");
    };
    let found = format!("a process may open {limit} files; a trainer among {world} may need {needed}");
    let mend = format!("ulimit -n {0}, or LimitNOFILE={0} in the unit", needed.max(4096));
    if limit < FEWEST_FILES + world {
        Finding::bad(CHECK, found, mend)
    } else if limit < needed {
        Finding::warn(CHECK, found, mend)
    } else {
        Finding::ok(CHECK, found)
    }
}

fn processes(limit: Option<u64>, wanted: &Wanted) -> Finding {
    const CHECK: &str = "process-limit";
    let recipe = &wanted.recipe;
    let each = THREADS + u64::from(recipe.training.threads_per_device) + u64::from(recipe.run.loader_threads);
    let needed = wanted.n_devices() * each;
    let Some(limit) = limit else {
        return Finding::ok(CHECK, "no limit");
    };
    let found = format!("this user may have {limit} threads; {needed} are needed here");
    if limit < needed {
        return Finding::bad(
            CHECK,
            found,
            format!("ulimit -u {0}, or LimitNPROC={0} in the unit", needed.max(4096)),
        );
    }
    Finding::ok(CHECK, found)
}

/// InfiniBand and NCCL's own buffers are locked.
fn locked_memory(limit: Option<u64>, devices: &Devices) -> Finding {
    const CHECK: &str = "locked-memory";
    match (devices, limit) {
        (Devices::Cpu(_), _) => Finding::skip(CHECK, "only GPUs lock memory"),
        (Devices::Gpus(_), None) => Finding::ok(CHECK, "no limit"),
        (Devices::Gpus(_), Some(limit)) => Finding::warn(
            CHECK,
            format!("a process may lock {}", size(limit)),
            "ulimit -l unlimited, or LimitMEMLOCK=infinity in the unit; InfiniBand does not work without",
        ),
    }
}

pub(super) fn shared_memory(shared: &Result<SharedMemory, String>, wanted: &Wanted) -> [Finding; 2] {
    match shared {
        Ok(shared) => [shared_room(shared, wanted), leftovers(shared)],
        Err(why) => ["shared-memory", "leftovers"].map(|check| Finding::skip(check, why)),
    }
}

fn shared_room(shared: &SharedMemory, wanted: &Wanted) -> Finding {
    const CHECK: &str = "shared-memory";
    let found = format!("/dev/shm: {} free of {}", size(shared.free), size(shared.size));
    let n = wanted.n_devices();
    let needed = n * n.saturating_sub(1) * SHARED_BY_PAIR;
    match wanted.devices {
        Devices::Cpu(_) => Finding::ok(CHECK, format!("{found}; devices of the CPU need none")),
        Devices::Gpus(_) if shared.free < needed => Finding::bad(
            CHECK,
            format!("{found}; NCCL may need {} for {n} GPUs", size(needed)),
            "give it more: docker run --shm-size=1g, an emptyDir of medium Memory at /dev/shm, or mount -o remount,size=1g /dev/shm",
        ),
        Devices::Gpus(_) => Finding::ok(CHECK, found),
    }
}

fn leftovers(shared: &SharedMemory) -> Finding {
    const CHECK: &str = "leftovers";
    if shared.left.is_empty() {
        return Finding::ok(CHECK, "no segments of dead trainers in /dev/shm");
    }
    let bytes = shared.left.iter().map(|(_, bytes)| bytes).sum();
    let found = format!(
        "{} in /dev/shm that no process uses, of {}: {}",
        counted(shared.left.len() as u64, "segment"),
        size(bytes),
        some_of(shared.left.iter().map(|(path, _)| path.display()))
    );
    Finding::warn(
        CHECK,
        found,
        "remove them, if no container shares this /dev/shm; a trainer on a GPU removes NCCL's at its start",
    )
}

/// Trainers end with their daemon; one whose parent is process 1 has lost it. Daemons are started by process 1 in good order.
pub(super) fn strays(processes: &[Process]) -> Finding {
    const CHECK: &str = "strays";
    let named = |name: &'static str| processes.iter().filter(move |process| process.name == name);
    let daemon_is_first = named("m2t-worker").any(|daemon| daemon.pid == 1);
    let strays: Vec<u32> = named("m2t-trainer")
        .filter(|trainer| trainer.parent == 1 && !daemon_is_first)
        .map(|trainer| trainer.pid)
        .collect();
    if !strays.is_empty() {
        let pids: Vec<String> = strays.iter().map(ToString::to_string).collect();
        let found = format!("trainers without a daemon: {}", some_of(strays.iter()));
        return Finding::warn(
            CHECK,
            found,
            format!("unless they were started by hand, kill {}", pids.join(" ")),
        );
    }
    let [daemons, trainers] = ["m2t-worker", "m2t-trainer"].map(|name| named(name).count() as u64);
    let found = format!(
        "{} and {} run here",
        counted(daemons, "daemon"),
        counted(trainers, "trainer")
    );
    Finding::ok(CHECK, found)
}
