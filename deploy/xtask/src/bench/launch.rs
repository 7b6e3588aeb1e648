//! From a daemon's start to the first committed step: a coordinator waits, the daemon comes, starts two trainers, they load, meet and train.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::line::{Beside, Measurement, machine, median, rounded};
use super::{Bench, print, torchrun};
use crate::fleet::make_data;
use crate::fleet::member::{Member, listening_address};
use crate::fleet::steps::Steps;

/// As the baseline trains: ResNet-18, 64 px; 8 images a step over two devices, 4 each.
const EXPERIMENT: &str = r#"
arch = "resnet18"
world = 2
batch = 8
pixels = 64
steps = 1000000
warmup_epochs = 0
"#;
/// How often metrics.jsonl is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// A run that has not begun by then does not begin.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is launch's own.
#[derive(Debug, Serialize)]
struct Own {
    seconds: Vec<f64>,
}

/// Measures so many launches, and prints the line.
pub(super) fn run(bench: &Bench<'_>, runs: u32, baseline_runs: Option<u32>) -> Result<()> {
    let experiment = bench.work.join("launch.toml");
    fs::write(&experiment, EXPERIMENT).with_context(|| format!("cannot write {}", experiment.display()))?;
    let data = bench.work.join("data");
    make_data(bench.workspace, &data)?;
    let baseline = baseline_runs.map(|n| torchrun::launches(bench, n)).transpose()?;
    let mut seconds = Vec::new();
    for run in 0..runs {
        let folder = bench.work.join(format!("run-{run}"));
        let took = launch(bench, &folder, (&experiment, &data.join("train")))
            .with_context(|| format!("its logs are in {}", folder.display()))?;
        eprintln!("launch {} of {runs}: {took:.3} s", run + 1);
        seconds.push(rounded(took));
    }
    let own = median(&seconds);
    let beside = baseline.map(|launches| Beside {
        baseline: "torchrun",
        baseline_median: rounded(median(&launches)),
        baseline_runs: launches.len(),
        ratio: rounded(median(&launches) / own),
    });
    print(&Measurement {
        bench: "launch",
        case: "daemon_to_first_step",
        median: rounded(own),
        unit: "s",
        runs: seconds.len(),
        machine: machine(),
        beside,
        own: Own { seconds },
    })
}

/// One launch; none of its processes outlives it.
fn launch(bench: &Bench<'_>, folder: &Path, (experiment, data): (&Path, &Path)) -> Result<f64> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let output = folder.join("output");
    let mut command = bench.program("m2t-coordinator");
    command.args(["--listen", "127.0.0.1:0", "--min-devices", "2", "--experiment"]);
    command
        .arg(experiment)
        .arg("--data")
        .arg(data)
        .arg("--output")
        .arg(&output);
    let _coordinator = Member::start("coordinator", folder, command, None)?;
    let address = listening_address(bench.interrupt, &folder.join("coordinator.log"))?;
    let mut command = bench.program("m2t-worker");
    command.args(["--coordinator", &address, "--devices", "cpu:2"]);
    let mut steps = Steps::follow(output.join("metrics.jsonl"));
    let began = Instant::now();
    let _daemon = Member::start("daemon", folder, command, None)?;
    loop {
        steps.look()?;
        if let Some(first) = steps.first_after(0) {
            return Ok(first.at.duration_since(began).as_secs_f64());
        }
        ensure!(began.elapsed() < PATIENCE, "no step in {} s", PATIENCE.as_secs());
        bench.interrupt.check()?;
        std::thread::sleep(LOOK_EVERY);
    }
}
