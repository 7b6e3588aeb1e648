//! Who is let in to a coordinator, and as what: tokens, roles, certificates. Each program is started as a user would.

use std::path::Path;
use std::process::Command;

use m2t_common::Timestamp;
use m2t_common::access::{Fingerprint, Keys, Role, Token, TokenId};
use m2t_common::status::PhaseName;
use m2t_tests::harness::{Binaries, Cluster, ClusterSettings, Process};

use crate::{assert_finished, two_daemons_of_two, wait_held_at};

/// A program of somebody who has no keyring, pointed at the cluster's coordinator.
fn stranger(cluster: &Cluster, program: &str, arguments: &[&str]) -> Process {
    let mut command = Command::new(Binaries::get().path(program));
    command
        .args(arguments)
        .args(["--coordinator", &cluster.address().to_string()])
        .env("M2T_TOKENS", cluster.path("nobody"))
        .env("TMPDIR", cluster.path(""));
    if program == "m2t-worker" {
        command
            .arg("--trainer")
            .arg(Binaries::get().path("m2t-fake-trainer"));
    }
    Process::start(program, &mut command)
}

/// How it ended, with what it said.
fn ended(mut process: Process, code: i32) -> String {
    process.expect_exit(code);
    process.output()
}

fn write(path: &Path, token: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, token).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn token(cluster: &Cluster, role: &str) -> String {
    std::fs::read_to_string(cluster.token_file(role))
        .unwrap()
        .trim()
        .to_owned()
}

/// A coordinator without daemons.
fn alone() -> Cluster {
    let mut cluster = Cluster::new(ClusterSettings::fake());
    cluster.start_coordinator();
    cluster
}

#[test]
fn without_a_token_nobody_joins_watches_or_steers() {
    let cluster = alone();
    for arguments in [
        &["status"][..],
        &["pause"],
        &["resume"],
        &["stop"],
        &["drain", "a"],
        &["readmit", "a"],
    ] {
        let said = ended(stranger(&cluster, "m2t", arguments), 1);
        assert!(
            said.contains("there is no token for it here"),
            "{arguments:?}: {said}"
        );
        // And in plain, as to one that was started with --insecure.
        let plain = [arguments, &["--insecure"]].concat();
        ended(stranger(&cluster, "m2t", &plain), 1);
    }
    let said = ended(stranger(&cluster, "m2t-worker", &[]), 2);
    assert!(said.contains("there is no token for it here"), "{said}");
    let status = cluster.status().unwrap();
    assert_eq!((status.phase, status.machines.len()), (PhaseName::Gathering, 0));
}

#[test]
fn a_role_may_do_what_is_its_and_nothing_else() {
    let mut cluster = two_daemons_of_two();
    cluster.control.hold(5);
    wait_held_at(&cluster, 5);
    let files = ["worker", "operator", "viewer"].map(|role| cluster.token_file(role).display().to_string());
    let [worker, operator, viewer] = &files;
    for (file, who) in [(worker, "a worker's"), (viewer, "a viewer's")] {
        ended(stranger(&cluster, "m2t", &["status", "--token-file", file]), 0);
        for order in [&["pause"][..], &["stop"], &["drain", "a"]] {
            let said = ended(
                stranger(&cluster, "m2t", &[order, &["--token-file", file]].concat()),
                1,
            );
            assert!(
                said.contains(&format!("{who} token does not let you steer a run")),
                "{said}"
            );
        }
    }
    for (file, who) in [(operator, "an operator's"), (viewer, "a viewer's")] {
        let said = ended(
            stranger(&cluster, "m2t-worker", &["--name", "c", "--token-file", file]),
            2,
        );
        assert!(
            said.contains(&format!("{who} token does not let you join a run")),
            "{said}"
        );
    }
    let machines = cluster.status().unwrap().machines.len();
    assert_eq!(machines, 2, "nobody has joined");
    ended(stranger(&cluster, "m2t", &["pause", "--token-file", operator]), 0);
    cluster.wait_for("the pause", |status| status.phase == PhaseName::Paused);
    cluster.control.release();
    ended(cluster.m2t(&["resume"]), 0);
    assert_finished(&mut cluster);
}

