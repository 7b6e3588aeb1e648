//! `m2t doctor` with real programs: on a machine in order, beside a coordinator, and with folders that cannot be written.

use serde_json::Value;

use crate::desk::Desk;
use crate::disk::Mount;

/// What is typed besides, the exit code, and the checks.
fn examined(desk: &Desk, arguments: &str, code: i32) -> Vec<Value> {
    let mut doctor = desk.start(&format!("m2t doctor --json -f tiny.toml {arguments}"));
    doctor.expect_exit(code);
    let output = doctor.output();
    let line = output.lines().find(|line| line.starts_with('['));
    serde_json::from_str(line.unwrap_or_else(|| panic!("no JSON: {output}"))).unwrap()
}

fn find<'a>(checks: &'a [Value], name: &str) -> &'a Value {
    checks.iter().find(|check| check["check"] == name).unwrap()
}

#[test]
fn a_machine_in_order_has_nothing_bad_and_sees_its_coordinator() {
    let desk = Desk::new();
    let (_coordinator, address) = desk.coordinator("");
    let checks = examined(&desk, &format!("--output out --coordinator {address}"), 0);
    for name in [
        "programs",
        "libtorch",
        "devices",
        "coordinator",
        "clock",
        "output",
        "output-space",
        "output-shared",
    ] {
        assert_eq!(find(&checks, name)["state"], "ok", "{checks:?}");
    }
    let found = |name| find(&checks, name)["found"].as_str().unwrap();
    assert!(
        found("coordinator").contains("leads tiny in a world of 4: gathering"),
        "{checks:?}"
    );
    assert!(found("instruction-set").contains("libtorch uses"), "{checks:?}");
}

#[test]
fn pictures_that_are_none_and_a_coordinator_that_is_none_are_bad() {
    let desk = Desk::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let checks = examined(&desk, &format!("--data data --coordinator 127.0.0.1:{port}"), 1);
    assert_eq!(find(&checks, "data")["state"], "ok", "{checks:?}");
    for (name, words) in [("decoding", "m2t data check"), ("coordinator", "start one")] {
        let check = find(&checks, name);
        assert_eq!(check["state"], "bad", "{check}");
        assert!(check["mend"].as_str().unwrap().contains(words), "{check}");
    }
    assert_eq!(find(&checks, "clock")["state"], "skip");
}

#[test]
fn a_full_output_and_one_that_is_only_read_are_told_apart() {
    let desk = Desk::new();
    let (full, read_only) = (desk.path("full"), desk.path("read_only"));
    let mounts = (Mount::tmpfs(&full, "size=1m"), Mount::tmpfs(&read_only, "ro"));
    let (Some(_full), Some(_read_only)) = &mounts else {
        return;
    };
    for (folder, way_out) in [
        ("full", "make room there"),
        ("read_only", "mount it for writing, or name another --output"),
    ] {
        let checks = examined(&desk, &format!("--output {folder}"), 1);
        let output = find(&checks, "output");
        assert_eq!(
            (&output["state"], &output["mend"]),
            (&"bad".into(), &way_out.into()),
            "{output}"
        );
    }
    assert_eq!(std::fs::read_dir(&full).unwrap().count(), 0);
}
