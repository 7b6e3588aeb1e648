//! What `m2t` does without a coordinator: makes data, and runs the trainer's other commands.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use m2t_tests::harness::{Binaries, Process};

fn m2t(program: &Path, arguments: &[&str]) -> Process {
    Process::start("m2t", Command::new(program).args(arguments))
}

#[test]
fn data_are_made_where_nothing_is() {
    let program = Binaries::get().path("m2t");
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut arguments = vec!["data", "synth", data.to_str().unwrap(), "--classes", "2"];
    arguments.extend(["--train-per-class", "3", "--val-per-class", "1", "--pixels", "16"]);
    let mut made = m2t(&program, &arguments);
    made.expect_exit(0);
    let said = made.output();
    assert!(
        said.starts_with("wrote 6 pictures to ") && said.contains("2 classes"),
        "{said}"
    );
    assert_eq!(std::fs::read_dir(data.join("train")).unwrap().count(), 2);
    let mut again = m2t(&program, &arguments);
    again.expect_exit(2);
    let said = again.output();
    assert!(
        said.contains("is not empty") && said.lines().count() == 1,
        "{said}"
    );
}

#[test]
fn the_trainers_commands_are_passed_through() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("m2t");
    std::fs::copy(Binaries::get().path("m2t"), &program).unwrap();
    let mut alone = m2t(&program, &["checkpoint", "digest", "x"]);
    alone.expect_exit(1);
    assert!(alone.output().contains("cargo build --release -p m2t-trainer"));

    let trainer = folder.path().join("m2t-trainer");
    std::fs::write(&trainer, "#!/bin/sh\necho \"$@\"\nexit 7\n").unwrap();
    std::fs::set_permissions(&trainer, std::fs::Permissions::from_mode(0o755)).unwrap();
    for (arguments, passed_on) in [
        (&["checkpoint", "digest", "/a b"][..], "digest /a b"),
        (&["knn", "--train", "t", "--help"], "knn --train t --help"),
        (&["export", "run", "--to", "x"], "export run --to x"),
    ] {
        let mut passed = m2t(&program, arguments);
        passed.expect_exit(7);
        assert_eq!(passed.output(), passed_on);
    }
}

#[test]
fn recipes_are_printed_compared_and_refused_by_exit_code() {
    let program = Binaries::get().path("m2t");
    let [one, other] = ["8x_v100_100e", "32x_v100_100e"];
    for (arguments, code, words) in [
        (&["recipe"][..], 0, "128x_2080ti_300e"),
        (&["recipe", one, "--world", "4"], 0, "# --world 4"),
        (&["recipe", "diff", one, one], 0, "equal digests"),
        (&["recipe", "diff", one, other], 1, "optimizer"),
        (&["recipe", "diff", one, "33x_v100_100e"], 2, "did you mean"),
        (
            &["recipe", one, "--set", "lr=1"],
            2,
            "m2t: --set lr=1: there is no key `lr`; did you mean `lr256`?",
        ),
        (&["recipe", "/nowhere/own.toml"], 2, "/nowhere/own.toml"),
        (&["recipe", "--world", "4"], 2, "Usage"),
    ] {
        let mut recipe = m2t(&program, arguments);
        recipe.expect_exit(code);
        let said = recipe.output();
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
}
