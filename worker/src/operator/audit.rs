//! `m2t audit`: proves from a run's output folder that every position of every epoch counted exactly once.
//!
//! It asks no coordinator and trusts no trainer: the plan is made anew from the recipe, the ledger is laid out on it position
//! by position, and the metrics must tell of the same steps by the same generations. Where the run kept its full ledger, every sample
//! that a rank said it consumed is compared, too.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use m2t_common::ledger::{
    Account, Audit, LEDGER_FILE, Ledger, SAMPLES_FILE, SampleAudit, SampleCheck, SampleLine, audit,
};
use m2t_common::shard::Shards;
use m2t_common::{Recipe, Step};
use serde::Deserialize;
use serde_json::json;

use super::Refused;

/// Which run.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct Options {
    /// The run's output folder.
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// One line of JSON instead of text.
    #[arg(long)]
    json: bool,
}

const EXIT_CODES: &str = "\
What counts is what a verified checkpoint holds or a regroup went on from; steps since are not audited yet.

Exit codes: 0 every position counted once; 1 one did not, which is named; 2 there is no run to audit.";

/// One line of the metrics, as far as it matters.
#[derive(Deserialize)]
struct Line {
    step: u64,
    generation: u64,
}

/// Audits, and writes what was found to `out`.
///
/// # Errors
/// [`Refused`] where the folder holds no run; a fault of the run is no error but exit code 1.
pub fn run(options: &Options, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let recipe: Recipe = read(&options.run, "recipe.json")?;
    let account: Account = read(&options.run, LEDGER_FILE)?;
    let plan = recipe
        .plan(account.n_samples)
        .map_err(|error| Refused::new(format!("{}: {error}", options.run.display())))?;
    let found = audit(&account.ledger, &plan.shards).map_err(|fault| fault.to_string());
    let found = found.and_then(|proof| {
        compare(&options.run.join("metrics.jsonl"), &account.ledger)?;
        let samples = compare_samples(
            &options.run.join(SAMPLES_FILE),
            (&plan.shards, account.ledger.end()),
        )?;
        Ok((proof, samples))
    });
    match &found {
        Ok((proof, samples)) if options.json => {
            let replaced = &account.replaced;
            writeln!(
                out,
                "{}",
                json!({ "clean": true, "audit": proof, "samples": samples, "replaced": replaced })
            )?;
        }
        Err(fault) if options.json => writeln!(out, "{}", json!({ "clean": false, "fault": fault }))?,
        Ok((proof, samples)) => {
            tell(proof, &account, plan.schedule.total_steps, out)?;
            if let Some(samples) = samples {
                tell_samples(*samples, out)?;
            }
        }
        Err(fault) => writeln!(out, "NOT CLEAN: {fault}")?,
    }
    Ok(if found.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn tell(proof: &Audit, account: &Account, total_steps: u64, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "clean: {proof}")?;
    if proof.steps < total_steps {
        writeln!(out, "the run goes on to step {total_steps}")?;
    }
    for span in &account.ledger.spans {
        let n_devices = span.placement.devices.len();
        let (generation, from, upto) = (span.generation, span.from, span.upto);
        writeln!(
            out,
            "generation {generation}: steps {from} to {upto} on {n_devices} devices"
        )?;
    }
    for file in &account.replaced {
        let (sample, by) = (file.sample.0, file.by.0);
        writeln!(
            out,
            "replaced: {} (sample {sample}) by sample {by}: {}",
            file.path, file.reason
        )?;
    }
    Ok(())
}

fn tell_samples(samples: SampleAudit, out: &mut impl Write) -> std::io::Result<()> {
    let SampleAudit { steps, untold } = samples;
    writeln!(
        out,
        "samples of {steps} steps: each rank consumed those of the plan"
    )?;
    if untold > 0 {
        writeln!(
            out,
            "of {untold} ranks in a step nobody told: their device was lost with its last words"
        )?;
    }
    Ok(())
}

/// What each rank said it consumed is what the plan has, where the run kept that.
fn compare_samples(path: &Path, (shards, upto): (&Shards, Step)) -> Result<Option<SampleAudit>, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    let mut check = SampleCheck::new(shards);
    for (number, line) in (1..).zip(BufReader::new(file).lines()) {
        let line = line.map_err(|error| format!("{}: {error}", path.display()))?;
        let line: SampleLine = serde_json::from_str(&line)
            .map_err(|error| format!("{}, line {number}: {error}", path.display()))?;
        check.line(&line).map_err(|fault| fault.to_string())?;
    }
    check.end(upto).map(Some).map_err(|fault| fault.to_string())
}

/// The metrics tell of each step of the ledger once, in order, by the generation that did it.
fn compare(metrics: &Path, ledger: &Ledger) -> Result<(), String> {
    let text = fs::read_to_string(metrics).map_err(|error| format!("{}: {error}", metrics.display()))?;
    let mut told = 0;
    for line in text.lines() {
        let Line { step, generation } =
            serde_json::from_str(line).map_err(|error| format!("{}: {error}", metrics.display()))?;
        if step <= told {
            return Err(format!("the metrics tell of step {step} after step {told}"));
        }
        told = step;
        let span = ledger
            .spans
            .iter()
            .find(|span| span.from.0 < step && step <= span.upto.0);
        if let Some(span) = span
            && span.generation.0 != generation
        {
            let ours = span.generation;
            return Err(format!(
                "step {step} is generation {generation}'s in the metrics and {ours}'s in the ledger"
            ));
        }
    }
    if Step(told) < ledger.end() {
        return Err(format!(
            "the metrics end at step {told} and the ledger at {}",
            ledger.end()
        ));
    }
    Ok(())
}

fn read<T: serde::de::DeserializeOwned>(run: &Path, file: &str) -> Result<T, Refused> {
    let path = run.join(file);
    let bytes = fs::read(&path).map_err(|error| {
        Refused::new(format!(
            "{} is no output folder of a run that has begun: {file}: {error}",
            run.display()
        ))
    })?;
    serde_json::from_slice(&bytes).map_err(|error| {
        Refused::new(format!(
            "{} is not as this version writes it: {error}",
            path.display()
        ))
    })
}
