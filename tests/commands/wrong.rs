//! Wrong input over all programs: each is refused with the documented exit code, in one sentence that names the thing and
//! the way out. Input that cannot be judged at once, and is waited with, is in `waits`.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use m2t_tests::harness::pretend_data;

use crate::desk::{Desk, TINY};

/// A command line, its exit code, and what the sentence must name.
type Row = (&'static str, i32, &'static [&'static str]);

const COORDINATOR: &[Row] = &[
    ("m2t-coordinator", 2, &["--experiment", "--help"]),
    (
        "m2t-coordinator --wrold 8 --experiment tiny.toml",
        2,
        &["--wrold", "--world"],
    ),
    (
        "m2t-coordinator --world 0 --experiment tiny.toml",
        2,
        &["--world", "0"],
    ),
    (
        "m2t-coordinator --world many --experiment tiny.toml",
        2,
        &["--world", "many"],
    ),
    (
        "m2t-coordinator --experiment 8x_v100_100",
        2,
        &["8x_v100_100", "8x_v100_100e"],
    ),
    ("m2t-coordinator --experiment missing.toml", 2, &["missing.toml"]),
    ("m2t-coordinator --experiment folder.toml", 2, &["folder.toml"]),
    (
        "m2t-coordinator --experiment broken.toml",
        2,
        &["broken.toml", "line 2"],
    ),
    (
        "m2t-coordinator --experiment unknown.toml",
        2,
        &["lr265", "lr256"],
    ),
    (
        "m2t-coordinator --experiment units.toml",
        2,
        &["heartbeat_timeout", "10", "\"10s\""],
    ),
    (
        "m2t-coordinator --experiment tiny.toml --set batch=18",
        2,
        &["batch = 18", "world = 4", "16"],
    ),
    (
        "m2t-coordinator --experiment tiny.toml --set batch=4",
        2,
        &["batch = 4", "BatchNorm", "8"],
    ),
    (
        "m2t-coordinator --experiment warm.toml",
        2,
        &["warmup_epochs", "epochs"],
    ),
    (
        "m2t-coordinator --experiment tiny.toml --set batch",
        2,
        &["batch", "key=value"],
    ),
    (
        "m2t-coordinator --experiment tiny.toml --set augment.hue=2",
        2,
        &["augment.hue", "0.5"],
    ),
    (
        "m2t-coordinator --experiment tiny.toml --set hue=0.1",
        2,
        &["hue", "augment.hue"],
    ),
    (
        "m2t-coordinator --experiment tiny.toml --set arch=resnet51",
        2,
        &["resnet51", "resnet50"],
    ),
    (
        "m2t-coordinator --experiment tiny.toml --set run.replaced_limit=5",
        2,
        &["replaced_limit", "between 0 and 1"],
    ),
    (
        "m2t-coordinator --experiment tiny.toml --min-devices 99",
        2,
        &["--min-devices 99", "at most 4"],
    ),
    (
        "m2t-coordinator --experiment tiny.toml --tls-cert no.pem --tls-key no.key",
        2,
        &["no.key"],
    ),
    (
        "m2t-coordinator --experiment tiny.toml --tls-client-ca tiny.toml",
        2,
        &["--tls-client-ca tiny.toml", "PEM"],
    ),
    (
        "m2t-coordinator --experiment tiny.toml --insecure --tls-cert a --tls-key b",
        2,
        &["--insecure", "--tls-cert"],
    ),
    (
        "m2t-coordinator token new --role worker --state nowhere",
        2,
        &["nowhere", "--state"],
    ),
    ("m2t-coordinator token new --role owner --state x", 2, &["owner"]),
    (
        "m2t status --coordinator 127.0.0.1:1 --tls-ca tiny.toml",
        2,
        &["--tls-ca tiny.toml", "PEM"],
    ),
    (
        "M2T_TOKEN=hush-hush m2t pause --coordinator 127.0.0.1:1",
        2,
        &["M2T_TOKEN", "holds no token"],
    ),
    (
        "m2t-coordinator --experiment tiny.toml --listen here",
        2,
        &["--listen", "here"],
    ),
    (
        "m2t-coordinator --experiment tiny.toml --output a-file",
        2,
        &["a-file", "--output"],
    ),
    (
        "m2t-coordinator --experiment tiny.toml --output a-file/below",
        2,
        &["a-file/below", "--output"],
    ),
    (
        "m2t-coordinator --experiment tiny.toml --listen 127.0.0.1:0 --state spoilt",
        2,
        &["spoilt", "--state"],
    ),
];

const WORKER: &[Row] = &[
    ("m2t-worker", 2, &["--coordinator"]),
    (
        "m2t-worker --coordinator nowhere",
        2,
        &["nowhere", "10.0.0.1:7117"],
    ),
    (
        "m2t-worker --coordinator 127.0.0.1:0",
        2,
        &["127.0.0.1:0", "7117"],
    ),
    (
        "m2t-worker --coordinator 127.0.0.1:1 --devices gpu",
        2,
        &["gpu", "cpu:2"],
    ),
    (
        "m2t-worker --coordinator 127.0.0.1:1 --devices cpu:0",
        2,
        &["cpu:0", "1 to 64"],
    ),
    (
        "m2t-worker --coordinator 127.0.0.1:1 --devices gpu:GPU-00000000-0000-0000-0000-000000000000",
        2,
        &["--devices gpu:GPU-00000000-0000-0000-0000-000000000000"],
    ),
    (
        "m2t-worker --coordinator 127.0.0.1:1 --name a/b",
        2,
        &["a/b", "letters"],
    ),
    (
        "m2t-worker --coordinator 127.0.0.1:1 --trainer nothing",
        2,
        &["nothing", "--trainer"],
    ),
];

const OPERATOR: &[Row] = &[
    ("m2t", 2, &["Usage", "status"]),
    ("m2t statsu", 2, &["statsu", "status"]),
    (
        "m2t status --coordinator 127.0.0.1:1",
        1,
        &["127.0.0.1:1", "--coordinator"],
    ),
    ("m2t status --coordinator nowhere", 2, &["nowhere", "7117"]),
    ("m2t train", 2, &["--experiment"]),
    ("m2t train -f tiny.toml", 2, &["data/imagenet_train", "--data"]),
    (
        "m2t train -f tiny.toml --data data -d gpu:GPU-00000000-0000-0000-0000-000000000000",
        2,
        &["--devices gpu:GPU-00000000-0000-0000-0000-000000000000"],
    ),
    ("m2t eval", 2, &["RUN", "--help"]),
    ("m2t eval data", 2, &["data", "holds no checkpoint"]),
    ("m2t eval data --side both", 2, &["both", "teacher"]),
    ("m2t eval data --head dino", 2, &["dino", "byol"]),
    (
        "m2t train -f linear_byol --data data",
        2,
        &["linear.classes", "0"],
    ),
    (
        "m2t train -f tiny.toml --data data --set run.evaluate=lihgt",
        2,
        &["lihgt", "light"],
    ),
    (
        "m2t train -f tiny.toml --data data --set run.evaluate_every=0",
        2,
        &["run.evaluate_every", "0"],
    ),
    (
        "m2t train -f tiny.toml --data data -b 6",
        2,
        &["batch=6", "batch = 6", "8"],
    ),
    (
        "m2t train -f tiny.toml --data data -b many",
        2,
        &["many", "--batch-size"],
    ),
    (
        "m2t train -f tiny.toml --data data -expn a/b",
        2,
        &["a/b", "outputs/"],
    ),
    (
        "m2t train -f tiny.toml --data data --coordinator a:1",
        2,
        &["a:1", "set MACHINE"],
    ),
    (
        "MACHINE=1 MACHINE_TOTAL=4 m2t train -f tiny.toml --data data",
        2,
        &["machine 1 of 4", "--coordinator"],
    ),
    (
        "MACHINE=4 MACHINE_TOTAL=4 m2t train -f tiny.toml --data data",
        2,
        &["MACHINE=4", "0 to 3"],
    ),
    (
        "MACHINE=one m2t train -f tiny.toml --data data",
        2,
        &["MACHINE=one", "whole number"],
    ),
    ("m2t doctor --devices many", 2, &["many", "cpu:2"]),
    ("m2t doctor --coordinator nowhere", 2, &["nowhere", "7117"]),
    ("m2t doctor -f missing.toml", 2, &["missing.toml"]),
    ("m2t recipe 9x_v100", 2, &["9x_v100", "8x_v100"]),
    ("m2t recipe unknown.toml", 2, &["unknown.toml", "lr265", "lr256"]),
    ("m2t recipe diff tiny.toml missing.toml", 2, &["missing.toml"]),
    ("m2t report", 2, &["RUN"]),
    ("m2t report empty", 2, &["empty", "metrics.jsonl", "recipe.json"]),
    ("m2t report nowhere", 2, &["nowhere", "output folder"]),
    ("m2t metrics empty", 2, &["--tensorboard", "--csv"]),
    ("m2t metrics empty --csv x.csv", 2, &["empty", "metrics.jsonl"]),
    ("m2t audit empty", 2, &["empty", "recipe.json"]),
    ("m2t data synth data", 2, &["data", "empty"]),
    ("m2t data synth new --classes 0", 2, &["classes", "0"]),
    ("m2t data check nowhere", 2, &["nowhere"]),
    ("m2t data check empty", 2, &["empty", "class folder"]),
    (
        "m2t data arrange data/odd --labels missing.txt",
        2,
        &["missing.txt"],
    ),
    ("m2t checkpoint digest empty", 1, &["empty"]),
    (
        "m2t checkpoint digest spoilt-checkpoint",
        1,
        &["spoilt-checkpoint", "manifest"],
    ),
    ("m2t knn", 2, &["--train"]),
    ("m2t export", 2, &["--to"]),
    ("m2t export empty --to x.safetensors", 1, &["empty"]),
    ("m2t export empty --to x.onnx", 1, &["x.onnx", "--format"]),
    (
        "m2t export empty --to x.pth --what all --side teacher",
        1,
        &["--what all", "--side"],
    ),
    ("m2t features empty", 2, &["--data", "--to"]),
    ("m2t features empty --data data --to x.csv", 1, &["x.csv", ".npy"]),
    ("m2t features empty --data data --to x.npy", 1, &["empty"]),
    ("m2t import", 2, &["--to"]),
    ("m2t import missing.pth --to new", 1, &["missing.pth"]),
    (
        "m2t import a-file --to new",
        1,
        &["a-file", "torch.save", "safetensors"],
    ),
    ("m2t import a-file --to out-taken", 1, &["out-taken", "--to"]),
    (
        "m2t import evil.pkl --to new",
        1,
        &["evil.pkl", "torch.save", "safetensors"],
    ),
];

const TRAINER: &[Row] = &[
    ("m2t-trainer", 2, &["Usage", "run"]),
    ("m2t-trainer run", 2, &["--link"]),
    ("m2t-trainer run missing.json", 1, &["missing.json"]),
    ("m2t-trainer run broken.toml", 1, &["broken.toml"]),
    ("m2t-trainer run --link nowhere.socket", 1, &["nowhere.socket"]),
];

fn desk() -> Desk {
    let desk = Desk::new();
    desk.write("broken.toml", "batch = 16\nworld = = 4\n");
    desk.write("unknown.toml", "lr265 = 0.1\n");
    desk.write("units.toml", "[run]\nheartbeat_timeout = 10\n");
    desk.write("warm.toml", "epochs = 5\nwarmup_epochs = 10\n");
    desk.write("a-file", "");
    desk.write("evil.pkl", "cos\nsystem\n(S'touch new'\ntR.");
    desk.write("out-taken/metrics.jsonl", "");
    desk.write("spoilt/journal.redb", "this is no journal");
    desk.write("spoilt-checkpoint/manifest.json", "{}");
    std::fs::create_dir(desk.path("folder.toml")).unwrap();
    std::fs::create_dir(desk.path("empty")).unwrap();
    desk
}

/// What is wrong with how a command line ended, if anything is.
fn fault(desk: &Desk, (line, code, named): &Row) -> Option<String> {
    let mut process = desk.start(line);
    let ended = process.wait();
    let said = process.output();
    let mut faults = Vec::new();
    if ended != Some(*code) {
        faults.push(format!("exit code {ended:?} and not {code}"));
    }
    faults.extend(
        named
            .iter()
            .filter(|word| !said.contains(*word))
            .map(|word| format!("{word:?} is not named")),
    );
    if said.contains("panicked") || said.contains("RUST_BACKTRACE") || said.contains("internal error") {
        faults.push("a panic reached the user".to_owned());
    }
    // The parser of command lines says more: a hint, and how to ask for help.
    let is_parsers = said.starts_with("error: ") || said.contains("Usage: ");
    let sentences: Vec<&str> = said.lines().filter(|line| !line.contains(" INFO ")).collect();
    if !is_parsers && sentences.len() != 1 {
        faults.push(format!("{} lines and not one", sentences.len()));
    }
    (!faults.is_empty()).then(|| format!("{line}\n  {}\n  it said: {said}", faults.join("; ")))
}

fn assert_refused(rows: &[Row]) {
    let desk = desk();
    let faults: Vec<String> = rows.iter().filter_map(|row| fault(&desk, row)).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n\n"));
    let written: Vec<_> = ["outputs", "out", "x.safetensors", "new"]
        .into_iter()
        .filter(|name| desk.path(name).is_dir() && *name != "outputs")
        .collect();
    assert!(written.is_empty(), "what was refused left {written:?}");
}

#[test]
fn more_than_forty_rows_there_are() {
    let n_rows = COORDINATOR.len() + WORKER.len() + OPERATOR.len() + TRAINER.len();
    assert!(n_rows >= 60, "{n_rows}");
}

#[test]
fn the_coordinator_refuses_in_a_sentence() {
    assert_refused(COORDINATOR);
}

#[test]
fn the_daemon_refuses_in_a_sentence() {
    assert_refused(WORKER);
}

#[test]
fn the_operators_tool_refuses_in_a_sentence() {
    assert_refused(OPERATOR);
}

#[test]
fn the_trainer_refuses_in_a_sentence() {
    assert_refused(TRAINER);
}

#[test]
fn a_port_in_use_is_named() {
    let desk = Desk::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut coordinator = desk.start(&format!(
        "m2t-coordinator --experiment tiny.toml --data data --output out --listen {address}"
    ));
    coordinator.expect_exit(2);
    let said = coordinator.output();
    assert!(
        said.contains(&address) && said.contains("--listen") && said.lines().count() == 1,
        "{said}"
    );
}

#[test]
fn a_second_run_in_one_output_folder_is_refused_and_the_first_goes_on() {
    let desk = Desk::new();
    let (mut first, address) = desk.coordinator("");
    let mut second =
        desk.start("m2t-coordinator --experiment tiny.toml --data data --output out --listen 127.0.0.1:0");
    second.expect_exit(2);
    let said = second.output();
    assert!(
        said.contains("another coordinator works in the output folder"),
        "{said}"
    );
    desk.start(&format!("m2t status --coordinator {address}"))
        .expect_exit(0);
    assert!(first.ended().is_none());
}

#[test]
fn an_output_folder_that_cannot_be_written_is_named() {
    let desk = Desk::new();
    let Some(_mount) = crate::disk::Mount::tmpfs(&desk.path("readonly"), "ro,size=1m") else {
        return;
    };
    for output in ["readonly", "readonly/below"] {
        let mut coordinator = desk.start(&format!(
            "m2t-coordinator --experiment tiny.toml --data data --output {output} --listen 127.0.0.1:0"
        ));
        coordinator.expect_exit(2);
        let said = coordinator.output();
        assert!(
            said.contains(output) && said.contains("Read-only") && said.lines().count() == 1,
            "{said}"
        );
    }
}

#[test]
fn a_recipe_that_differs_on_resume_is_refused_by_its_keys_and_nothing_is_lost() {
    let desk = Desk::new();
    let (mut first, _) = desk.coordinator("");
    first.signal(rustix::process::Signal::TERM);
    first.expect_exit(4);
    let mut other = desk.start(
        "m2t-coordinator --experiment tiny.toml --data data --output out --listen 127.0.0.1:0 --set lr256=0.5 --set seed=3",
    );
    other.expect_exit(2);
    let said = other.output();
    for named in [
        "training.lr256 (now 0.5, then 0.05)",
        "training.seed (now 3, then 0)",
        "--output",
    ] {
        assert!(said.contains(named), "{said}");
    }
    // As it was, it continues.
    let (_again, _) = desk.coordinator("--set run.checkpoint_every=4");
}

#[test]
fn a_second_daemon_of_a_name_and_data_too_small_are_refused() {
    let desk = Desk::new();
    pretend_data(&desk.path("few"), 7);
    let (_coordinator, address) = desk.coordinator("");
    let line = format!("m2t-worker --coordinator {address} --name a");
    let first = desk.start(&line);
    first.wait_for_text("ready: 323 images");
    for (more, named) in [
        ("", ["called a is already attached", "--name"]),
        ("--name b --data few", ["7 images", "16"]),
    ] {
        let line = if more.is_empty() {
            line.clone()
        } else {
            format!("m2t-worker --coordinator {address} {more}")
        };
        let mut refused = desk.start(&line);
        refused.expect_exit(2);
        let said = refused.output();
        assert!(named.iter().all(|word| said.contains(word)), "{said}");
    }
}

#[test]
fn a_trainer_that_cannot_be_run_ends_the_run_by_its_name() {
    let desk = Desk::new();
    desk.write("tiny.toml", &TINY.replace("world = 4", "world = 1"));
    desk.write("no-trainer", "this is no program");
    std::fs::set_permissions(desk.path("no-trainer"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let (mut coordinator, address) = desk.coordinator("");
    let mut daemon = desk.start(&format!(
        "m2t-worker --coordinator {address} --trainer no-trainer"
    ));
    coordinator.expect_exit(3);
    daemon.expect_exit(3);
    let said = coordinator.output();
    assert!(
        said.contains("no-trainer") && said.contains("the run failed"),
        "{said}"
    );
}
