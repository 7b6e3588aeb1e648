//! `cargo xtask bench NAME`: measures the real programs and prints a line of JSON a result on standard output.
//!
//! Everything else it says goes to standard error. It judges nothing: a slow result is a result. What it measures is built
//! first, and never a thing the user did not just build.

mod checkpoint;
mod convergence;
mod launch;
mod line;
mod loader;
mod recovery;
mod step;
mod strangers;
mod torchrun;

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};

use crate::interrupt::Interrupt;
use crate::workspace::Workspace;
use crate::{fleet, set_up};

/// What a bench is told.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct BenchArguments {
    /// What to measure.
    #[arg(value_enum)]
    name: Name,
    /// Only these cases of it [default: all].
    #[arg(long, value_enum, value_delimiter = ',', value_name = "CASE,…")]
    cases: Vec<recovery::Case>,
    /// How often each case is measured; the result is the median.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Measure this, too, on the same machine, and put it beside our result.
    #[arg(long, value_enum, value_name = "BASELINE")]
    against: Option<Baseline>,
    /// How often the baseline is measured: a minute or more each time.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    baseline_runs: u32,
    /// The photographs, a folder of class folders; for loader and convergence.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Make pictures of the size and weight of ImageNet's out of them first; for the loader only.
    #[arg(long)]
    like_imagenet: bool,
}

const HELP: &str = "\
recovery: the time from a SIGKILL or a cut to the next optimizer step that all devices completed.
  Real trainers: ResNet-18 of 16 channels, 32 px, float32, four ranks on two daemons of two CPU devices,
  --min-devices 1. After each fault the run grows back to its full size. Cases:
    trainer  one trainer process is killed
    daemon   a daemon is killed, and its trainers go with it
    cut      a machine is cut off the network, which nobody is told; machines are network namespaces, so it needs
             root and `ip`, and is skipped with a line on standard error where there are none
  --against torchrun runs M2T_SHARED/baselines/torchrun_recovery.py (M2T_SHARED is ../shared by default): its worker
  is our trainer, its agent our daemon. It needs a Python with torch and torchvision: M2T_PYTHON, with torchrun
  beside it, or the .python/ that `cargo xtask test` installs.

loader: images a second of one thread's CPU time, decoded and made two views of 224 px as published, from memory.
  Cases: two_views, and floor, which decodes only. --data DIR names the photographs; --like-imagenet makes 300 mosaics
  of them first: 500 x 376, quality 96, 4:4:4. --runs says how many times all of them are gone through.
  --against pillow runs M2T_SHARED/baselines/pillow_views.py on the same files. It needs a Python with Pillow and numpy:
  M2T_PYTHON, or the .python/ that `cargo xtask test` installs.

step: images a second of the training step on made images: ResNet-50, 224 px, 16 images, two threads, from forward to
  commit. Cases: float32, float32_float_sum (reduction=float), bfloat16, and two_devices: two of a thread and 8 images,
  each pinned to a core, as a group beside two that exchange nothing.
  --against pytorch runs M2T_SHARED/baselines/pytorch_step.py in between. It needs a Python with torch and torchvision:
  M2T_PYTHON, or the .python/ that `cargo xtask test` installs. `m2t-trainer measure --profile` says where the time goes.

launch: from a daemon's start to the first committed step: ResNet-18, 64 px, 8 images a step on two CPU devices of one machine; the
  coordinator is there already. --against torchrun takes that of M2T_SHARED/baselines/torchrun_recovery.py, whose agents start one by one.

convergence: the mean loss of the third epoch of `m2t train` in mixed bfloat16, beside the same run in float32. ResNet-18, 64 px,
  batches of 64 on two ranks. --data DIR names the photographs; --runs says how many seeds, each two runs of minutes.

checkpoint: ResNet-50's whole state (student, momentum, teacher and statistics, 412 MB) saved, with every fsync, loaded and verified,
  and how long training stands for it. Cases: save, load, stall. --against pytorch runs torch.save with fsync and torch.load on
  the same tensors and disk. It needs a Python with torch: M2T_PYTHON, or the .python/ that `cargo xtask test` installs.

strangers: the duration of a step of ResNet-18, 64 px, 8 images on two CPU devices, while 10,000 connections stand idle at the coordinator,
  200 dribble a handshake and a scanner tries other protocols a hundred times in a second, beside the same run in calm, in turns of seconds.

