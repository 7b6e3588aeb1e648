//! Shell scripts: that they parse, and what ShellCheck says of them.

use std::path::PathBuf;
use std::process::Command;

use crate::deploy;
use crate::tools::{succeed, tool};

fn scripts() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in std::fs::read_dir(deploy("")).unwrap().flatten() {
        let Ok(files) = std::fs::read_dir(folder.path()) else {
            continue;
        };
        found.extend(files.flatten().map(|file| file.path()).filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "sh" || extension == "sbatch")
        }));
    }
    assert!(found.len() >= 4, "{found:?}");
    found
}

#[test]
fn every_script_parses_and_stops_at_its_first_error() {
    for script in scripts() {
        succeed(Command::new("bash").arg("-n").arg(&script));
        let text = std::fs::read_to_string(&script).unwrap();
        assert!(
            text.contains("\nset -euo pipefail\n"),
            "{}: set -euo pipefail",
            script.display()
        );
    }
}

#[test]
fn shellcheck_finds_nothing() {
    let Some(shellcheck) = tool("shellcheck") else {
        return;
    };
    succeed(
        Command::new(shellcheck)
            .args(["--shell=bash", "--severity=info"])
            .args(scripts()),
    );
}
