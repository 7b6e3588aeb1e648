//! Real processes (a shell), for it is them that must not be left behind.

use super::*;

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

/// Looks until the condition holds; a test that waits in vain fails.
fn wait_until(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain");
        std::thread::yield_now();
    }
}

#[test]
fn words_of_a_log_are_found_once_their_line_is_complete() {
    let logs = tempfile::tempdir().unwrap();
    let mut fleet = Fleet::new(logs.path().to_owned());
    let script = "printf 'INFO listening on 127.0.0.1:70'; read -r go <gate; echo '99 (gRPC)'";
    let gate = logs.path().join("gate");
    assert!(Command::new("mkfifo").arg(&gate).status().unwrap().success());
    let mut command = shell(script);
    command.current_dir(logs.path());
    fleet.start("coordinator", command).unwrap();
    wait_until(|| {
        fs::read_to_string(logs.path().join("coordinator.log"))
            .unwrap()
            .ends_with(":70")
    });
    assert_eq!(fleet.words_after("coordinator", "listening on ").unwrap(), None);
    fs::write(&gate, "go\n").unwrap();
    wait_until(|| fleet.are_all_gone().unwrap());
    assert_eq!(
        fleet
            .words_after("coordinator", "listening on ")
            .unwrap()
            .as_deref(),
        Some("127.0.0.1:7099")
    );
    assert!(fleet.words_after("alpha", "x").is_err());
}

#[test]
fn a_failure_is_told_with_the_last_words_and_the_log() {
    let logs = tempfile::tempdir().unwrap();
    let mut fleet = Fleet::new(logs.path().to_owned());
    fleet
        .start("alpha", shell("seq 100; echo broken >&2; exit 3"))
        .unwrap();
    let mut error = None;
    wait_until(|| {
        error = fleet.are_all_gone().err();
        error.is_some()
    });
    let text = format!("{:#}", error.unwrap());
    for words in ["alpha failed", "exit status: 3", "alpha.log", "  100\n  broken"] {
        assert!(text.contains(words), "{text}");
    }
    assert!(!text.contains("  50\n"), "{text}");
}

#[test]
fn nothing_is_left_of_a_dropped_fleet_not_even_grandchildren() {
    let logs = tempfile::tempdir().unwrap();
    let mut fleet = Fleet::new(logs.path().to_owned());
    fleet
        .start("alpha", shell("sleep 600 & echo grandchild $!; wait"))
        .unwrap();
    let mut grandchild = None;
    wait_until(|| {
        grandchild = fleet.words_after("alpha", "grandchild ").unwrap();
        grandchild.is_some()
    });
    drop(fleet);
    let stat = format!("/proc/{}/stat", grandchild.unwrap());
    // Gone, or a zombie whose new parent has not yet looked.
    wait_until(|| !fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")));
}

#[test]
fn one_that_has_left_is_told_from_those_that_have_not() {
    let logs = tempfile::tempdir().unwrap();
    let mut fleet = Fleet::new(logs.path().to_owned());
    fleet.start("coordinator", shell("exit 0")).unwrap();
    fleet.start("alpha", shell("sleep 600")).unwrap();
    wait_until(|| !fleet.are_all_gone().unwrap() && fleet.is_any_gone());
    assert_eq!(fleet.names_left(), ["alpha"]);
}
