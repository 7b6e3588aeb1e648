//! The shared folder: photographs that are not part of the project, in `M2T_SHARED` (default `../shared`). Where it is absent
//! a test is skipped with a line that says so, and fails with CI=true.

#![expect(clippy::print_stdout, reason = "a skipped test says so")]

use std::path::{Path, PathBuf};

/// The training photographs, an ImageFolder of ten classes.
pub fn photographs() -> Option<PathBuf> {
    shared("datasets/clothing/train")
}

/// A folder below the shared folder.
pub fn shared(below: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let root = std::env::var_os("M2T_SHARED").map_or(beside, PathBuf::from);
    let folder = root.join(below);
    if folder.is_dir() {
        return Some(folder);
    }
    let missing = format!(
        "{} is missing; set M2T_SHARED to the shared folder",
        folder.display()
    );
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{missing}");
    println!("skipped: {missing}");
    None
}
