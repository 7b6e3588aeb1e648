//! A user's own client in Python, by gRPC reflection alone: `tests/clients/status.py`, which is also the example to copy.

use std::path::Path;

use m2t_tests::harness::{Process, python};

use crate::{N_STEPS, assert_finished, two_daemons_of_two, wait_held_at};

/// What the coordinator serves.
const SERVICES: &str = "services: grpc.health.v1.Health grpc.reflection.v1.ServerReflection \
                        grpc.reflection.v1alpha.ServerReflection m2t.v1.Control m2t.v1.Coordinator m2t.v1.Status";

#[test]
fn a_python_client_reads_status_and_stream_by_reflection_alone() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/status.py");
    let Some(mut command) = python(&script) else {
        return;
    };
    let mut cluster = two_daemons_of_two();
    cluster.control.hold(5);
    wait_held_at(&cluster, 5);
    command.args([&cluster.address().to_string(), "--watch", "--access"]);
    command.arg(cluster.output().join("state/security"));
    let mut client = Process::start("status.py", &mut command);
    client.wait_for_text(&format!("then: training, world 4, step 5 of {N_STEPS}"));
    cluster.control.hold(20);
    client.wait_for_text(&format!("then: training, world 4, step 20 of {N_STEPS}"));
    cluster.control.release();
    assert_finished(&mut cluster);
    client.expect_exit(0);
    let said = client.output();
    let mut lines = said.lines();
    assert_eq!(lines.next(), Some(SERVICES), "{said}");
    assert_eq!(
        lines.next(),
        Some(&*format!("now: training, world 4, step 5 of {N_STEPS}"))
    );
    let steps: Vec<u64> = lines.map(step).collect();
    assert!(steps.is_sorted(), "{said}");
    assert_eq!(
        (steps.first(), steps.last()),
        (Some(&5), Some(&N_STEPS)),
        "{said}"
    );
    let last = said.lines().last().unwrap();
    assert_eq!(
        last,
        format!("then: finished, world 4, step {N_STEPS} of {N_STEPS}")
    );
}

#[test]
fn a_python_client_says_in_a_sentence_that_nobody_answers() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/status.py");
    let Some(mut command) = python(&script) else {
        return;
    };
    // Port 1 is nobody's.
    let address = "127.0.0.1:1";
    let mut client = Process::start("status.py", command.arg(address));
    client.expect_exit(1);
    let said = client.output();
    assert!(
        said.starts_with(&format!("the coordinator at {address} does not answer: "))
            && said.lines().count() == 1,
        "{said}"
    );
}

/// The step in a line "then: training, world 4, step 5 of 60".
fn step(line: &str) -> u64 {
    let words = line
        .strip_prefix("then: ")
        .and_then(|line| line.split_once(", step "));
    let (_, progress) = words.unwrap_or_else(|| panic!("no step in {line:?}"));
    progress.split(' ').next().unwrap().parse().unwrap()
}
