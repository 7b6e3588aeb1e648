//! Where the programs under test lie; builds them first, so that no test runs an old one.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// Programs under test.
#[derive(Debug)]
pub struct Binaries {
    folder: PathBuf,
}

impl Binaries {
    /// Coordinator, daemon, operator tool and fake trainer: built, in the folder of this test's own build. With
    /// `M2T_BINARIES=DIR` they are taken from there as they are.
    pub fn get() -> &'static Self {
        static BINARIES: OnceLock<Binaries> = OnceLock::new();
        BINARIES.get_or_init(|| match std::env::var_os("M2T_BINARIES") {
            Some(folder) => Self {
                folder: folder.into(),
            },
            None => Self::build(),
        })
    }

    /// The path of a program.
    pub fn path(&self, name: &str) -> PathBuf {
        let path = self.folder.join(name);
        assert!(path.is_file(), "there is no {}", path.display());
        path
    }

    fn build() -> Self {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args(["build", "--release", "--quiet", "--bins"])
            .args(["-p", "m2t-coordinator", "-p", "m2t-worker", "-p", "m2t-tests"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .expect("cargo runs");
        assert!(built.success(), "the programs under test do not build");
        // This test lies in target/PROFILE/deps.
        let this = std::env::current_exe().expect("a test knows where it lies");
        let target = this
            .ancestors()
            .nth(3)
            .expect("a test lies in target/PROFILE/deps");
        Self {
            folder: target.join("release"),
        }
    }
}
