//! Weights that PyTorch, torchvision and timm wrote become checkpoints, to the bit, through the real program; and a file that would
//! run a command is refused by its name. A Python client (clients/save_weights.py) writes them.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints its errors"
)]

#[expect(unreachable_pub, reason = "the harness of all tests shows it to others")]
#[path = "../../../tests/src/harness/python.rs"]
mod python;

use std::path::Path;
use std::process::{Command, Output};

use m2t_trainer::checkpoint;
use safetensors::SafeTensors;

/// File, its ending, and what the import says of it.
const CASES: [(&str, &str, &[&str]); 5] = [
    ("published", "pth.tar", PUBLISHED),
    ("published-before-1.6", "pth.tar", PUBLISHED),
    (
        "torchvision",
        "pth",
        &[
            "an encoder alone",
            "fc.weight [1000, 512]",
            "20 num_batches_tracked",
        ],
    ),
    ("half", "pth", &["note (a text)", "epoch (a number)"]),
    ("timm", "safetensors", &["heads are drawn"]),
];
const PUBLISHED: &[&str] = &[
    "student and teacher of the published implementation",
    "after epoch 3",
    "optimizer (a dict)",
    "43 num_batches_tracked",
];

#[test]
fn what_others_saved_becomes_a_checkpoint_to_the_bit() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/save_weights.py");
    let Some(mut client) = python::python(&script) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let saved = client.arg(folder.path()).output().unwrap();
    assert!(
        saved.status.success(),
        "{}",
        String::from_utf8_lossy(&saved.stderr)
    );
    for (name, ending, words) in CASES {
        let to = folder.path().join(name);
        let ended = import(&folder.path().join(format!("{name}.{ending}")), &to);
        let said = String::from_utf8(ended.stdout).unwrap();
        println!("{said}{}", String::from_utf8_lossy(&ended.stderr));
        assert!(ended.status.success(), "{name}");
        for word in words {
            assert!(said.contains(word), "{name}: {word}");
        }
        compare(&folder.path().join(format!("{name}.expected.safetensors")), &to);
    }
    let ended = import(&folder.path().join("hostile.pth"), &folder.path().join("hostile"));
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(
        said.contains("asks for posix.system, which is not run") && said.lines().count() == 1,
        "{said}"
    );
    assert!(!folder.path().join("was-run").exists());
}

fn import(file: &Path, to: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_m2t-trainer"))
        .args([
            "import".as_ref(),
            file.as_os_str(),
            "--to".as_ref(),
            to.as_os_str(),
        ])
        .args([
            "--set",
            "pixels=32",
            "--set",
            "batch=16",
            "--set",
            "hidden_dim=24",
            "--set",
            "low_dim=8",
        ])
        .output()
        .unwrap()
}

/// All that is expected is there; the rest is drawn.
fn compare(expected: &Path, run: &Path) {
    let (_, snapshot) = checkpoint::read(&checkpoint::find(run)).unwrap();
    let bytes = std::fs::read(expected).unwrap();
    let expected = SafeTensors::deserialize(&bytes).unwrap();
    assert!(expected.len() >= 200);
    for (name, view) in expected.tensors() {
        let found = &snapshot.tensors[&name];
        assert!(
            found.shape == view.shape() && found.bytes == view.data(),
            "{name}"
        );
    }
}
