//! What options the programs have, as they say themselves.

use std::process::Command;

use m2t_tests::harness::Binaries;

use crate::tools::succeed;

/// Whether a program's `--help` names an option.
pub(crate) fn knows(program: &str, option: &str) -> bool {
    let help = succeed(Command::new(Binaries::get().path(program)).arg("--help"));
    help.split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .any(|word| word == option)
}

#[test]
fn an_option_is_known_by_its_whole_name() {
    assert!(knows("m2t-worker", "--devices"));
    assert!(!knows("m2t-worker", "--device") && !knows("m2t-worker", "--world"));
}
