//! Whether a run in mixed bfloat16 follows the one in float32: real runs on real photographs, by `m2t train`, seed by seed.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::line::{Beside, Measurement, machine, median};
use super::{Bench, print};

/// What both are but for the kind of their numbers.
const EXPERIMENT: &str = "arch = \"resnet18\"\nhidden_dim = 512\nlow_dim = 128\npixels = 64\nbatch = 64\nepochs = 3\nwarmup_epochs = 1\n";
const WORLD: &str = "2";
/// The epoch whose mean loss is compared, from 0.
const EPOCH: u64 = 2;

/// What is convergence's own.
#[derive(Debug, Serialize)]
struct Own {
    differences: Vec<f64>,
}

/// A line of metrics.jsonl.
#[derive(Deserialize)]
struct Step {
    epoch: u64,
    loss: f64,
}

/// Trains both for so many seeds, and prints the line.
pub(super) fn run(bench: &Bench<'_>, data: &Path, seeds: u32) -> Result<()> {
    let data = data
        .canonicalize()
        .with_context(|| format!("the folder of photographs {} cannot be read", data.display()))?;
    let experiment = bench.work.join("experiment.toml");
    fs::write(&experiment, EXPERIMENT).with_context(|| format!("cannot write {}", experiment.display()))?;
    let mut losses = Vec::new();
    for seed in 0..seeds {
        let of_seed = |dtype| loss(bench, (&experiment, &data), dtype, seed);
        losses.push([of_seed("bfloat16")?, of_seed("float32")?]);
    }
    print(&line(&losses))
}

/// Mean loss of the last epoch of one run.
fn loss(bench: &Bench<'_>, (experiment, data): (&Path, &Path), dtype: &str, seed: u32) -> Result<f64> {
    let name = format!("{dtype}-{seed}");
    let mut command = bench.program("m2t");
    command
        .current_dir(&bench.work)
        .args([
            "train",
            "--experiment-name",
            &name,
            "--devices",
            "cpu:2",
            "--world",
            WORLD,
        ])
        .args(["--listen", "127.0.0.1:0", "--set", &format!("seed={seed}")])
        .args(["--set", &format!("dtype={dtype}"), "--data"])
        .arg(data)
        .arg("--experiment")
        .arg(experiment);
    eprintln!("$ {}", bench.workspace.typed(&command));
    bench.output(&format!("{name}.log"), &mut command)?;
    let metrics = bench.work.join("outputs").join(&name).join("metrics.jsonl");
    let text = fs::read_to_string(&metrics).with_context(|| format!("cannot read {}", metrics.display()))?;
    mean_loss(&text).with_context(|| format!("in {}", metrics.display()))
}

fn mean_loss(metrics: &str) -> Result<f64> {
    let steps: Vec<Step> = metrics
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .context("a line is no step")?;
    let losses: Vec<f64> = steps
        .iter()
        .filter(|step| step.epoch == EPOCH)
        .map(|step| step.loss)
        .collect();
    ensure!(!losses.is_empty(), "no step is of epoch {EPOCH}");
    Ok(losses.iter().sum::<f64>() / losses.len() as f64)
}

/// From the losses of mixed bfloat16 and of float32, a pair a seed.
fn line(losses: &[[f64; 2]]) -> Measurement<Own> {
    let of = |which: usize| median(&losses.iter().map(|pair| pair[which]).collect::<Vec<_>>());
    let digits = |value: f64| (value * 1e5).round() / 1e5;
    let (mixed, single) = (of(0), of(1));
    Measurement {
        bench: "convergence",
        case: "bfloat16",
        median: digits(mixed),
        unit: "mean loss of the third epoch",
        runs: losses.len(),
        machine: machine(),
        beside: Some(Beside {
            baseline: "float32",
            baseline_median: digits(single),
            baseline_runs: losses.len(),
            ratio: digits(single / mixed),
        }),
        own: Own {
            differences: losses
                .iter()
                .map(|[mixed, single]| digits(mixed / single - 1.0))
                .collect(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_third_epoch_counts() {
        let metrics = "{\"epoch\":1,\"loss\":9.0}\n{\"epoch\":2,\"loss\":1.0}\n{\"epoch\":2,\"loss\":2.0}\n";
        assert_eq!(mean_loss(metrics).unwrap(), 1.5);
        assert!(mean_loss("{\"epoch\":1,\"loss\":9.0}\n").is_err());
    }

    #[test]
    fn differences_are_told_seed_by_seed() {
        let line = line(&[[1.02, 1.0], [1.98, 2.0], [1.5, 1.5]]);
        assert_eq!(line.own.differences, [0.02, -0.01, 0.0]);
        let beside = line.beside.unwrap();
        assert_eq!(
            (line.median, beside.baseline_median, beside.ratio),
            (1.5, 1.5, 1.0)
        );
    }
}
