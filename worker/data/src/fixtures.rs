//! Where the tests' reference pictures are. They are not part of the project; a test that finds none says so.

use std::path::PathBuf;

/// The folder `name` of the shared material, or nothing after printing that the test is skipped. In CI an absent
/// folder is a failure.
pub(crate) fn shared(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("M2T_SHARED").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")),
        PathBuf::from,
    );
    let folder = root.join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "{} is missing; set M2T_SHARED to the shared folder",
        folder.display()
    );
    println!(
        "skipped: {} is missing; set M2T_SHARED to the shared folder",
        folder.display()
    );
    None
}
