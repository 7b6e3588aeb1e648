//! What is run for what was typed, and what is refused.

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Typed {
    #[command(flatten)]
    options: TrainOptions,
}

fn typed(arguments: &[&str]) -> TrainOptions {
    let arguments = std::iter::once("m2t train").chain(arguments.iter().copied());
    let arguments = arguments.map(|argument| published_spelling(argument.into()));
    Typed::try_parse_from(arguments)
        .map_err(|e| e.to_string())
        .unwrap()
        .options
}

const ALONE: Seat = Seat { machine: 0, of: 1 };

fn text(arguments: &[OsString]) -> String {
    let words: Vec<_> = arguments.iter().map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

/// The coordinator's and the daemon's options.
fn led(arguments: &[&str], seat: Seat) -> (String, String) {
    match typed(arguments).part(seat).unwrap() {
        Part::Lead(lead) => (text(&lead.coordinator), text(&lead.daemon)),
        Part::Follow { .. } => panic!("it follows"),
    }
}

#[test]
fn the_published_command_is_a_coordinator_and_a_daemon() {
    let listen = "127.0.0.1:0";
    for name in ["--experiment-name", "--experiment_name", "-expn", "--expn"] {
        let arguments = [
            "-b",
            "256",
            "-d",
            "cpu:2",
            name,
            "my_run",
            "-f",
            "8x_v100_100e",
            "--data",
            "/",
            "--listen",
            listen,
        ];
        let (coordinator, daemon) = led(&arguments, ALONE);
        assert_eq!(
            coordinator,
            "--experiment 8x_v100_100e --data / --output outputs/my_run --listen 127.0.0.1:0 --min-devices 2 --set batch=256"
        );
        assert_eq!(
            daemon,
            "--devices cpu:2 --token-file outputs/my_run/state/security/worker.token"
        );
    }
    let (coordinator, _) = led(
        &["-f", "8x_v100_100e", "-expn=x", "--data", "/", "--world", "2"],
        ALONE,
    );
    assert!(
        coordinator.contains("--output outputs/x ") && coordinator.ends_with("--world 2"),
        "{coordinator}"
    );
}

#[test]
fn the_published_experiment_files_are_known_by_their_paths() {
    let file = "momentum_teacher/exps/arxiv/exp_8_v100/momentum2_teacher_100e_exp.py";
    let (coordinator, _) = led(&["-f", file, "--data", "/"], ALONE);
    assert!(
        coordinator.contains(file) && coordinator.contains("outputs/8x_v100_100e"),
        "{coordinator}"
    );
}

#[test]
fn four_machines_are_one_that_leads_and_three_that_follow() {
    let more = ["-b", "4096", "-d", "cpu:1", "-f", "32x_v100_100e", "--data", "/"];
    let lead = [&more[..], &["--insecure"]].concat();
    let (coordinator, daemon) = led(&lead, Seat { machine: 0, of: 4 });
    assert!(coordinator.ends_with("--insecure"), "{coordinator}");
    assert!(daemon.ends_with("--insecure"), "{daemon}");
    let (coordinator, daemon) = led(&more, Seat { machine: 0, of: 4 });
    assert!(
        coordinator.ends_with("--listen 0.0.0.0:7117 --min-devices 4 --set batch=4096"),
        "{coordinator}"
    );
    let daemon = daemon
        .strip_suffix(" --token-file outputs/32x_v100_100e/state/security/worker.token")
        .unwrap();
    assert!(
        daemon.starts_with("--devices cpu:1 --name ") && daemon.ends_with("-0"),
        "{daemon}"
    );
    let follow = [&more[..], &["--coordinator", "first:7117"]].concat();
    let Part::Follow { daemon } = typed(&follow).part(Seat { machine: 3, of: 4 }).unwrap() else {
        panic!("it leads");
    };
    let daemon = text(&daemon);
    assert!(
        daemon.contains("-3 --coordinator first:7117 --data /") && daemon.starts_with("--devices cpu:1"),
        "{daemon}"
    );
}

#[test]
fn a_seat_is_one_of_those_there_are() {
    let read = |machine: Option<&str>, of: Option<&str>| {
        Seat::read(machine.map(OsString::from), of.map(OsString::from)).map_err(|e| e.to_string())
    };
    assert_eq!(read(None, None), Ok(ALONE));
    assert_eq!(read(Some("3"), Some("4")), Ok(Seat { machine: 3, of: 4 }));
    for (machine, of, expected) in [
        (Some("4"), Some("4"), "numbered from 0 to 3"),
        (Some("1"), None, "MACHINE=1 is not one of MACHINE_TOTAL=1"),
        (Some("two"), Some("4"), "MACHINE=two is not a whole number"),
        (None, Some("-1"), "MACHINE_TOTAL=-1"),
        (None, Some("0"), "MACHINE_TOTAL=0"),
    ] {
        let said = read(machine, of).unwrap_err();
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn what_is_missing_or_means_nothing_is_said_in_a_sentence() {
    let preset = ["-f", "8x_v100_100e", "--data", "/"];
    let follower = Seat { machine: 1, of: 4 };
    for (more, seat, expected) in [
        (&[][..], follower, "add --coordinator HOST:PORT"),
        (&["--coordinator", "a:1"], ALONE, "leave --coordinator out"),
        (&["-b", "7"], ALONE, "--set batch=7: batch = 7"),
        (
            &["--experiment-name", "../x"],
            ALONE,
            "a folder's name below outputs/",
        ),
        (
            &["--experiment-name", ""],
            ALONE,
            "a folder's name below outputs/",
        ),
    ] {
        let arguments = [&preset[..], more].concat();
        let said = typed(&arguments).part(seat).unwrap_err().to_string();
        assert!(said.contains(expected), "{more:?}: {said}");
    }
    let said = typed(&["-f", "8x_v100_100e"])
        .part(ALONE)
        .unwrap_err()
        .to_string();
    assert!(said.contains("data/imagenet_train does not exist"), "{said}");
    let said = typed(&["-f", "8x_v100_100", "--data", "/"])
        .part(ALONE)
        .unwrap_err()
        .to_string();
    assert!(said.contains("8x_v100_100e"), "{said}");
}
