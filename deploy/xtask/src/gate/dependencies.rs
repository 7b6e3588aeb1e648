//! cargo-deny: licences, banned crates and sources of all dependencies, as `.deny.toml` allows them.
//!
//! Advisories are looked up only on demand: their database comes from the network, and a new entry in it would turn an
//! unchanged commit red.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::Outcome;
use crate::workspace::Workspace;

/// `.deny.toml` is written for this one.
const VERSION: &str = "0.20.2";

/// Checks all dependencies.
pub(super) fn check(workspace: &Workspace, advisories: bool) -> Result<Outcome> {
    let program = match provide(workspace) {
        Ok(program) => program,
        Err(error) if on_ci() => return Err(error),
        Err(error) => return Ok(Outcome::Skipped(format!("{error:#}"))),
    };
    let mut command = Command::new(program);
    command.current_dir(&workspace.root).args([
        "--workspace",
        "--all-features",
        "check",
        "licenses",
        "bans",
        "sources",
    ]);
    if advisories {
        command.arg("advisories");
    }
    super::execute(workspace, command)
}

/// The installed one, or one of our own in the target folder: built unoptimised, which takes a minute and serves as well.
fn provide(workspace: &Workspace) -> Result<PathBuf> {
    let installed = PathBuf::from("cargo-deny");
    let tools = workspace.target.join("tools");
    let own = tools.join("bin").join("cargo-deny");
    if let Some(found) = [&own, &installed].into_iter().find(|program| runs(program)) {
        return Ok(found.clone());
    }
    println!(
        "installing cargo-deny {VERSION} into {} (about a minute, once)",
        tools.display()
    );
    let mut install = workspace.cargo(&["install", "--quiet", "--locked", "--debug", "--version", VERSION]);
    install.arg("--root").arg(&tools).arg("cargo-deny");
    let status = install.status().context("cannot run cargo")?;
    anyhow::ensure!(
        status.success() && runs(&own),
        "cargo-deny could not be installed ({status}): check the network, or `cargo install --locked cargo-deny`"
    );
    Ok(own)
}

fn runs(program: &PathBuf) -> bool {
    let mut command = Command::new(program);
    command
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// On CI nothing may be passed over for want of a tool.
fn on_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}
