//! What benches and chaos have in common: the real programs built, run on machines of ours, and what they write followed.
//!
//! It decides nothing of a run: who is started, killed or cut off when is its users' affair.

pub(crate) mod machines;
pub(crate) mod member;
pub(crate) mod steps;

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use m2t_common::status::Status;

use crate::interrupt::Interrupt;
use crate::workspace::Workspace;

/// Builds programs; `which` as cargo takes it, such as `--workspace`.
pub(crate) fn build(workspace: &Workspace, interrupt: &Interrupt, which: &[&str]) -> Result<()> {
    let mut command = workspace.cargo(&["build", "--release", "--bins", "--quiet"]);
    command.args(which);
    eprintln!("$ {}", workspace.typed(&command));
    let mut child = command.spawn().context("cannot run cargo")?;
    let status = interrupt.wait(&mut child)?;
    ensure!(
        status.success(),
        "`{}` failed ({status})",
        workspace.typed(&command)
    );
    Ok(())
}

/// An empty folder below the target folder, whatever was in it.
pub(crate) fn empty_folder(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot empty {}", folder.display()));
        }
        _ => {}
    }
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))
}

/// 640 small photographs in `FOLDER/train`.
pub(crate) fn make_data(workspace: &Workspace, folder: &Path) -> Result<()> {
    let made = Command::new(workspace.program("m2t"))
        .args(["data", "synth", "--classes", "4", "--train-per-class", "160"])
        .args(["--val-per-class", "1", "--pixels", "48"])
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .context("cannot run m2t")?;
    ensure!(made.success(), "`m2t data synth` failed ({made})");
    Ok(())
}

/// An error if a coordinator ended that was to go on.
pub(crate) fn require_running(coordinator: &mut member::Member, log: &Path) -> Result<()> {
    if let Some(status) = coordinator.ended()? {
        bail!("the coordinator ended ({status}); its log is {}", log.display());
    }
    Ok(())
}

/// What an error tells of a status.
pub(crate) fn in_short(status: Option<&Status>) -> String {
    let Some(status) = status else {
        return "the coordinator does not answer".to_owned();
    };
    let machines: Vec<String> = status
        .machines
        .iter()
        .map(|machine| format!("machine {} is {}", machine.name, machine.state))
        .collect();
    format!(
        "the run is {:?} ({}); {}",
        status.phase,
        status.reason,
        machines.join(", ")
    )
}
