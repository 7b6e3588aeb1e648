//! A harness of real processes: a coordinator, daemons and their trainers on ports of the system's choice.
//!
//! Nothing here sleeps to let something happen: everything waited for is a condition with a deadline, and what did not
//! come in time fails the test with the logs of all processes. Dropping a process kills it.

mod binaries;
mod browser;
mod cluster;
mod netns;
mod process;
mod python;
mod screen;
mod shared;
mod terminal;

use std::time::Duration;

pub use binaries::Binaries;
pub use browser::{Browser, chromium};
pub use cluster::{Cluster, ClusterSettings, pretend_data};
pub use netns::{Machine, Network};
pub use process::{Process, wait_until_gone};
pub use python::python;
pub use shared::{photographs, shared};
pub use terminal::Terminal;

/// How long anything is waited for. Far beyond what a loaded machine needs; a test that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);