A line has: bench, case, median, unit, runs, machine; against a baseline also baseline, baseline_median,
baseline_runs, baseline_steps_lost and ratio (above 1: we are better). recovery adds:
  seconds      every time measured, in order
  step_median  median duration of a step before the faults
  steps_lost   the most that any fault cost: steps that were in metrics.jsonl and had to be done again
  phases       median seconds from the fault to the first event of each kind in events.jsonl, up to that next step
loader adds:
  milliseconds_per_image  of the stages decode, crop, jitter, blur, rest, normalize
  images, pixels_per_image, bits_per_pixel
step adds:
  peak_mib, baseline_peak_mib  the most memory that the process had resident
  sum_seconds  how long the sum of the gradients took; sum_hidden: what share of it the step did not wait for
  cpu_flags    what the processor has of vector instructions
convergence adds:
  differences  of the losses, as a share of float32's, seed by seed
launch adds:
  seconds      every time measured, in order
strangers adds:
  idle         the fewest connections that stood idle at the end of a storm; baseline_runs and steps count steps
checkpoint adds:
  seconds      every time measured, in order
  bytes        of the state's file
  copy_seconds  with stall: one copy of as many bytes from memory to memory, by one thread
Steps are stamped when their line arrives in metrics.jsonl, looked at every 2 ms.

Example:
  cargo xtask bench recovery --runs 10 --against torchrun > recovery.jsonl
  cargo xtask bench loader --data ../shared/datasets/clothing/train --like-imagenet --against pillow
  cargo xtask bench checkpoint --runs 7 --against pytorch";

#[derive(Clone, Copy, ValueEnum)]
enum Name {
    /// From a fault to the next step.
    Recovery,
    /// From a file's bytes to two views.
    Loader,
    /// A training step.
    Step,
    /// From a daemon's start to the first step.
    Launch,
    /// Mixed bfloat16 beside float32 on real photographs.
    Convergence,
    /// From the state to the disk and back.
    Checkpoint,
    /// A step while strangers knock at the coordinator.
    Strangers,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Baseline {
    /// PyTorch's elastic launcher, for recovery and launch.
    Torchrun,
    /// The published pipeline, for the loader.
    Pillow,
    /// The published step for the step; torch.save and torch.load for the checkpoint.
    Pytorch,
}

/// What all parts of a bench need.
struct Bench<'a> {
    workspace: &'a Workspace,
    interrupt: &'a Interrupt,
    /// An empty folder of its own; what it leaves there stays until the next bench of that name.
    work: PathBuf,
}

/// Runs the bench.
pub(crate) fn run(workspace: &Workspace, arguments: &BenchArguments, interrupt: &Interrupt) -> Result<()> {
    let bench = |name| -> Result<Bench<'_>> {
        Ok(Bench {
            workspace,
            interrupt,
            work: work_folder(workspace, name)?,
        })
    };
    match (arguments.name, arguments.against) {
        (Name::Recovery | Name::Launch, Some(Baseline::Pillow | Baseline::Pytorch))
        | (Name::Loader, Some(Baseline::Torchrun | Baseline::Pytorch))
        | (Name::Step | Name::Checkpoint, Some(Baseline::Torchrun | Baseline::Pillow)) => {
            bail!(
                "--against torchrun goes with recovery and launch, pillow with loader, pytorch with step and checkpoint"
            )
        }
        (Name::Convergence, Some(_)) => {
            bail!("convergence has its own baseline, float32; leave --against out")
        }
        (Name::Convergence, None) => {
            ensure!(
                arguments.cases.is_empty(),
                "convergence has no --cases to choose from"
            );
            let Some(data) = &arguments.data else {
                bail!("convergence needs photographs: --data DIR, a folder of class folders");
            };
            set_up::run(workspace)?;
            let bench = bench("convergence")?;
            fleet::build(workspace, interrupt, &["--workspace"])?;
            convergence::run(&bench, data, arguments.runs)
        }
        (Name::Step, against) => {
            ensure!(arguments.cases.is_empty(), "step has no --cases to choose from");
            ensure!(
                arguments.data.is_none() && !arguments.like_imagenet,
                "--data and --like-imagenet go with loader; step makes its own images"
            );
            set_up::run(workspace)?;
            let bench = bench("step")?;
            fleet::build(workspace, interrupt, &["-pm2t-trainer"])?;
            step::run(&bench, arguments.runs, against.is_some())
        }
        (Name::Checkpoint, _) => {
            ensure!(
                arguments.data.is_none() && !arguments.like_imagenet && arguments.cases.is_empty(),
                "checkpoint has no --cases to choose from and looks at no photographs"
            );
            set_up::run(workspace)?;
            fleet::build(workspace, interrupt, &["-pm2t-trainer"])?;
            checkpoint::run(&bench("checkpoint")?, arguments)
        }
        (Name::Strangers, against) => {
            ensure!(
                arguments.data.is_none() && arguments.cases.is_empty() && against.is_none(),
                "strangers has no --cases to choose from, looks at no photographs and is compared with itself in calm"
            );
            set_up::run(workspace)?;
            fleet::build(workspace, interrupt, &["--workspace"])?;
            strangers::run(&bench("strangers")?, arguments.runs)
        }
        (Name::Launch, against) => {
            ensure!(
                arguments.data.is_none() && !arguments.like_imagenet && arguments.cases.is_empty(),
                "launch has no --cases to choose from and makes its own pictures"
            );
            set_up::run(workspace)?;
            let bench = bench("launch")?;
            fleet::build(workspace, interrupt, &["--workspace"])?;
            launch::run(&bench, arguments.runs, against.map(|_| arguments.baseline_runs))
        }
        (Name::Recovery, _) => {
            ensure!(
                arguments.data.is_none() && !arguments.like_imagenet,
                "--data and --like-imagenet go with loader; recovery makes its own pictures"
            );
            set_up::run(workspace)?;
            run_recovery(&bench("recovery")?, arguments)
        }
        (Name::Loader, _) => {
            ensure!(arguments.cases.is_empty(), "loader has no --cases to choose from");
            let Some(data) = &arguments.data else {
                bail!("loader needs photographs: --data DIR, a folder of class folders");
            };
            loader::run(&bench("loader")?, data, arguments)
        }
    }
}

