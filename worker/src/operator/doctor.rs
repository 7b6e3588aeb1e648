//! `m2t doctor`: what is wrong with this machine, before a run finds out.
//!
//! `look` sees what there is, `check` says what is to be thought of it, `finding` writes it out. It mends nothing, and of libtorch,
//! GPUs and NCCL it asks `m2t-trainer doctor`.

mod check;
mod estimate;
mod facts;
mod finding;
mod look;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use m2t_common::recipe::load;

use self::facts::Wanted;
use self::look::Places;
use super::Refused;
use crate::contact::{AccessArgs, Contact, CoordinatorAddress};
use crate::devices::Devices;

/// What to look at.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = super::help::DOCTOR)]
pub struct Options {
    /// The data folder, or a pack: is it one, and do its files decode?
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The run's output folder: can it be written, how fast, is there room? A file of 64 MiB is written there and removed.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Where the coordinator listens: does it answer, how far is it, is its clock ours?
    #[arg(long, value_name = "HOST:PORT")]
    coordinator: Option<CoordinatorAddress>,
    #[command(flatten)]
    access: AccessArgs,
    /// What the machine is to train on: shares of the CPU (cpu:2), or GPUs (gpu:8, gpu:0,2, 0-7, gpu:UUID).
    #[arg(short, long, default_value = "cpu:1", value_name = "cpu:N|LIST")]
    devices: Devices,
    /// A published run, or an experiment file: what memory, threads and room on disk are measured by.
    #[arg(
        short = 'f',
        long,
        default_value = "8x_v100_100e",
        value_name = "PRESET|FILE.toml"
    )]
    experiment: String,
    /// Number of ranks [default: the recipe's].
    #[arg(long, value_name = "N")]
    world: Option<u32>,
    /// One line of JSON instead of a line a check.
    #[arg(long)]
    json: bool,
}

/// Looks at the machine, and writes what was found to `out`.
///
/// # Errors
/// [`Refused`] where the recipe is; whatever is wrong with the machine is no error, but exit code 1.
pub fn run(options: &Options, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let recipe = load(&options.experiment, &[], options.world, |path| {
        std::fs::read_to_string(path)
    })
    .map_err(|error| Refused::new(crate::ending::sentence(&error)))?
    .recipe;
    let wanted = Wanted {
        devices: options.devices.clone(),
        recipe,
    };
    let contact = |address: &CoordinatorAddress| Contact::new(address.clone(), &options.access);
    let coordinator = options.coordinator.as_ref().map(contact).transpose();
    let coordinator = coordinator.map_err(|error| Refused::new(crate::ending::sentence(&error)))?;
    let facts = look::everywhere(&Places {
        data: options.data.as_deref(),
        output: options.output.as_deref(),
        coordinator: coordinator.as_ref(),
    });
    let findings = check::all(&facts, &wanted);
    if options.json {
        finding::write_json(&findings, out)?;
    } else {
        finding::write_text(&findings, out)?;
    }
    Ok(if finding::any_bad(&findings) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

#[cfg(test)]
mod tests;
