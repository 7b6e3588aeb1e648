//! What each program says of itself: `--help` that begins with examples and knows the exit codes, `--version` with the facts
//! of its build.

use std::process::Command;

use m2t_tests::harness::{Binaries, Process};

const PROGRAMS: [&str; 4] = ["m2t", "m2t-coordinator", "m2t-worker", "m2t-trainer"];

fn said(program: &str, arguments: &[&str]) -> String {
    let path = Binaries::get().path(program);
    let mut process = Process::start(program, Command::new(path).args(arguments));
    process.expect_exit(0);
    process.output()
}

#[test]
fn every_program_tells_how_to_begin_and_what_its_exit_codes_mean() {
    for program in PROGRAMS {
        let help = said(program, &["--help"]);
        for word in ["Examples", "Exit codes", program] {
            assert!(
                help.contains(word),
                "{program} --help does not say {word:?}:\n{help}"
            );
        }
        assert!(said(program, &["-h"]).contains("Exit codes"), "{program} -h");
    }
    for command in [
        &["train", "--help"][..],
        &["status", "--help"],
        &["recipe", "--help"],
        &["data", "synth", "--help"],
        &["checkpoint", "digest", "--help"],
    ] {
        let help = said("m2t", command);
        assert!(
            help.contains("Example") && help.contains("Exit codes"),
            "{command:?}:\n{help}"
        );
    }
}

#[test]
fn the_long_version_has_the_facts_of_the_build_and_the_short_one_has_not() {
    for program in PROGRAMS {
        let name = format!("{program} {}", env!("CARGO_PKG_VERSION"));
        assert_eq!(said(program, &["-V"]), name);
        let long = said(program, &["--version"]);
        let lines: Vec<&str> = long.lines().collect();
        assert_eq!(lines[0], name);
        let fact = |fact: &str| {
            lines
                .iter()
                .find_map(|line| line.strip_prefix(fact))
                .map(str::trim)
        };
        assert!(
            fact("rustc ").is_some_and(|rustc| rustc.starts_with("1.")),
            "{long}"
        );
        assert!(
            fact("target ").is_some_and(|target| target.contains("linux")),
            "{long}"
        );
        assert!(
            fact("profile ").is_some_and(|profile| !profile.is_empty()),
            "{long}"
        );
        assert_eq!(fact("libtorch ").is_some(), program == "m2t-trainer", "{long}");
        // From an archive there is none.
        let is_commit = |commit: &str| {
            let hash = commit.trim_end_matches(" (modified)");
            hash.len() >= 12 && hash.bytes().all(|c| c.is_ascii_hexdigit())
        };
        assert!(fact("commit ").is_none_or(is_commit), "{long}");
    }
}
