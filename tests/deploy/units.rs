//! systemd's units: that systemd takes them, how exposed they are, and which ends they start again after.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::options::knows;
use crate::read;
use crate::tools::{succeed, tool};

const UNITS: [(&str, &str); 2] = [
    ("m2t-coordinator", "systemd/m2t-coordinator.service"),
    ("m2t-worker", "systemd/m2t-worker.service"),
];

/// Exposure, of 10.0, that `systemd-analyze security` may find at most, in tenths.
const MOST_EXPOSED: &str = "15";

/// The units in a folder, with programs that there are.
fn units() -> (TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for (program, unit) in UNITS {
        let stand_in = folder.path().join(program);
        std::fs::write(&stand_in, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&stand_in, PermissionsExt::from_mode(0o755)).unwrap();
        let text = read(unit);
        assert!(text.contains("ExecStart=/opt/m2t/bin/"));
        let text = text.replace("/opt/m2t/bin", &folder.path().display().to_string());
        let path = folder.path().join(format!("{program}.service"));
        std::fs::write(&path, text).unwrap();
        paths.push(path);
    }
    (folder, paths)
}

#[test]
fn systemd_takes_the_units_without_a_word() {
    let Some(analyze) = tool("systemd-analyze") else {
        return;
    };
    let (_folder, paths) = units();
    let said = succeed(Command::new(analyze).args(["verify", "--man=no"]).args(paths));
    // It speaks of this machine's own units as well.
    let of_ours: Vec<_> = said.lines().filter(|line| line.contains("m2t-")).collect();
    assert!(of_ours.is_empty(), "{of_ours:?}");
}

#[test]
fn the_units_are_little_exposed() {
    let Some(analyze) = tool("systemd-analyze") else {
        return;
    };
    let (_folder, paths) = units();
    for path in paths {
        let offline = [
            "security",
            "--no-pager",
            "--offline=true",
            "--threshold",
            MOST_EXPOSED,
        ];
        succeed(Command::new(&analyze).args(offline).arg(path));
    }
}

#[test]
fn a_unit_is_started_again_after_a_signal_but_not_after_an_end_that_was_meant() {
    for (_, unit) in UNITS {
        let text = read(unit);
        let lines: Vec<_> = text.lines().collect();
        for line in [
            "Restart=on-failure",
            "RestartPreventExitStatus=2 4",
            "SuccessExitStatus=4",
            "KillMode=mixed",
            "NoNewPrivileges=yes",
        ] {
            assert!(lines.contains(&line), "{unit}: {line}");
        }
    }
}

#[test]
fn the_units_options_are_the_programs_and_their_variables_are_set() {
    for (program, unit) in UNITS {
        let text = read(unit);
        let start = text.lines().find(|line| line.starts_with("ExecStart=")).unwrap();
        let file = format!("systemd/{}.env", program.trim_start_matches("m2t-"));
        let settings = read(&file);
        for word in start.split_whitespace() {
            if word.starts_with("--") {
                assert!(knows(program, word), "{unit}: {program} has no {word}");
            }
            if let Some(name) = word.strip_prefix('$') {
                let name = name.trim_matches(['{', '}']);
                let is_set = settings.lines().any(|line| line.starts_with(&format!("{name}=")));
                assert!(is_set, "{file} does not set {name}");
            }
        }
    }
}
