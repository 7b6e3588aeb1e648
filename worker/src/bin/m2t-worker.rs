//! `m2t-worker`, the daemon of a machine: reads its options, runs the daemon, says how it ended.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser};
use m2t_common::MachineName;
use m2t_log::{LogOptions, Reader};
use m2t_worker::contact::{AccessArgs, Contact, CoordinatorAddress};
use m2t_worker::daemon::{self, Settings};
use m2t_worker::devices::Devices;
use m2t_worker::ending::{EXIT_CODES, Ending};
use m2t_worker::supervisor::Identity;
use rustix::rand::{GetRandomFlags, getrandom};

const EXAMPLES: &str = "\
Examples:
  m2t-worker --coordinator 10.0.0.1:7117 --devices cpu:8
  m2t-worker --coordinator 127.0.0.1:7117 --name second --data /scratch/train

It waits for the coordinator, reconnects when the connection breaks, and ends
with the run. SIGTERM or Ctrl-C takes this machine out of the run at a step
that is checkpointed; the others go on. RUST_LOG=debug tells more.";

/// The daemon of a machine: joins a run and supervises one trainer a device.
#[derive(Parser)]
#[command(
    name = "m2t-worker",
    version,
    long_version = include_str!(concat!(env!("OUT_DIR"), "/version.txt")),
    after_help = EXIT_CODES,
    after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}")
)]
struct Options {
    /// Where the coordinator listens.
    #[arg(long, value_name = "HOST:PORT")]
    coordinator: CoordinatorAddress,
    /// What to train on: shares of the CPU (cpu:2), or GPUs (gpu:8, gpu:0,2, 0-7, gpu:UUID).
    #[arg(long, default_value = "cpu:1", value_name = "cpu:N|LIST")]
    devices: Devices,
    /// The machine's name in the run [default: its host name].
    #[arg(long, value_name = "NAME")]
    name: Option<MachineName>,
    /// The data folder on this machine, where it differs from the coordinator's --data.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The trainer's program [default: m2t-trainer beside this one].
    #[arg(long, value_name = "PATH")]
    trainer: Option<PathBuf>,
    #[command(flatten)]
    access: AccessArgs,
    /// How it writes its log, and how its trainers do.
    #[command(flatten)]
    log: LogOptions,
}

fn main() -> ExitCode {
    if let Some(code) = m2t_describe::answer(Options::command) {
        return code;
    }
    let options = Options::parse();
    m2t_log::start("m2t-worker", options.log, Reader::Person);
    let ending = run(options).unwrap_or_else(|error| Ending::Refused {
        reason: format!("{error:#}"),
    });
    match &ending {
        Ending::Finished => tracing::info!("the run finished"),
        Ending::Refused { reason } => tracing::error!("refused: {reason}"),
        Ending::Lost => tracing::error!("the run is lost; see the coordinator's log"),
        Ending::Stopped => tracing::info!("stopped; the same command continues the run"),
    }
    ExitCode::from(ending.code())
}

fn run(options: Options) -> anyhow::Result<Ending> {
    m2t_worker::operator::follow_parent()?;
    let coordinator = Contact::new(options.coordinator, &options.access)
        .map_err(|error| anyhow::anyhow!(m2t_worker::ending::sentence(&error)))?;
    let trainer = match options.trainer {
        Some(trainer) => trainer,
        None => m2t_worker::operator::beside("m2t-trainer")?,
    };
    let present = m2t_worker::gpus::look(&options.devices, &trainer)?;
    let identity = Identity {
        machine: options.name.map_or_else(host_name, Ok)?,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instance: draw_instance()?,
        devices: present.facts,
        data: options
            .data
            .map(std::path::absolute)
            .transpose()
            .context("cannot read --data as a path")?,
    };
    m2t_log::stand("machine", identity.machine.to_string());
    tracing::info!(
        "machine {} with {} devices; coordinator at {}",
        identity.machine,
        identity.devices.len(),
        coordinator
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the daemon's event loop")?;
    let ending = runtime.block_on(daemon::run(Settings {
        coordinator,
        identity,
        gpus: present.gpus,
        trainer,
    }))?;
    // A survey of a slow disk may still run; it must not hold up the end.
    runtime.shutdown_background();
    Ok(ending)
}

fn host_name() -> anyhow::Result<MachineName> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Ok(MachineName::try_from(name)?)
}

fn draw_instance() -> anyhow::Result<u64> {
    let mut bytes = [0; 8];
    getrandom(&mut bytes, GetRandomFlags::empty()).context("the kernel gave no random number")?;
    Ok(u64::from_ne_bytes(bytes))
}
