//! `cargo xtask chaos`: a run of real programs among faults, and its proof that nothing of them is left in the result.
//!
//! A calm run of the same recipe goes first, on one machine: the bits do not depend on the placement. Then the same
//! recipe runs among faults drawn from a seed. In the end both must have the same state and the same losses, step by step, and
//! the audit must be clean. The product does all the recovering: here is only what an operator or a service manager would do,
//! such as starting a killed daemon again.
//!
//! What is drawn depends on the seed alone; which step a fault meets depends on the machine's speed, too.

mod calm;
mod course;
mod fleet;
mod load;
mod plan;
mod setting;
mod verdict;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Serialize;

use crate::fleet::machines::Machines;
use crate::interrupt::Interrupt;
use crate::set_up;
use crate::workspace::Workspace;
use load::Load;
use plan::Plan;
use setting::Setting;
use verdict::Verdict;

/// Faults come so close after each other, if it is not said how many there are.
const SECONDS_A_FAULT: u32 = 6;

/// What a chaos run is told.
#[derive(Args, Clone, Debug)]
#[command(after_help = HELP)]
pub(crate) struct ChaosArguments {
    /// For how long faults happen; the run ends about then.
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u32).range(1..=1440))]
    minutes: Option<u32>,
    /// The same in seconds.
    #[arg(long, value_name = "S", conflicts_with = "minutes", value_parser = clap::value_parser!(u32).range(10..=86400))]
    seconds: Option<u32>,
    /// Draws the faults, their moments and their victims.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Steps of the run [default: as many as fill the time, by the speed of a short run before].
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u64).range(1..))]
    steps: Option<u64>,
    /// How many faults [default: one in six seconds].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    faults: Option<u32>,
    /// Trainers that train nothing, for breadth: a step is one hash and 200 ms of sleep.
    #[arg(long)]
    fake: bool,
    /// Machines, of which the last is a spare that comes and goes [default: 4].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=64))]
    machines: Option<u32>,
    /// Devices of a machine; the world is machines x devices with --fake, and 4 without [default: 2 on the first, 1 on the others].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16))]
    devices: Option<u32>,
}

const HELP: &str = "\
Real trainers: ResNet-18 of 16 channels, 32 px, float32, world 4, on machines out of network namespaces where they can be
made (root and `ip`); else on plain processes, without cuts, and a line on standard error says so.
Faults: kill_trainer, kill_daemon, stop_trainer, stop_daemon (SIGSTOP, later SIGCONT), cut, drain, spare (a machine is
added, later it gets SIGTERM), kill_coordinator, pause. What was killed, drained or cut off comes back after a while.

One line of JSON: seed, minutes, faults (done, by kind), refused (orders that the run could not obey just then), generations,
steps, steps_lost (in metrics.jsonl, and done again), digest_equal, losses_equal, audit, coordinator_mib (peak), coordinator_cpu
(share of a core), namespaces. Exit code 1, with the reason and the folder kept, where anything is not as it must be.

Examples:
  cargo xtask chaos --minutes 10 --seed 1
  cargo xtask chaos --fake --machines 16 --devices 8 --minutes 5 --faults 50";

/// The runs of the gate.
pub(crate) fn gate_runs() -> [ChaosArguments; 2] {
    let real = ChaosArguments {
        minutes: None,
        seconds: Some(60),
        seed: 1,
        steps: None,
        faults: None,
        fake: false,
        machines: None,
        devices: None,
    };
    let fake = ChaosArguments {
        seconds: Some(40),
        fake: true,
        machines: Some(16),
        devices: Some(8),
        ..real.clone()
    };
    [real, fake]
}

/// What came out.
#[derive(Debug, Serialize)]
struct Report {
    seed: u64,
    minutes: f64,
    fake: bool,
    machines: usize,
    world: u32,
    namespaces: bool,
    faults: BTreeMap<&'static str, u32>,
    refused: u32,
    #[serde(flatten)]
    verdict: Verdict,
    #[serde(flatten)]
    load: Load,
}

