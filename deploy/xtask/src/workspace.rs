//! Where this workspace and its build results lie, and how cargo is called in it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::show;

/// The clone this tool was built from.
pub(crate) struct Workspace {
    /// Its top folder.
    pub(crate) root: PathBuf,
    /// Cargo's target folder: `target`, or where `CARGO_TARGET_DIR` says.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// Asks cargo, so that a target folder of the user's own choice is honoured.
    pub(crate) fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .nth(2)
            .expect("xtask lies two folders below the root")
            .to_owned();
        let output = cargo(&root)
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .output()
            .context("cannot run cargo")?;
        ensure!(
            output.status.success(),
            "`cargo metadata` failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        let metadata: serde_json::Value =
            serde_json::from_slice(&output.stdout).context("`cargo metadata` did not answer in JSON")?;
        let target = metadata["target_directory"]
            .as_str()
            .context("`cargo metadata` names no target folder")?;
        Ok(Self {
            root,
            target: PathBuf::from(target),
        })
    }

    /// `cargo ARGUMENTS`, in the root.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = cargo(&self.root);
        command.args(arguments);
        command
    }

    /// A command as one would type it in the root.
    pub(crate) fn typed(&self, command: &Command) -> String {
        let program = Path::new(command.get_program());
        let program = match program.strip_prefix(&self.root) {
            Ok(ours) => ours.as_os_str(),
            Err(_) => program.file_name().unwrap_or(program.as_os_str()),
        };
        let mut typed = show::shell_word(program);
        for argument in command.get_args() {
            let below_root = Path::new(argument).strip_prefix(&self.root);
            typed.push(' ');
            typed += &show::shell_word(below_root.map_or(argument, Path::as_os_str));
        }
        typed
    }

    /// A program of ours as the one profile builds it.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.target.join("release").join(name)
    }
}

/// The cargo that runs us, so that its toolchain is used throughout.
fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_can_be_pasted_into_a_shell_in_the_root() {
        let workspace = Workspace {
            root: PathBuf::from("/home/ada/m2t"),
            target: PathBuf::from("/home/ada/m2t/target"),
        };
        let mut command = Command::new(workspace.program("m2t"));
        command.args([
            "data",
            "synth",
            "/home/ada/m2t/target/demo",
            "/home/ada/my pictures",
            "--seed=3",
            "",
        ]);
        assert_eq!(
            workspace.typed(&command),
            "target/release/m2t data synth target/demo '/home/ada/my pictures' --seed=3 ''"
        );
        assert_eq!(workspace.typed(&Command::new("/opt/rust/bin/cargo")), "cargo");
    }
}
