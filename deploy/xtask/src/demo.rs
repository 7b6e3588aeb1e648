//! `cargo xtask demo`: one pretraining run of real processes on this machine, and what the encoder learnt from it.
//!
//! The programs are those of real use, started with the commands that it prints; nothing of the algorithm is here. It
//! assumes no result: the table at the end is what `m2t-trainer knn` measured. On the photographs it makes, pretraining
//! has to win, and the demo fails if it does not; on a user's data it only tells.

mod data;
mod fleet;
mod knn;
mod watch;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use m2t_common::manifest::CheckpointName;

use crate::interrupt::{Interrupt, POLL};
use crate::workspace::Workspace;
use crate::{DemoArguments, set_up, show};
use data::Folders;
use fleet::Fleet;
use watch::Watch;

/// Two daemons of two CPU devices each host these ranks.
const WORLD: &str = "4";
const DAEMONS: [&str; 2] = ["alpha", "beta"];
/// How long a program may take to say where it listens.
const START_LIMIT: Duration = Duration::from_secs(20);
/// How long the programs may take to leave after the first of them has left.
const END_LIMIT: Duration = Duration::from_secs(30);

/// What all stages of the demo need.
struct Stage<'a> {
    workspace: &'a Workspace,
    interrupt: &'a Interrupt,
    /// Where everything of this demo lies.
    work: PathBuf,
}

/// Runs the demo; an error says what failed and where its logs are.
pub(crate) fn run(workspace: &Workspace, arguments: &DemoArguments, interrupt: &Interrupt) -> Result<()> {
    let start = Instant::now();
    set_up::run(workspace)?;
    let (work, _lock) = work_folder(workspace, arguments.keep.as_deref())?;
    let stage = Stage {
        workspace,
        interrupt,
        work,
    };
    show::heading("build");
    stage.build()?;
    println!("built ({})", show::duration(start.elapsed()));

    let running = Instant::now();
    show::heading("data");
    let folders = data::prepare(&stage, arguments.data.as_deref(), arguments.seed)?;
    println!("{}", folders.told);

    show::heading("pretraining");
    let checkpoint = stage.pretrain(&folders, arguments)?;

    show::heading("what the encoder learnt");
    let verdict = knn::measure(&stage, &folders, &checkpoint)?;
    println!(
        "\nthe demo took {}, of {} with the build",
        show::duration(running.elapsed()),
        show::duration(start.elapsed())
    );
    println!("metrics, log and checkpoints: {}", stage.output().display());
    if arguments.data.is_none() {
        verdict.require_win()?;
    }
    Ok(())
}

/// The demo's folder, empty, and the lock that keeps a second demo out of it.
fn work_folder(workspace: &Workspace, keep: Option<&Path>) -> Result<(PathBuf, fs::File)> {
    let demo = match keep {
        Some(dir) => dir.to_owned(),
        None => workspace.target.join("demo"),
    };
    fs::create_dir_all(&demo).with_context(|| format!("cannot create {}", demo.display()))?;
    let demo = demo
        .canonicalize()
        .with_context(|| format!("cannot open {}", demo.display()))?;
    let is_empty = fs::read_dir(&demo)
        .with_context(|| format!("cannot read {}", demo.display()))?
        .next()
        .is_none();
    ensure!(
        keep.is_none() || is_empty,
        "--keep {} is not empty: name a new folder, so that nothing of yours is overwritten",
        demo.display()
    );
    let lock_file = demo.join("lock");
    let lock =
        fs::File::create(&lock_file).with_context(|| format!("cannot write {}", lock_file.display()))?;
    if lock.try_lock().is_err() {
        bail!(
            "another demo is working in {}: wait for it, or give this one a folder with --keep DIR",
            demo.display()
        );
    }
    if keep.is_none() {
        for name in ["data", "output", "logs"] {
            match fs::remove_dir_all(demo.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot empty {}", demo.display()));
                }
                _ => {}
            }
        }
    }
    let logs = demo.join("logs");
    fs::create_dir(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
    Ok((demo, lock))
}

