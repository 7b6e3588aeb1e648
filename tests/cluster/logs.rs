//! The logs of a whole run as JSON: an object a line, with where the process was when it wrote it.

use m2t_common::status::PhaseName;
use m2t_tests::harness::ClusterSettings;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{assert_finished, two_daemons, wait_held_at};

/// The lines of a log. What stands on standard output, the coordinator's greeting, is none of it.
fn lines(said: &str) -> Vec<Value> {
    let (greeting, log): (Vec<&str>, Vec<&str>) = said.lines().partition(|line| !line.starts_with('{'));
    for line in greeting {
        let is_of_a_log = [" INFO ", " WARN ", "ERROR ", "m2t-"]
            .iter()
            .any(|mark| line.contains(mark));
        assert!(
            !is_of_a_log || line.contains(" with: "),
            "a line for people: {line}"
        );
    }
    log.iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

#[test]
fn every_line_of_a_run_is_an_object_with_its_place_in_the_run() {
    let mut cluster = two_daemons(ClusterSettings {
        min_devices: Some(2),
        log: Some("json"),
        ..ClusterSettings::fake()
    });
    cluster.control.hold(13);
    wait_held_at(&cluster, 13);
    let lost = cluster.control.pid("b:1").unwrap();
    kill_process(Pid::from_raw(lost).unwrap(), Signal::KILL).unwrap();
    cluster.wait_for("the next generation", |status| {
        status.generation.0 >= 2 && status.phase == PhaseName::Training
    });
    cluster.control.release();
    assert_finished(&mut cluster);

    let of_coordinator = lines(&cluster.coordinator().output());
    let of_daemon = lines(&cluster.daemon("b").output());
    for (line, program) in of_coordinator
        .iter()
        .map(|line| (line, "m2t-coordinator"))
        .chain(of_daemon.iter().map(|line| (line, "m2t-worker")))
    {
        assert!(line["time"].as_str().unwrap().ends_with('Z'), "{line}");
        assert!(
            ["info", "warn", "error"].contains(&line["level"].as_str().unwrap()),
            "{line}"
        );
        assert!(!line["message"].as_str().unwrap().is_empty(), "{line}");
        assert_eq!(line["program"], program, "{line}");
    }
    // Events say their kind, and where the run was.
    let ended = of_coordinator
        .iter()
        .find(|line| line["kind"] == "generation_ended")
        .unwrap();
    assert_eq!(
        (&ended["run"], &ended["generation"], &ended["step"]),
        (&"small".into(), &1.into(), &13.into())
    );
    assert_eq!(ended["level"], "warn");
    let finished = of_coordinator
        .iter()
        .find(|line| line["kind"] == "run_finished")
        .unwrap();
    assert_eq!(finished["step"], 60);
    // Of a daemon, once it was welcomed.
    assert!(of_daemon.iter().all(|line| line["machine"] == "b"));
    let again = of_daemon
        .iter()
        .find(|line| {
            line["message"]
                .as_str()
                .unwrap()
                .contains("generation 2: training")
        })
        .unwrap();
    assert_eq!(
        (&again["run"], &again["generation"], &again["step"]),
        (&"small".into(), &2.into(), &13.into())
    );
}
