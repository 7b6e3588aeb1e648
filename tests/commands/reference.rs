//! What the programs say of themselves: the pages of reference, completions, man pages.

use std::path::Path;
use std::process::Command;

use m2t_tests::harness::{Binaries, Process};

const PROGRAMS: [&str; 4] = ["m2t", "m2t-coordinator", "m2t-worker", "m2t-trainer"];

fn said(program: &str, arguments: &[&str]) -> String {
    let mut process = Process::start(
        program,
        Command::new(Binaries::get().path(program)).args(arguments),
    );
    process.expect_exit(0);
    process.output()
}

#[test]
fn the_pages_of_the_programs_are_those_of_the_code() {
    for program in PROGRAMS {
        let page = said(program, &["__describe", "page"]);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../deploy/reference/{program}.md"));
        let shown = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            shown.trim_end() == page.trim_end(),
            "deploy/reference/{program}.md is not current; run cargo xtask reference"
        );
    }
}

#[test]
fn completions_and_man_pages_are_of_every_program() {
    for shell in ["bash", "zsh", "fish"] {
        let script = said("m2t", &["completions", shell]);
        for word in [
            "m2t-coordinator",
            "min-devices",
            "m2t-worker",
            "devices",
            "m2t-trainer",
            "readmit",
        ] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    said("m2t", &["completions", "zsh", "--to", dir]);
    said("m2t", &["man", dir]);
    for file in [
        "_m2t",
        "_m2t-worker",
        "m2t.1",
        "m2t-data-synth.1",
        "m2t-status.1",
        "m2t-coordinator.1",
        "m2t-trainer-knn.1",
    ] {
        assert!(folder.path().join(file).is_file(), "{file}");
    }
}
