//! What a fresh machine needs before cargo can build the workspace. Idempotent, and instant once done.
//!
//! It installs into the clone only, and never with a system's package manager: what is missing there is named, with the
//! way to get it.

mod libtorch;
mod pip;
mod place;
mod python;

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::workspace::Workspace;

/// Checks for a C++ compiler and provides libtorch.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    require_compiler()?;
    libtorch::provide(&workspace.root, libtorch::Half::Cpu)
}

/// The same, with all that libtorch requires to compute on GPUs.
pub(crate) fn with_cuda(workspace: &Workspace) -> Result<()> {
    require_compiler()?;
    libtorch::provide(&workspace.root, libtorch::Half::Both)
}

/// Provides the Python that plays the clients in the tests; nothing else needs it.
pub(crate) fn python_clients(workspace: &Workspace) -> Result<()> {
    python::provide(&workspace.root)
}

/// m2t-torch compiles a small C++ shim; without this check cargo would say so only after minutes.
fn require_compiler() -> Result<()> {
    let own = std::env::var("CXX").ok().filter(|name| !name.is_empty());
    let compiler = own.as_deref().unwrap_or("c++");
    // CXX may carry arguments or a wrapper ("ccache g++"): the first word must run.
    let program = compiler.split_whitespace().next().unwrap_or(compiler);
    if !answers(Command::new(program).arg("--version")) {
        bail!(
            "the C++ compiler `{compiler}` does not run: install one (Debian, Ubuntu: `apt install g++`) or name it in CXX"
        );
    }
    Ok(())
}

/// Whether a command can be run and succeeds.
fn answers(command: &mut Command) -> bool {
    let quiet = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}
