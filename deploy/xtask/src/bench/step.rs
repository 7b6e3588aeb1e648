//! What a training step costs: `m2t-trainer measure`, and beside it the published step in PyTorch, in the same call.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::line::{Beside, Measurement, machine, median, rounded};
use super::{Bench, print};

const SCRIPT: &str = "baselines/pytorch_step.py";
const NEEDED: &str = "set M2T_PYTHON to a Python with torch and torchvision, or run `cargo xtask test` once, which installs \
                      them into .python/";
/// Images a step of one device, and of each of two.
const BATCH: &str = "16";
const BATCH_OF_TWO: &str = "8";
const LOOK: Duration = Duration::from_millis(20);

/// What is a step's own.
#[derive(Debug, Serialize)]
struct Own {
    cpu_flags: String,
    peak_mib: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    baseline_peak_mib: Option<u64>,
    sum_seconds: f64,
    sum_hidden: f64,
}

/// What `m2t-trainer measure` says.
#[derive(Clone, Debug, Deserialize)]
struct Measured {
    images_per_second: f64,
    seconds: Vec<f64>,
    sum_seconds: f64,
    sum_exposed_seconds: f64,
    peak_mib: u64,
}

/// What PyTorch's script says of a case, and the most memory it had in it.
struct Pytorch {
    case: String,
    median: f64,
    runs: usize,
    peak_mib: Option<u64>,
}

/// Where the first device of a group is met.
#[derive(Deserialize)]
struct Meet {
    meet: String,
}

/// Measures, and prints the lines.
pub(super) fn run(bench: &Bench<'_>, runs: u32, against_pytorch: bool) -> Result<()> {
    // Ours before and after the baseline: what else the machine does shows in both.
    let before = one_device(bench, runs)?;
    let pytorch = if against_pytorch {
        pytorch(bench)?
    } else {
        Vec::new()
    };
    let after = one_device(bench, runs)?;
    let beside = [
        ("float32", "float32"),
        ("float32_float_sum", "float32"),
        ("bfloat16", "bfloat16_channels_last"),
    ];
    for ((case, theirs), (before, after)) in beside.into_iter().zip(before.into_iter().zip(after)) {
        let measured = Measured::both(before, &after);
        let baseline = pytorch.iter().find(|said| said.case == theirs);
        let beside = baseline.map(|said| Beside {
            baseline: "pytorch",
            baseline_median: said.median,
            baseline_runs: said.runs,
            ratio: rounded(measured.images_per_second / said.median),
        });
        let peak = baseline.and_then(|said| said.peak_mib);
        print(&line(case, &measured, (beside, peak)))?;
    }
    two_devices(bench, runs)
}

/// float32 with the exact sum, float32 with the float sum, mixed bfloat16.
fn one_device(bench: &Bench<'_>, runs: u32) -> Result<[Measured; 3]> {
    let measured = |name: &str, dtype: &str, reduction: &str| {
        let mut command = measure(bench, runs, BATCH);
        command
            .args([
                "--set",
                "threads_per_device=2",
                "--set",
                &format!("dtype={dtype}"),
            ])
            .args(["--set", &format!("reduction={reduction}")]);
        eprintln!("$ {}", bench.workspace.typed(&command));
        let said = bench.output(name, &mut command)?;
        serde_json::from_str(&said).with_context(|| format!("m2t-trainer said {said:?}"))
    };
    Ok([
        measured("float32", "float32", "exact")?,
        measured("float32-float-sum", "float32", "float")?,
        measured("bfloat16", "bfloat16", "exact")?,
    ])
}

fn measure(bench: &Bench<'_>, runs: u32, batch: &str) -> Command {
    let mut command = bench.program("m2t-trainer");
    command.args(["measure", "--batch", batch, "--steps", &runs.to_string()]);
    command
}

