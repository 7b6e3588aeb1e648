//! The published command lines, on a tiny network, photographs and shares of the CPU.

use std::path::Path;

use m2t_tests::harness::{Process, photographs};

use crate::desk::{Desk, TINY, listening_on};

/// What makes a published run end within seconds, its world and optimizer left as they are.
const SMALL: &str = "--set arch=resnet18 --set channels=8 --set stem=small --set hidden_dim=16 --set low_dim=8 \
                     --set pixels=32 --set steps=2 --set warmup_epochs=0 --set run.heartbeat_timeout=500ms";

/// The digest that a run printed at its end.
fn digest(said: &str) -> String {
    let (_, digest) = said
        .split_once("the state's digest is ")
        .expect("the run finished");
    digest.split_whitespace().next().unwrap().to_owned()
}

#[test]
fn one_command_pretrains_on_one_machine_into_outputs() {
    let Some(data) = photographs() else { return };
    let desk = Desk::new();
    // The default data folder, as published.
    std::fs::remove_dir_all(desk.path("data")).unwrap();
    std::fs::create_dir(desk.path("data")).unwrap();
    std::os::unix::fs::symlink(&data, desk.path("data/imagenet_train")).unwrap();
    let mut trained = desk.start("m2t train -b 32 -d cpu:2 --experiment-name your_exp -f tiny.toml");
    trained.expect_exit(0);
    let said = trained.output();
    assert!(said.contains("batch 32 images, batch_per_rank 8"), "{said}");
    let metrics = std::fs::read_to_string(desk.path("outputs/your_exp/metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().count(), 8);
    // No terminal, no bar.
    assert!(!said.contains('█') && !said.contains('\u{1b}'), "{said}");

    // The same once more continues what is finished; the published spelling of the name means the same.
    let mut again = desk.start("m2t train -b 32 -d cpu:2 -expn your_exp -f tiny.toml");
    again.expect_exit(0);
    assert_eq!(digest(&again.output()), digest(&said));
}

#[test]
fn the_presets_of_all_four_tables_train_with_their_published_worlds() {
    let Some(data) = photographs() else { return };
    let desk = Desk::new();
    for (experiment, world, batch) in [
        ("8x_v100_100e", 8, 256),
        ("8x_2080ti_200e", 8, 256),
        ("32x_v100_300e", 32, 256),
        ("128x_2080ti_100e", 128, 256),
        (
            "momentum_teacher/exps/arxiv/exp_8_v100/momentum2_teacher_100e_exp.py",
            8,
            256,
        ),
    ] {
        let line = format!(
            "m2t train -b {batch} -d cpu:2 --experiment-name world-{world} -f {experiment} --data {} {SMALL}",
            data.display()
        );
        let mut trained = desk.start(&line);
        trained.expect_exit(0);
        let said = trained.output();
        let expected = format!("world {world} ranks on at least 2 devices, batch {batch} images");
        assert!(said.contains(&expected), "{said}");
        assert!(said.contains("finished at step 2"), "{said}");
        std::fs::remove_dir_all(desk.path("outputs")).unwrap();
    }
}

#[test]
fn four_machines_by_machine_and_machine_total_compute_what_one_does() {
    let Some(data) = photographs() else { return };
    let desk = Desk::new();
    let data = data.display();
    let mut alone = desk.start(&format!(
        "m2t train -b 32 -d cpu:1 --experiment-name one -f tiny.toml --data {data}"
    ));
    alone.expect_exit(0);
    let mut first = desk.start(&format!(
        "MACHINE=0 MACHINE_TOTAL=4 m2t train -b 32 -d cpu:1 --experiment-name four -f tiny.toml --data {data} --listen 127.0.0.1:0"
    ));
    let address = listening_on(&first);
    let mut others: Vec<_> = (1..4)
        .map(|machine| {
            desk.start(&format!(
                "MACHINE={machine} MACHINE_TOTAL=4 m2t train -b 32 -d cpu:1 --experiment-name four -f tiny.toml --coordinator {address}"
            ))
        })
        .collect();
    first.expect_exit(0);
    for other in &mut others {
        other.expect_exit(0);
    }
    let said = first.output();
    assert!(said.contains("on 4 device(s)"), "{said}");
    assert_eq!(digest(&said), digest(&alone.output()));
}

#[test]
fn a_signal_stops_all_of_it_and_the_same_command_goes_on() {
    use rustix::process::Signal;
    let Some(data) = photographs() else { return };
    let desk = Desk::new();
    desk.write("tiny.toml", &TINY.replace("steps = 8", "steps = 40"));
    let line = format!(
        "m2t train -d cpu:2 -expn x -f tiny.toml --data {}",
        data.display()
    );
    let mut trained = desk.start(&line);
    trained.wait_for_text("generation 1 trains");
    trained.signal(Signal::INT);
    trained.expect_exit(4);
    let said = trained.output();
    assert!(said.contains("the same command continues"), "{said}");
    let mut trained = desk.start(&line);
    trained.expect_exit(0);
    let resumed = digest(&trained.output());
    let mut calm = desk.start(&line.replace("-expn x", "-expn y"));
    calm.expect_exit(0);
    assert_eq!(resumed, digest(&calm.output()));
}

#[test]
fn what_is_left_of_it_when_it_is_killed_stops_by_itself() {
    use m2t_tests::harness::wait_until_gone;
    let Some(data) = photographs() else { return };
    let desk = Desk::new();
    let mut trained = long_run(&desk, &data);
    let own: Vec<i32> = children_of(trained.pid());
    assert_eq!(own.len(), 2, "a coordinator and a daemon");
    trained.kill();
    for pid in own {
        wait_until_gone(pid);
    }
    let events = std::fs::read_to_string(desk.path("outputs/x/events.jsonl")).unwrap();
    assert!(events.contains("run_stopped"), "{events}");
}

#[test]
fn a_daemon_that_is_stopped_by_hand_stops_the_run_of_one_machine() {
    let Some(data) = photographs() else { return };
    let desk = Desk::new();
    let mut trained = long_run(&desk, &data);
    let daemon = children_of(trained.pid()).into_iter().find(|pid| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
        name.trim() == "m2t-worker"
    });
    let daemon = rustix::process::Pid::from_raw(daemon.unwrap()).unwrap();
    rustix::process::kill_process(daemon, rustix::process::Signal::TERM).unwrap();
    trained.expect_exit(4);
    let said = trained.output();
    assert!(
        said.contains("this machine's daemon was stopped, and the run with it"),
        "{said}"
    );
}

/// A run that trains and would do so for long.
fn long_run(desk: &Desk, data: &Path) -> Process {
    desk.write("tiny.toml", &TINY.replace("steps = 8", "steps = 4000"));
    let trained = desk.start(&format!(
        "m2t train -d cpu:2 -expn x -f tiny.toml --data {}",
        data.display()
    ));
    trained.wait_for_text("generation 1 trains");
    trained
}

fn children_of(pid: i32) -> Vec<i32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}