/// What all parts of a chaos run need.
struct Chaos<'a> {
    workspace: &'a Workspace,
    interrupt: &'a Interrupt,
    setting: Setting,
    /// A folder of its own; it is removed when all went well.
    work: PathBuf,
}

/// Builds the programs and lets them run.
pub(crate) fn build_and_run(
    workspace: &Workspace,
    arguments: &ChaosArguments,
    interrupt: &Interrupt,
) -> Result<()> {
    set_up::run(workspace)?;
    // As the gate builds them: a part of the workspace would be built anew, for its dependencies have other features then.
    crate::fleet::build(workspace, interrupt, &["--workspace"])?;
    run(workspace, arguments, interrupt)
}

/// Runs, judges, prints the line; an error where something is not as it must be. The programs are built already.
pub(crate) fn run(workspace: &Workspace, arguments: &ChaosArguments, interrupt: &Interrupt) -> Result<()> {
    let kind = if arguments.fake { "fake" } else { "real" };
    let chaos = Chaos {
        workspace,
        interrupt,
        setting: Setting::new(arguments),
        work: workspace
            .target
            .join("chaos")
            .join(format!("{kind}-{}", arguments.seed)),
    };
    crate::fleet::empty_folder(&chaos.work)?;
    let kept = || format!("everything it left is in {}", chaos.work.display());
    let report = chaos.run(arguments).with_context(kept)?;
    println!(
        "{}",
        serde_json::to_string(&report).context("a report is plain data")?
    );
    ensure!(
        report.verdict.is_good(),
        "{}; {}",
        report.verdict.reason(),
        kept()
    );
    std::fs::remove_dir_all(&chaos.work).with_context(|| format!("cannot remove {}", chaos.work.display()))
}

impl Chaos<'_> {
    fn run(&self, arguments: &ChaosArguments) -> Result<Report> {
        self.setting.make_data(self.workspace, &self.work)?;
        let time = arguments.time();
        let n_steps = match arguments.steps {
            Some(n_steps) => n_steps,
            None => self.setting.steps_in(time, || calm::step_time(self))?,
        };
        eprintln!("{n_steps} steps; first without faults");
        let calm = calm::run(self, "calm", n_steps)?;
        let machines = make_machines(&self.setting)?;
        let n_faults = arguments
            .faults
            .unwrap_or((time.as_secs() as u32 / SECONDS_A_FAULT).max(1));
        let plan = Plan::draw(
            arguments.seed,
            time,
            n_faults,
            &self.setting.shape(machines.is_some()),
        );
        let has_namespaces = machines.is_some();
        let done = course::run(self, &plan, n_steps, machines)?;
        Ok(Report {
            seed: arguments.seed,
            minutes: (done.took.as_secs_f64() / 6.0).round() / 10.0,
            fake: arguments.fake,
            machines: self.setting.machines.len(),
            world: self.setting.world,
            namespaces: has_namespaces,
            faults: done.faults,
            refused: done.refused,
            verdict: verdict::judge(self, &calm, &done.output, done.steps_lost)?,
            load: done.load,
        })
    }

    fn program(&self, name: &str) -> std::process::Command {
        let mut command = std::process::Command::new(self.workspace.program(name));
        command.env("M2T_TOKENS", self.work.join("tokens"));
        command
    }
}

impl ChaosArguments {
    fn time(&self) -> Duration {
        let seconds = self.seconds.or(self.minutes.map(|minutes| minutes * 60));
        Duration::from_secs(seconds.unwrap_or(60).into())
    }
}

/// Namespaces, or none after a line that says why; in CI they must be.
fn make_machines(setting: &Setting) -> Result<Option<Machines>> {
    match Machines::make(&setting.names()) {
        Ok(machines) => Ok(Some(machines)),
        Err(error) if std::env::var("CI").as_deref() == Ok("true") => {
            Err(error).context("no machines out of network namespaces here")
        }
        Err(error) => {
            eprintln!(
                "no machines out of network namespaces here, so plain processes and no cuts: {error:#}"
            );
            Ok(None)
        }
    }
}
