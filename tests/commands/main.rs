//! What a user types: the published command lines, and everything that can be typed wrongly. Real programs throughout.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod desk;
mod disk;
mod doctor;
mod hostile;
mod launch;
mod metrics;
mod other_data;
mod published;
mod reference;
mod stops;
mod waits;
mod wrong;
