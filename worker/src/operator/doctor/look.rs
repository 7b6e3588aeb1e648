//! Looking at the machine: thin functions that fill in [`facts`](super::facts), and judge nothing.
//!
//! Nothing is changed but for one file in the output folder, which is removed again.

mod folders;
mod link;
mod machine;
mod programs;

use std::path::Path;

use super::facts::Facts;
use crate::contact::Contact;

/// Where to look.
pub(super) struct Places<'a> {
    pub(super) data: Option<&'a Path>,
    pub(super) output: Option<&'a Path>,
    pub(super) coordinator: Option<&'a Contact>,
}

/// Everything that is to be seen.
pub(super) fn everywhere(places: &Places<'_>) -> Facts {
    Facts {
        programs: programs::programs(),
        room: machine::room(),
        limits: machine::limits(),
        shared_memory: machine::shared_memory(Path::new("/dev/shm"), Path::new("/proc")),
        processes: machine::processes(Path::new("/proc")),
        link: places.coordinator.map(link::link),
        data: places.data.map(folders::data),
        output: places.output.map(folders::output),
    }
}

#[cfg(test)]
mod tests;
