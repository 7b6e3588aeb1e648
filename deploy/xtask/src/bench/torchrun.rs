//! torchrun's recovery, by the shared baseline script, run as it is.
//!
//! The script wants `torchrun` beside its Python. The packages in `.python/` come without a Python of their own, so they get
//! one here: a virtual environment that looks into them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::line::BaselineResult;
use super::recovery::Case;
use super::{Bench, own_python};

const SCRIPT: &str = "baselines/torchrun_recovery.py";
/// The script's cases, and those of ours they stand beside.
const CASES: [(&str, Case); 2] = [("worker", Case::Trainer), ("agent", Case::Daemon)];
const NEEDED: &str = "set M2T_PYTHON to a Python with torch and torchvision that has torchrun beside it, or run `cargo xtask test` once, \
                      which installs them into .python/";

/// The keys of the script's line that we use.
#[derive(Deserialize)]
struct Said {
    case: String,
    median: Option<f64>,
    steps_lost: Option<u64>,
    launch_to_first_step: Option<f64>,
}

/// Runs the script so many times.
pub(super) fn measure(bench: &Bench<'_>, runs: u32) -> Result<Vec<BaselineResult>> {
    let script = bench.shared(SCRIPT)?;
    let python = python(bench)?;
    let mut said = Vec::new();
    for run in 1..=runs {
        eprintln!("torchrun: {run} of {runs}, a minute or two");
        said.extend(run_once(bench, &python, &script)?);
    }
    CASES
        .iter()
        .map(|&(theirs, case)| {
            let of_case = || said.iter().filter(|said| said.case == theirs);
            let seconds: Vec<f64> = of_case().filter_map(|said| said.median).collect();
            ensure!(
                !seconds.is_empty(),
                "torchrun did not recover in the case {theirs:?} within two minutes"
            );
            Ok(BaselineResult {
                case,
                name: "torchrun",
                seconds,
                steps_lost: of_case().filter_map(|said| said.steps_lost).max().unwrap_or(0),
            })
        })
        .collect()
}

/// From the launch of its first agent to the first step, in each case of each of so many runs.
pub(super) fn launches(bench: &Bench<'_>, runs: u32) -> Result<Vec<f64>> {
    let script = bench.shared(SCRIPT)?;
    let python = python(bench)?;
    let mut seconds = Vec::new();
    for run in 1..=runs {
        eprintln!("torchrun: {run} of {runs}, a minute or two");
        let said = run_once(bench, &python, &script)?;
        seconds.extend(said.iter().filter_map(|said| said.launch_to_first_step));
    }
    ensure!(
        !seconds.is_empty(),
        "torchrun did not say when its first step was"
    );
    Ok(seconds)
}

fn run_once(bench: &Bench<'_>, python: &Path, script: &Path) -> Result<Vec<Said>> {
    let mut command = Command::new(python);
    // What cargo sets for our programs is not for Python's torch.
    command.arg(script).env_remove("LD_LIBRARY_PATH");
    let said = bench.output("torchrun.jsonl", &mut command).context(NEEDED)?;
    said.lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("{} said {line:?}", script.display())))
        .collect()
}

/// A Python with torch that has torchrun beside it.
fn python(bench: &Bench<'_>) -> Result<PathBuf> {
    if let Some(own) = own_python() {
        let own = PathBuf::from(own);
        ensure!(
            own.with_file_name("torchrun").is_file(),
            "there is no torchrun beside {}; {NEEDED}",
            own.display()
        );
        return Ok(own);
    }
    let packages = bench.workspace.root.join(".python");
    ensure!(
        packages.join("torch").is_dir(),
        "there is no Python with torch; {NEEDED}"
    );
    environment(bench, &packages)
}

/// A virtual environment that sees `packages`.
fn environment(bench: &Bench<'_>, packages: &Path) -> Result<PathBuf> {
    let folder = bench.work.join("python");
    let made = Command::new(packages.join("python"))
        .args(["-m", "venv", "--without-pip"])
        .arg(&folder)
        .status()
        .context("cannot run .python/python")?;
    ensure!(
        made.success(),
        "`python -m venv` failed ({made}); install Python's venv module, or {NEEDED}"
    );
    let python = folder.join("bin/python");
    let cannot = || format!("cannot write below {}", folder.display());
    for library in fs::read_dir(folder.join("lib")).with_context(cannot)? {
        let link = library.with_context(cannot)?.path().join("site-packages/m2t.pth");
        fs::write(link, format!("{}\n", packages.display())).with_context(cannot)?;
    }
    let torchrun = folder.join("bin/torchrun");
    let text = format!(
        "#!{}\nfrom torch.distributed.run import main\nmain()\n",
        python.display()
    );
    fs::write(&torchrun, text).with_context(cannot)?;
    fs::set_permissions(&torchrun, Permissions::from_mode(0o755)).with_context(cannot)?;
    Ok(python)
}