fn run_recovery(bench: &Bench<'_>, arguments: &BenchArguments) -> Result<()> {
    let programs = ["-pm2t-coordinator", "-pm2t-worker", "-pm2t-trainer"];
    fleet::build(bench.workspace, bench.interrupt, &programs)?;
    let baselines = match arguments.against {
        Some(_) => torchrun::measure(bench, arguments.baseline_runs)?,
        None => Vec::new(),
    };
    let cases = if arguments.cases.is_empty() {
        recovery::Case::value_variants()
    } else {
        &arguments.cases
    };
    for &case in cases {
        let Some(mut line) = recovery::measure(bench, case, arguments.runs)? else {
            continue;
        };
        if let Some(baseline) = baselines.iter().find(|baseline| baseline.case == case) {
            line = line.against(baseline);
        }
        print(&line)?;
    }
    eprintln!("logs and metrics: {}", bench.work.display());
    Ok(())
}

/// A result on standard output.
fn print(line: &impl serde::Serialize) -> Result<()> {
    println!(
        "{}",
        serde_json::to_string(line).context("a result is plain data")?
    );
    Ok(())
}

fn work_folder(workspace: &Workspace, name: &str) -> Result<PathBuf> {
    let work = workspace.target.join("bench").join(name);
    fleet::empty_folder(&work)?;
    Ok(work)
}

impl Bench<'_> {
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.workspace.program(name));
        command.env("M2T_TOKENS", self.work.join("tokens"));
        command
    }

    /// The Python of the baselines; the packages of `.python/` are its own, whatever libtorch this process runs with.
    fn python(&self) -> Command {
        let usual = || self.workspace.root.join(".python/python");
        let mut command = Command::new(own_python().map_or_else(usual, PathBuf::from));
        command.env_remove("LD_LIBRARY_PATH");
        command
    }

    /// What a program prints, which must succeed. It stays in the bench's folder, as `name`.
    fn output(&self, name: &str, command: &mut Command) -> Result<String> {
        let program = self.workspace.typed(command);
        let log = self.work.join(name);
        let out = fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(out)
            .spawn()
            .with_context(|| format!("cannot run `{program}`"))?;
        let status = self.interrupt.wait(&mut child)?;
        ensure!(status.success(), "`{program}` failed ({status})");
        fs::read_to_string(&log).with_context(|| format!("cannot read {}", log.display()))
    }

    /// A file of the shared folder.
    fn shared(&self, below: &str) -> Result<PathBuf> {
        let beside = || self.workspace.root.join("../shared");
        let shared = std::env::var_os("M2T_SHARED").map_or_else(beside, PathBuf::from);
        let file = shared.join(below);
        ensure!(
            file.is_file(),
            "{} is missing; set M2T_SHARED to the shared folder",
            file.display()
        );
        Ok(file)
    }
}

/// The Python that the user wants for baselines.
fn own_python() -> Option<OsString> {
    std::env::var_os("M2T_PYTHON").filter(|own| !own.is_empty())
}
