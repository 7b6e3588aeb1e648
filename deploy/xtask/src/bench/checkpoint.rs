//! What a checkpoint of ResNet-50's whole state costs: `m2t-trainer measure-checkpoint`, and beside it torch.save with fsync and
//! torch.load of the same tensors, on the same disk, in the same call.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::line::{Beside, Measurement, machine, median, rounded};
use super::{Bench, BenchArguments, print};

const SCRIPT: &str = "deploy/xtask/src/bench/torch_checkpoint.py";
const NEEDED: &str =
    "set M2T_PYTHON to a Python with torch, or run `cargo xtask test` once, which installs it into .python/";

/// What is a checkpoint's own.
#[derive(Debug, Serialize)]
struct Own {
    seconds: Vec<f64>,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    copy_seconds: Option<f64>,
}

type Line = Measurement<Own>;

/// What our program says, in seconds.
#[derive(Debug, Deserialize)]
struct Ours {
    checkpoint: PathBuf,
    n_bytes: u64,
    save: Vec<f64>,
    load: Vec<f64>,
    stall: Vec<f64>,
    copy: Vec<f64>,
}

/// What the script says, in seconds.
#[derive(Deserialize)]
struct Theirs {
    save: Vec<f64>,
    load: Vec<f64>,
}

/// Measures, and prints the lines.
pub(super) fn run(bench: &Bench<'_>, arguments: &BenchArguments) -> Result<()> {
    let runs = arguments.runs.to_string();
    let mut command = bench.program("m2t-trainer");
    command
        .args(["measure-checkpoint", "--runs", &runs])
        .arg(&bench.work);
    let said = bench.output("ours", &mut command)?;
    let ours: Ours = serde_json::from_str(&said).with_context(|| format!("m2t-trainer said {said:?}"))?;
    let theirs = arguments
        .against
        .map(|_| theirs(bench, &ours.checkpoint, &runs))
        .transpose()?;
    for line in lines(&ours, theirs.as_ref()) {
        print(&line)?;
    }
    Ok(())
}

fn lines(ours: &Ours, theirs: Option<&Theirs>) -> [Line; 3] {
    let mut stall = line("stall", &ours.stall, ours, None);
    stall.own.copy_seconds = Some(rounded(median(&ours.copy)));
    [
        line(
            "save",
            &ours.save,
            ours,
            theirs.map(|theirs| theirs.save.as_slice()),
        ),
        line(
            "load",
            &ours.load,
            ours,
            theirs.map(|theirs| theirs.load.as_slice()),
        ),
        stall,
    ]
}

fn line(case: &'static str, seconds: &[f64], ours: &Ours, theirs: Option<&[f64]>) -> Line {
    let own = median(seconds);
    Line {
        bench: "checkpoint",
        case,
        median: rounded(own),
        unit: "s",
        runs: seconds.len(),
        machine: machine(),
        beside: theirs.map(|theirs| Beside {
            baseline: "pytorch",
            baseline_median: rounded(median(theirs)),
            baseline_runs: theirs.len(),
            ratio: rounded(median(theirs) / own),
        }),
        own: Own {
            seconds: seconds.iter().copied().map(rounded).collect(),
            bytes: ours.n_bytes,
            copy_seconds: None,
        },
    }
}

fn theirs(bench: &Bench<'_>, checkpoint: &Path, runs: &str) -> Result<Theirs> {
    let packages = bench.workspace.root.join(".python");
    let mut command = bench.python();
    command
        .arg(bench.workspace.root.join(SCRIPT))
        .arg(checkpoint.join("state.safetensors"))
        .arg(bench.work.join("baseline.pt"))
        .arg(runs)
        .env("PYTHONPATH", &packages);
    let said = bench.output("pytorch", &mut command).context(NEEDED)?;
    serde_json::from_str(&said).with_context(|| format!("{SCRIPT} said {said:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_the_documented_keys() {
        let ours = r#"{"checkpoint": "here", "n_bytes": 400, "save": [0.5, 0.25, 0.5], "load": [0.125], "stall": [0.06, 0.04],
            "copy": [0.05]}"#;
        let ours: Ours = serde_json::from_str(ours).unwrap();
        let theirs = Theirs {
            save: vec![1.0],
            load: vec![0.5, 0.25],
        };
        let [save, load, stall] = lines(&ours, Some(&theirs)).map(|line| serde_json::to_value(line).unwrap());
        for line in [&save, &load, &stall] {
            assert_eq!(
                (&line["bench"], &line["unit"], &line["bytes"]),
                (&"checkpoint".into(), &"s".into(), &400.into())
            );
        }
        assert_eq!(
            (&save["median"], &save["ratio"], &save["runs"]),
            (&0.5.into(), &2.0.into(), &3.into())
        );
        assert_eq!(
            (&load["case"], &load["baseline"], &load["ratio"]),
            (&"load".into(), &"pytorch".into(), &3.0.into())
        );
        assert_eq!(
            (&stall["median"], &stall["copy_seconds"]),
            (&0.05.into(), &0.05.into())
        );
        assert!(stall.get("baseline").is_none() && save.get("copy_seconds").is_none());
    }
}