/// Two devices of a thread, each on a core of its own: as a group, beside two that know nothing of each other.
fn two_devices(bench: &Bench<'_>, runs: u32) -> Result<()> {
    let alone = pair(bench, runs, &["--devices", "1"])?;
    let group = pair(bench, runs, &["--devices", "2"])?;
    let apart = alone.iter().map(|one| one.images_per_second).sum::<f64>();
    let together = group[0].clone();
    let beside = Beside {
        baseline: "two runs without an exchange",
        baseline_median: rounded(apart),
        baseline_runs: alone[0].seconds.len(),
        ratio: rounded(together.images_per_second / apart),
    };
    let peak = Some(alone[0].peak_mib);
    print(&line("two_devices", &together, (Some(beside), peak)))
}

/// Two processes side by side, on the first two cores.
fn pair(bench: &Bench<'_>, runs: u32, devices: &[&str; 2]) -> Result<[Measured; 2]> {
    let is_group = devices[1] == "2";
    let mut started: Vec<(Child, PathBuf)> = Vec::new();
    let mut meet: Option<String> = None;
    for index in 0..2 {
        let log = bench
            .work
            .join(format!("{}-{index}", if is_group { "group" } else { "alone" }));
        let mut command = measure(bench, runs, BATCH_OF_TWO);
        command
            .args(devices)
            .args(["--core", &index.to_string()])
            .stdin(Stdio::null());
        if is_group {
            command.args(["--index", &index.to_string()]);
        }
        if let Some(meet) = &meet {
            command.args(["--meet", meet]);
        }
        eprintln!("$ {}", bench.workspace.typed(&command));
        let out = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = command.stdout(out).spawn().context("cannot run m2t-trainer")?;
        started.push((child, log));
        if is_group && index == 0 {
            let (child, log) = &mut started[0];
            meet = Some(first_line::<Meet>(bench, child, log)?.meet);
        }
    }
    let mut measured = Vec::new();
    for (child, log) in &mut started {
        let status = bench.interrupt.wait(child)?;
        let said = fs::read_to_string(&*log).unwrap_or_default();
        ensure!(status.success(), "m2t-trainer measure failed ({status}): {said}");
        let answer = said.lines().last().unwrap_or_default();
        measured.push(serde_json::from_str(answer).with_context(|| format!("m2t-trainer said {said:?}"))?);
    }
    <[Measured; 2]>::try_from(measured).map_err(|_| anyhow::anyhow!("two were started"))
}

fn first_line<T: serde::de::DeserializeOwned>(bench: &Bench<'_>, child: &mut Child, log: &Path) -> Result<T> {
    loop {
        let said = fs::read_to_string(log).unwrap_or_default();
        if let Some((line, _)) = said.split_once('\n') {
            return serde_json::from_str(line).with_context(|| format!("m2t-trainer said {line:?}"));
        }
        if child.try_wait().context("cannot wait for a process")?.is_some() {
            anyhow::bail!("m2t-trainer measure ended before it could be met");
        }
        bench.interrupt.check()?;
        std::thread::sleep(LOOK);
    }
}

/// Runs the script as it is, and looks at its memory whenever it has said a line.
fn pytorch(bench: &Bench<'_>) -> Result<Vec<Pytorch>> {
    #[derive(Deserialize)]
    struct Said {
        case: String,
        median: f64,
        runs: usize,
    }
    let script = bench.shared(SCRIPT)?;
    let log = bench.work.join("pytorch");
    let out = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    eprintln!("pytorch: two minutes or three");
    let mut child = bench
        .python()
        .arg(&script)
        .args([BATCH, "224", "2"])
        .stdin(Stdio::null())
        .stdout(out)
        .spawn()
        .context(NEEDED)?;
    let memory = Memory::of(&child);
    let mut cases: Vec<Pytorch> = Vec::new();
    let mut has_ended = false;
    while !has_ended {
        has_ended = child.try_wait().context("cannot wait for a process")?.is_some();
        let said = fs::read_to_string(&log).unwrap_or_default();
        let complete = said.rsplit_once('\n').map_or("", |(lines, _)| lines);
        for line in complete.lines().skip(cases.len()) {
            let said: Said = serde_json::from_str(line)
                .with_context(|| format!("{} said {line:?}; {NEEDED}", script.display()))?;
            cases.push(Pytorch {
                case: said.case,
                median: said.median,
                runs: said.runs,
                peak_mib: memory.take_peak_mib(),
            });
        }
        if let Err(stopped) = bench.interrupt.check() {
            let _ = child.kill();
            let _ = child.wait();
            return Err(stopped);
        }
        std::thread::sleep(LOOK);
    }
    ensure!(
        cases.len() == 3,
        "{} did not come to its end; {NEEDED}",
        script.display()
    );
    Ok(cases)
}

