//! The words of m2t as types, and the arithmetic all its programs must agree on.
//!
//! Nothing here reads a file, waits, logs or touches a tensor. A *rank* is mathematics (a lane of the computation), a
//! *device* is hardware (it hosts one rank or several); everything that must not depend on hardware is computed here,
//! from the recipe and the step alone.

pub mod access;
pub mod evaluation;
pub mod gpu;
pub mod ids;
pub mod ledger;
pub mod machine_link;
pub mod manifest;
pub mod order;
pub mod placement;
pub mod random;
pub mod recipe;
pub mod report;
pub mod schedule;
pub mod shard;
pub mod status;
pub mod tensor_facts;
pub mod trainer_link;
pub mod waits;

pub use gpu::GpuName;
pub use ids::{DeviceId, DeviceIndex, Generation, MachineName, Rank, Step, Timestamp};
pub use placement::{DevicePlacement, Placement};
pub use recipe::Recipe;