impl Stage<'_> {
    fn output(&self) -> PathBuf {
        self.work.join("output")
    }

    fn logs(&self) -> PathBuf {
        self.work.join("logs")
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.workspace.program(name));
        command
            .current_dir(&self.workspace.root)
            .env("M2T_TOKENS", self.work.join("tokens"))
            .stdin(Stdio::null());
        command
    }

    /// Runs a command in the foreground, whose words the user sees.
    fn foreground(&self, mut command: Command) -> Result<()> {
        println!("$ {}", self.workspace.typed(&command));
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot run {}", command.get_program().display()))?;
        let status = self.interrupt.wait(&mut child)?;
        ensure!(
            status.success(),
            "`{}` failed ({status})",
            self.workspace.typed(&command)
        );
        Ok(())
    }

    fn build(&self) -> Result<()> {
        let packages = ["m2t-coordinator", "m2t-worker", "m2t-trainer"];
        let mut command = self.workspace.cargo(&["build", "--release", "--bins"]);
        command.args(packages.iter().flat_map(|package| ["--package", package]));
        self.foreground(command)
    }

    /// From the first process to the last step; answers with the newest checkpoint.
    fn pretrain(&self, folders: &Folders, arguments: &DemoArguments) -> Result<PathBuf> {
        let mut fleet = Fleet::new(self.logs());
        let trained = self.train(&mut fleet, folders, arguments);
        if trained.is_err() {
            // Whatever it was, nothing is left running; by Ctrl-C the run is asked for a last checkpoint first.
            fleet.stop(self.interrupt);
            println!("\nlogs: {}", self.logs().display());
        }
        trained?;
        self.newest_checkpoint()
    }

    fn train(&self, fleet: &mut Fleet, folders: &Folders, arguments: &DemoArguments) -> Result<()> {
        let mut coordinator = self.program("m2t-coordinator");
        coordinator
            .args([
                "--world",
                WORLD,
                "--experiment",
                "deploy/config/demo.toml",
                "--data",
            ])
            .arg(&folders.train)
            .arg("--output")
            .arg(self.output())
            .arg("--listen")
            .arg(format!("127.0.0.1:{}", arguments.port))
            .arg("--set")
            .arg(format!("seed={}", arguments.seed));
        self.start(fleet, "coordinator", coordinator)?;
        let address = self.listening_address(fleet)?;
        for name in DAEMONS {
            let mut daemon = self.program("m2t-worker");
            daemon.args(["--coordinator", &address, "--name", name, "--devices", "cpu:2"]);
            self.start(fleet, name, daemon)?;
        }
        println!("logs: {}\n", self.logs().display());
        let mut watch = Watch::new(&address);
        let mut leaving_since = None;
        while !fleet.are_all_gone()? {
            // The coordinator dismisses its daemons when the last step is done, so all leave at about the same time.
            if fleet.is_any_gone() {
                let since = *leaving_since.get_or_insert_with(Instant::now);
                ensure!(
                    since.elapsed() < END_LIMIT,
                    "{} did not end within {} of the others",
                    fleet.names_left().join(", "),
                    show::duration(END_LIMIT)
                );
            }
            self.interrupt.check()?;
            watch.look(self);
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    fn start(&self, fleet: &mut Fleet, name: &'static str, command: Command) -> Result<()> {
        println!("$ {}", self.workspace.typed(&command));
        fleet.start(name, command)
    }

    fn listening_address(&self, fleet: &mut Fleet) -> Result<String> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if let Some(address) = fleet.words_after("coordinator", "listening on ")? {
                return Ok(address);
            }
            ensure!(!fleet.are_all_gone()?, "the coordinator ended before it began");
            ensure!(
                Instant::now() < deadline,
                "the coordinator did not say where it listens within {}",
                show::duration(START_LIMIT)
            );
            self.interrupt.check()?;
            std::thread::sleep(POLL);
        }
    }

    fn newest_checkpoint(&self) -> Result<PathBuf> {
        let folder = self.output().join("checkpoints");
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        let newest = entries
            .filter_map(|entry| CheckpointName::parse(entry.ok()?.file_name().to_str()?))
            .max()
            .with_context(|| format!("the run finished without a checkpoint in {}", folder.display()))?;
        Ok(folder.join(newest.as_str()))
    }
}
