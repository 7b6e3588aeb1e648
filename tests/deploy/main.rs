//! The files under `deploy/` that other programs read: that those programs take them, that they name options and files that
//! there are, and, where this machine can, that what they deploy runs. Where a tool is absent a test says that it is skipped.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "a skipped test says so")]

mod manifests;
mod options;
mod prometheus;
mod scripts;
mod tools;
mod trials;
mod units;

use std::path::{Path, PathBuf};

/// `deploy/`, and what lies there.
fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(path)
}

fn read(path: &str) -> String {
    let path = deploy(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