#[test]
fn a_worker_that_meets_another_certificate_says_so_and_says_nothing_to_it() {
    let (cluster, other) = (alone(), alone());
    let file = other.token_file("worker").display().to_string();
    let said = ended(stranger(&cluster, "m2t-worker", &["--token-file", &file]), 2);
    assert!(
        said.contains("is not the one that the token names") && said.contains("nothing was said to it"),
        "{said}"
    );
    assert!(
        !said.contains(&token(&other, "worker")[40..80]),
        "no secret is told: {said}"
    );
    assert_eq!(cluster.status().unwrap().machines, []);
}

#[test]
fn expired_forged_and_revoked_tokens_let_nobody_in() {
    let cluster = alone();
    let keys = std::fs::read_to_string(cluster.output().join("state/security/keys.json")).unwrap();
    let keys: Keys = serde_json::from_str(&keys).unwrap();
    let honest: Token = token(&cluster, "operator").parse().unwrap();
    let expired = keys
        .token(
            Role::Operator,
            TokenId(7),
            Timestamp(1_000_000),
            honest.fingerprint,
        )
        .unwrap();
    let promoted = token(&cluster, "viewer").replace(".viewer.", ".operator.");
    let elsewhere = Token {
        fingerprint: Fingerprint::of(b"another"),
        ..honest
    };
    let file = cluster.path("token");
    for (text, expected) in [
        (
            expired.expose(),
            "the operator token 0000000000000007 has expired",
        ),
        (promoted, "not one of this coordinator's"),
        (elsewhere.expose(), "is not the one that the token names"),
        ("m2t.operator".to_owned(), "holds no token"),
    ] {
        write(&file, &text);
        let said = ended(
            stranger(&cluster, "m2t", &["stop", "--token-file", file.to_str().unwrap()]),
            1,
        );
        assert!(said.contains(expected), "{said}");
    }
    // The running coordinator heeds a revocation, and then a rotation, at once.
    let state = cluster.output().join("state").display().to_string();
    let tokens = |arguments: &[&str]| {
        let mut command = cluster.program("m2t-coordinator");
        command.arg("token").args(arguments).args(["--state", &state]);
        ended(Process::start("m2t-coordinator token", &mut command), 0)
    };
    let made = tokens(&["new", "--role", "operator", "--days", "1"]);
    write(&file, &made);
    let pause = ["pause", "--token-file", file.to_str().unwrap()];
    ended(stranger(&cluster, "m2t", &pause), 0);
    let id = made.split('.').nth(3).unwrap();
    tokens(&["revoke", id]);
    let said = ended(stranger(&cluster, "m2t", &pause), 1);
    assert!(said.contains("was revoked"), "{said}");
    let before = token(&cluster, "operator");
    write(&file, &before);
    ended(stranger(&cluster, "m2t", &pause), 0);
    tokens(&["rotate"]);
    let said = ended(stranger(&cluster, "m2t", &pause), 1);
    assert!(said.contains("was revoked"), "{said}");
    assert_ne!(token(&cluster, "operator"), before);
    ended(cluster.m2t(&["pause"]), 0);
}

#[test]
fn secrets_are_kept_where_only_their_user_reads_them() {
    let mut cluster = alone();
    let file = cluster.token_file("worker");
    let loose = |mode: u32| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    loose(0o640);
    let said = ended(
        stranger(&cluster, "m2t-worker", &["--token-file", file.to_str().unwrap()]),
        2,
    );
    assert!(said.contains("mode 640") && said.contains("chmod 600"), "{said}");
    cluster.coordinator().kill();
    let mut again = cluster.program("m2t-coordinator");
    again
        .args([
            "--experiment",
            "small.toml",
            "--world",
            "4",
            "--listen",
            "127.0.0.1:0",
            "--output",
        ])
        .arg(cluster.output())
        .arg("--data")
        .arg(cluster.path("data"))
        .current_dir(cluster.path(""));
    let said = ended(Process::start("coordinator", &mut again), 2);
    assert!(
        said.contains("mode 640") && said.contains("token rotate"),
        "{said}"
    );
    loose(0o600);
    cluster.start_coordinator();
    let secret = token(&cluster, "worker").split('.').nth(5).unwrap().to_owned();
    cluster.coordinator().kill();
    let told = cluster.coordinator().output();
    assert!(told.contains("worker.token"), "{told}");
    assert!(!told.contains(&secret), "{told}");
}
