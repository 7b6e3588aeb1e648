//! The Python that plays a user's clients: torchvision, timm, gRPC and TensorBoard, which the product itself never needs.
//!
//! It is `M2T_PYTHON`, an interpreter that has the packages, or `.python/python`, which `cargo xtask test` installs. Where there is
//! neither, a test is skipped with a line that says so, and fails with CI=true. The file stands alone, for the trainer's
//! tests take it in as it is.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs `script` with Python, or nothing after printing that the test is skipped.
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
pub fn python(script: &Path) -> Option<Command> {
    let own = std::env::var_os("M2T_PYTHON").filter(|own| !own.is_empty());
    let interpreter = own.map_or_else(installed, |own| Some(PathBuf::from(own)));
    let Some(interpreter) = interpreter else {
        let missing = "there is no .python/python; `cargo xtask test` installs it, or set M2T_PYTHON to an interpreter with \
                       torchvision, timm, grpcio-reflection and tensorboard";
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{missing}");
        println!("skipped: {missing}");
        return None;
    };
    let mut command = Command::new(interpreter);
    // Unbuffered, so that a test reads each line when it is said.
    command.arg("-u").arg(script);
    // What cargo sets for our programs is not for Python's torch.
    command.env_remove("LD_LIBRARY_PATH");
    Some(command)
}

fn installed() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .find(|folder| folder.join("Cargo.lock").is_file())?;
    let interpreter = root.join(".python/python");
    interpreter.is_file().then_some(interpreter)
}
