//! Stops as others give them: batch systems and service managers send SIGTERM to every process they know of, at once.

use m2t_tests::harness::photographs;
use rustix::process::{Pid, Signal, kill_process};

use crate::desk::{Desk, listening_on};

#[test]
fn a_signal_to_every_process_of_a_run_at_once_loses_no_step() {
    let Some(data) = photographs() else { return };
    let desk = Desk::new();
    let mut coordinator = desk.start(&format!(
        "m2t-coordinator --experiment tiny.toml --data {} --output out --listen 127.0.0.1:0 --set steps=100000 --min-devices 2",
        data.display()
    ));
    let address = listening_on(&coordinator);
    let mut daemon = desk.start(&format!(
        "m2t-worker --coordinator {address} --devices cpu:2 --name one"
    ));
    let steps = || {
        let metrics = std::fs::read_to_string(desk.path("out/metrics.jsonl"));
        metrics.map_or(0, |text| text.lines().count())
    };
    coordinator.wait_for_text("generation 1 trains");
    while steps() < 2 {
        assert!(daemon.ended().is_none(), "{}", daemon.tail());
        std::thread::yield_now();
    }
    let trainers = daemon.children();
    assert_eq!(trainers.len(), 2);
    for pid in trainers.into_iter().chain([daemon.pid(), coordinator.pid()]) {
        kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
    }
    daemon.expect_exit(4);
    coordinator.expect_exit(4);
    assert!(!daemon.output().contains("killed by signal"), "{}", daemon.tail());
    let checkpoints = std::fs::read_dir(desk.path("out/checkpoints")).unwrap().flatten();
    let newest = checkpoints
        .map(|entry| entry.file_name().into_string().unwrap())
        .max();
    assert_eq!(newest.unwrap(), format!("step-{:09}", steps()));
}
