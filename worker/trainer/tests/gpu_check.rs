//! `deploy/gpu/check.sh`, as far as a machine without a GPU goes: what it says there, and its lines where a GPU is played.
//!
//! What it checks on a GPU is not tested here: no GPU computes in these tests.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says where it is skipped"
)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const TRAINER: &str = env!("CARGO_BIN_EXE_m2t-trainer");

/// Plays m2t-trainer on a machine with one GPU; bfloat16 loses a little.
const PLAYED: &str = r#"#!/bin/sh
case "$*" in
  "gpus 0") echo '[{"number":0,"uuid":"GPU-8a1fb2c3-0011-2233-4455-66778899aabb","name":"Played GPU"}]' ;;
  check-gpu*) echo '{"nccl":"2.30.3","made_seconds":0.5,"aborted_seconds":0.1,"made_anew_seconds":0.2}' ;;
  *"--devices 2"*)
    test "$NCCL_MULTI_RANK_GPU_ENABLE" = 1 || exit 1
    case "$*" in *"--meet abc"*) ;; *"--index 0"*) echo '{"meet":"abc"}' ;; *) exit 1 ;; esac
    echo '{"losses":[3.5,3.25],"sum_seconds":0.01}' ;;
  *dtype=bfloat16*) echo '{"images_per_second":512,"seconds":[0.25,0.25],"losses":[4.0,LOSS],"gpu_peak_mib":9000}' ;;
  *) echo '{"images_per_second":256,"seconds":[0.5,0.5],"losses":[4.0,3.0],"gpu_peak_mib":12000}' ;;
esac
"#;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn check(binaries: &Path, parity: &Path, gpu: &str) -> Output {
    Command::new("bash")
        .arg(root().join("deploy/gpu/check.sh"))
        .arg(gpu)
        .env("M2T_BINARIES", binaries)
        .env("M2T_PARITY", parity)
        .env("M2T_SHARED", "/nowhere")
        .env_remove("M2T_PYTHON")
        .output()
        .unwrap()
}

fn program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

/// The lines of a played check, by the name of what was checked.
fn played(parity: &str, loss: &str) -> (Option<i32>, Vec<serde_json::Value>) {
    let folder = tempfile::tempdir().unwrap();
    program(&folder.path().join("m2t-trainer"), &PLAYED.replace("LOSS", loss));
    let program_of_parity = folder.path().join("parity");
    program(&program_of_parity, parity);
    let output = check(folder.path(), &program_of_parity, "0");
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str(line).unwrap());
    (output.status.code(), lines.collect())
}

#[test]
fn without_a_gpu_everything_says_so_in_a_sentence() {
    let says = |output: &Output| {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        said
    };
    let gpus = Command::new(TRAINER).args(["gpus", "0"]).output().unwrap();
    if gpus.status.success() {
        println!("skipped: this machine has a GPU; deploy/gpu/check.sh checks it");
        return;
    }
    let folder = Path::new(TRAINER).parent().unwrap();
    let run = Command::new(TRAINER)
        .args(["run", "--gpu", "0", "start.json"])
        .output()
        .unwrap();
    let measure = Command::new(TRAINER)
        .args(["measure", "--gpu", "0"])
        .output()
        .unwrap();
    for output in [gpus, run, measure, check(folder, Path::new("/nowhere"), "0")] {
        let said = says(&output);
        assert!(
            said.starts_with("m2t-trainer: no NVIDIA driver on this machine"),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    for (binaries, gpu, expected) in [
        (Path::new("/nowhere"), "0", "there is no m2t-trainer in /nowhere"),
        (folder, "all", "all is not the number of a GPU"),
    ] {
        let said = says(&check(binaries, Path::new("/nowhere"), gpu));
        assert!(
            said.starts_with("check.sh: ") && said.contains(expected),
            "{said}"
        );
    }
}

#[test]
fn each_check_gives_a_line_with_the_card() {
    let parity = "#!/bin/sh\ntest \"$M2T_PARITY_DEVICE $1\" = 'cuda:0 float64' && \
                  echo 'a: one device: worst error 3.1e-9 (steps' && echo 'b: worst error 2.0e-9 (steps'\n";
    let (code, lines) = played(parity, "3.03");
    let names: Vec<&str> = lines.iter().map(|line| line["check"].as_str().unwrap()).collect();
    assert_eq!(names, ["parity", "nccl", "losses", "throughput", "two_processes"]);
    for line in &lines {
        assert_eq!(line["gpu"], "Played GPU", "{line}");
        assert!(
            line["driver"].is_string() && line.get("failed").is_none(),
            "{line}"
        );
    }
    assert_eq!(code, Some(0), "{lines:#?}");
    assert_eq!(
        (&lines[0]["worst_error"], &lines[0]["n_runs"]),
        (&3.1e-9.into(), &2.into())
    );
    assert_eq!(lines[1]["nccl"], "2.30.3");
    let worst = lines[2]["worst_difference"].as_f64().unwrap();
    assert!((worst - 0.01).abs() < 1e-9, "{worst}");
    assert_eq!(
        (&lines[3]["images_per_second"], &lines[3]["runs"]),
        (&512.0.into(), &4.into())
    );
    assert!(
        lines[3]["published_skipped"]
            .as_str()
            .unwrap()
            .contains("/nowhere")
    );
    assert_eq!(lines[4]["losses"][1], 3.25);
}

#[test]
fn a_check_that_does_not_hold_is_told_and_the_others_go_on() {
    let (code, lines) = played(
        "#!/bin/sh\necho 'worst error 1e-3 is not below 1e-6' >&2\nexit 101\n",
        "2.5",
    );
    assert_eq!((code, lines.len()), (Some(1), 5));
    let failed = |line: &serde_json::Value| line["failed"].as_str().unwrap_or_default().to_owned();
    assert!(failed(&lines[0]).contains("is not below 1e-6"), "{}", lines[0]);
    assert!(
        failed(&lines[2]).contains("bfloat16 is 0.17 away"),
        "{}",
        lines[2]
    );
    for line in [&lines[1], &lines[3], &lines[4]] {
        assert!(line.get("failed").is_none(), "{line}");
    }
}