/// The resident memory of a process, as the system counts it.
struct Memory(PathBuf);

impl Memory {
    fn of(child: &Child) -> Self {
        Self(PathBuf::from(format!("/proc/{}", child.id())))
    }

    /// The most since the last look; nothing once the process has ended.
    fn take_peak_mib(&self) -> Option<u64> {
        let status = fs::read_to_string(self.0.join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
        // 5 sets the mark to what is resident now.
        let _ = fs::write(self.0.join("clear_refs"), "5");
        Some(kib / 1024)
    }
}

impl Measured {
    fn both(self, other: &Self) -> Self {
        let images = self.images_per_second * median(&self.seconds);
        let mut seconds = self.seconds;
        seconds.extend(&other.seconds);
        Self {
            images_per_second: images / median(&seconds),
            seconds,
            sum_seconds: f64::midpoint(self.sum_seconds, other.sum_seconds),
            sum_exposed_seconds: f64::midpoint(self.sum_exposed_seconds, other.sum_exposed_seconds),
            peak_mib: self.peak_mib.max(other.peak_mib),
        }
    }
}

fn line(
    case: &'static str,
    measured: &Measured,
    (beside, baseline_peak_mib): (Option<Beside>, Option<u64>),
) -> Measurement<Own> {
    Measurement {
        bench: "step",
        case,
        median: rounded(measured.images_per_second),
        unit: "images/s",
        runs: measured.seconds.len(),
        machine: machine(),
        beside,
        own: Own {
            cpu_flags: cpu_flags(),
            peak_mib: measured.peak_mib,
            baseline_peak_mib,
            sum_seconds: rounded(measured.sum_seconds),
            sum_hidden: rounded(1.0 - measured.sum_exposed_seconds / measured.sum_seconds),
        },
    }
}

/// Those of the processor that decide how fast a step can be.
fn cpu_flags() -> String {
    let facts = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = facts.lines().find_map(|line| line.strip_prefix("flags"));
    let matters = |flag: &&str| flag.starts_with("avx") || flag.starts_with("amx") || *flag == "fma";
    let flags: Vec<&str> = flags
        .unwrap_or_default()
        .split_whitespace()
        .filter(matters)
        .collect();
    flags.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(seconds: &[f64]) -> Measured {
        Measured {
            images_per_second: 16.0 / median(seconds),
            seconds: seconds.to_vec(),
            sum_seconds: 0.5,
            sum_exposed_seconds: 0.05,
            peak_mib: 900,
        }
    }

    #[test]
    fn a_line_has_the_documented_keys() {
        let both = measured(&[4.0, 2.0, 4.0]).both(&measured(&[4.0, 8.0]));
        let beside = Beside {
            baseline: "pytorch",
            baseline_median: 2.0,
            baseline_runs: 5,
            ratio: 2.0,
        };
        let line = serde_json::to_value(line("float32", &both, (Some(beside), Some(1200)))).unwrap();
        for (key, wanted) in [("bench", "step"), ("case", "float32"), ("unit", "images/s")] {
            assert_eq!(line[key], wanted);
        }
        assert_eq!((&line["median"], &line["runs"]), (&4.0.into(), &5.into()));
        assert_eq!(
            (&line["ratio"], &line["baseline_peak_mib"]),
            (&2.0.into(), &1200.into())
        );
        assert_eq!(
            (&line["sum_hidden"], &line["peak_mib"]),
            (&0.9.into(), &900.into())
        );
        assert!(line["cpu_flags"].is_string());
    }

    #[test]
    fn the_memory_of_a_process_is_read_and_begun_anew() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let memory = Memory::of(&child);
        assert!(memory.take_peak_mib().is_some());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(memory.take_peak_mib(), None);
    }
}
