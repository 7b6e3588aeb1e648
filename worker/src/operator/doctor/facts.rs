//! What was seen of the machine, before anything is thought of it. [`look`](super::look) fills it, [`check`](super::check) judges it.

use std::path::PathBuf;
use std::time::Duration;

use m2t_common::Recipe;
use m2t_common::status::PhaseName;
use m2t_common::tensor_facts::TensorFacts;

use crate::devices::Devices;

/// What the machine is meant for.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// What it is to train on.
    pub(super) devices: Devices,
    /// Whose needs are met.
    pub(super) recipe: Recipe,
}

impl Wanted {
    /// How many devices.
    pub(super) fn n_devices(&self) -> u64 {
        match &self.devices {
            Devices::Cpu(n) => u64::from(*n),
            Devices::Gpus(gpus) => gpus.len() as u64,
        }
    }
}

/// A program beside this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) name: &'static str,
    /// What it says to `--version`, or why it does not.
    pub(super) said: Result<String, String>,
}

/// Programs and libtorch.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    /// What this program says to `--version`, without its name.
    pub(super) own: String,
    pub(super) beside: Vec<Program>,
    /// What `m2t-trainer doctor` answers, or its last words.
    pub(super) tensor: Result<TensorFacts, String>,
    /// Flags of the first processor, as the kernel names them.
    pub(super) cpu_flags: Vec<String>,
}

/// Processors and memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// Processors that are switched on.
    pub(super) online: u64,
    /// Those that this process may use, by affinity and control groups.
    pub(super) usable: u64,
    /// Memory in bytes.
    pub(super) memory: u64,
    /// Of it, not in use.
    pub(super) available: u64,
    /// What the control groups leave to this process, and what of that is in use, in bytes.
    pub(super) limit: Option<(u64, u64)>,
}

/// Limits of a process; none is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) open_files: Option<u64>,
    pub(super) processes: Option<u64>,
    /// In bytes.
    pub(super) locked_memory: Option<u64>,
}

/// `/dev/shm`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SharedMemory {
    /// In bytes.
    pub(super) size: u64,
    /// In bytes.
    pub(super) free: u64,
    /// This user's segments of NCCL, libtorch and m2t that no process maps, and their bytes.
    pub(super) left: Vec<(PathBuf, u64)>,
}

/// A process of m2t.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) parent: u32,
    /// Its name, of 15 bytes at most.
    pub(super) name: String,
}

/// The coordinator, as it answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) experiment: String,
    pub(super) phase: PhaseName,
    pub(super) world: u32,
    /// The shortest of several calls.
    pub(super) round_trip: Duration,
    /// Its time minus ours in the middle of that call, in milliseconds.
    pub(super) ahead_ms: i64,
}

/// The data folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Data {
    pub(super) n_samples: u64,
    pub(super) n_classes: u32,
    pub(super) fingerprint: String,
    /// Why its index could not be kept, if it was not.
    pub(super) not_kept: Option<String>,
    pub(super) sampled: m2t_data::sample::Sampled,
}

/// The output folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Output {
    /// Where the probe was written: the folder, or the nearest above it that exists.
    pub(super) folder: PathBuf,
    /// Whether that is the folder itself.
    pub(super) presence: Presence,
    /// Free for this user, in bytes.
    pub(super) free: u64,
    /// How it went to write, sync, rename and read back so many bytes.
    pub(super) probe: Result<Probe, ProbeError>,
}

/// Whether the output folder is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// Not yet; the coordinator makes it.
    Absent,
    /// It is, without a coordinator's mark.
    Unmarked,
    /// It is, with the mark that a coordinator leaves for its machines.
    Marked,
}

/// A file written, synced, renamed and read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probe {
    pub(super) bytes: u64,
    /// To write and sync it.
    pub(super) wrote_in: Duration,
}

/// What failed of that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ProbeError {
    /// "write", "sync", "rename", "read back".
    pub(super) doing: &'static str,
    pub(super) kind: std::io::ErrorKind,
    pub(super) reason: String,
}

/// All of it. A part that was not asked for is none; one that could not be looked at is the reason.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) programs: Programs,
    pub(super) room: Result<Room, String>,
    pub(super) limits: Limits,
    pub(super) shared_memory: Result<SharedMemory, String>,
    pub(super) processes: Vec<Process>,
    pub(super) link: Option<Result<Link, String>>,
    pub(super) data: Option<Result<Data, String>>,
    pub(super) output: Option<Result<Output, String>>,
}
