//! The architecture, held: which crate may depend on which, where `unsafe` may stand, what the root holds.
//!
//! A new edge is a new line in a table here, so a reviewer sees it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod edges;
mod sources;

use std::path::{Path, PathBuf};

/// The workspace's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}
