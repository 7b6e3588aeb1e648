//! `m2t train`: the published way of working. One command a machine runs the coordinator and this machine's daemon; with
//! `MACHINE` and `MACHINE_TOTAL` set as published, machine 0 leads and the others join it.
//!
//! This file decides what is to be run, from options and environment alone; `children` runs it. It trains nothing and
//! coordinates nothing itself: everything it can do is done by the two programs it starts, typed out.
//!
//! Why the world is the recipe's and not the number of devices, as published: a rank is mathematics. `-d cpu:2` runs the same
//! experiment as `-d 0-7`, with four ranks on each device, to the same bits.

mod children;
pub mod eval;

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Context;
use clap::Args;
use m2t_common::MachineName;
use m2t_common::recipe::load;

use super::{Refused, beside};
use crate::contact::{AccessArgs, CoordinatorAddress};
use crate::devices::Devices;
use crate::gpus;

/// The port that `m2t status` asks unless told otherwise.
const USUAL_PORT: u16 = 7117;

/// Where the published scripts look for the training images.
const USUAL_DATA: &str = "data/imagenet_train";

const EXAMPLES: &str = "\
Examples:
  m2t train -b 256 -d 0-7 --experiment-name my_run -f 8x_2080ti_100e
  m2t train -d cpu:2 --experiment-name try -f my.toml --data photographs/train

  Four machines, as published; on the first, then on the others with MACHINE=1, 2 and 3:
    MACHINE=0 MACHINE_TOTAL=4 m2t train -b 4096 -f 32x_v100_100e
    MACHINE=1 MACHINE_TOTAL=4 m2t train -b 4096 -f 32x_v100_100e --coordinator FIRST:7117 --token-file FILE
  where FILE is the first machine's outputs/32x_v100_100e/state/security/worker.token, or a copy.

The first Ctrl-C stops at a step that is checkpointed; the same command continues there. The second ends at once.

Exit codes: 0 the run finished; 2 refused input; 3 the run is lost and cannot go on; 4 stopped by hand.";

/// What `m2t train` is asked.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct TrainOptions {
    /// A published run by name (`m2t recipe` lists them), or an experiment file ending in .toml.
    #[arg(
        short = 'f',
        long = "experiment",
        visible_alias = "exp-file",
        alias = "exp_file",
        value_name = "PRESET|FILE.toml"
    )]
    experiment: String,
    #[command(flatten)]
    shared: Shared,
}

/// What is asked of a run on this machine, whatever it trains.
#[derive(Args, Clone, Debug)]
pub struct Shared {
    /// Images of a step over all machines [default: the recipe's].
    #[arg(short, long = "batch-size", alias = "batch_size", value_name = "N")]
    batch: Option<u64>,
    /// What to train on here: shares of the CPU (cpu:2), or GPUs (gpu:8, gpu:0,2, 0-7, gpu:UUID).
    #[arg(short, long, default_value = "cpu:1", value_name = "cpu:N|LIST")]
    devices: Devices,
    /// The output goes to outputs/NAME [default: the experiment's name].
    #[arg(long, visible_alias = "expn", alias = "experiment_name", value_name = "NAME")]
    experiment_name: Option<String>,
    /// The data folder.
    #[arg(long, value_name = "DIR", default_value = USUAL_DATA)]
    data: PathBuf,
    /// Number of ranks [default: the recipe's]. Fewer devices host several ranks each, with equal results.
    #[arg(long, value_name = "N")]
    world: Option<u32>,
    /// The fewest devices to train on, over all machines [default: as many as were named].
    #[arg(long, value_name = "N")]
    min_devices: Option<u32>,
    /// Overrides one key of the recipe, with dots for tables; may be given many times.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Where machine 0 listens [default: 127.0.0.1:7117, or a free port if that is taken; 0.0.0.0:7117 for several machines].
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    #[command(flatten)]
    access: AccessArgs,
    /// Where machine 0 listens, for the machines from 1 on.
    #[arg(long, value_name = "HOST:PORT")]
    coordinator: Option<CoordinatorAddress>,
    /// This machine's name in the run [default: its host name].
    #[arg(long)]
    name: Option<MachineName>,
}

/// What is to be run on this machine.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// Coordinator and daemon.
    Lead(Lead),
    /// A daemon alone.
    Follow { daemon: Vec<OsString> },
}

/// Coordinator and daemon, as they are to be started.
#[derive(Debug, PartialEq, Eq)]
struct Lead {
    coordinator: Vec<OsString>,
    /// All but the coordinator's address, which the coordinator tells.
    daemon: Vec<OsString>,
    company: Company,
    /// What lets this program see the status.
    access: AccessArgs,
}

/// Who else trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Company {
    /// Nobody: without this machine's daemon there is no run.
    Alone,
    /// Other machines, which go on without this one's.
    Others,
}

/// This machine's place among several, as the published scripts are told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seat {
    machine: u32,
    of: u32,
}

/// The published spelling of an option that no parser of today takes: a long name after one hyphen.
pub fn published_spelling(argument: OsString) -> OsString {
    match argument.to_str() {
        Some("-expn") => "--expn".into(),
        Some(text) if text.starts_with("-expn=") => format!("-{text}").into(),
        _ => argument,
    }
}

/// Trains on this machine, alone or with others.
///
/// # Errors
/// [`Refused`] where options or environment do not say what to do.
pub fn train(options: &TrainOptions) -> anyhow::Result<ExitCode> {
    let variable = |name: &str| std::env::var_os(name);
    let seat = Seat::read(variable("MACHINE"), variable("MACHINE_TOTAL"))?;
    match options.part(seat)? {
        Part::Lead(lead) => {
            // What the daemon would find out once the coordinator stands.
            gpus::look(&options.shared.devices, &beside("m2t-trainer")?)
                .map_err(|error| Refused::new(error.to_string()))?;
            children::lead(lead)
        }
        Part::Follow { daemon } => {
            let program = beside("m2t-worker")?;
            // Returns only if it could not be started.
            let error = Command::new(&program).args(daemon).exec();
            Err(error).with_context(|| format!("cannot run {}", program.display()))
        }
    }
}

impl Seat {
    fn read(machine: Option<OsString>, total: Option<OsString>) -> Result<Self, Refused> {
        let number = |name: &str, value: Option<OsString>, usual: u32| {
            match value {
            None => Ok(usual),
            Some(value) => value
                .to_str()
                .and_then(|text| text.trim().parse().ok())
                .ok_or_else(|| {
                    Refused::new(format!(
                        "{name}={} is not a whole number; set MACHINE to this machine's number, from 0, and MACHINE_TOTAL to how many there are",
                        value.display()
                    ))
                }),
        }
        };
        let (machine, of) = (number("MACHINE", machine, 0)?, number("MACHINE_TOTAL", total, 1)?);
        if machine >= of {
            return Err(Refused::new(format!(
                "MACHINE={machine} is not one of MACHINE_TOTAL={of} machines; they are numbered from 0 to {}",
                of.saturating_sub(1)
            )));
        }
        Ok(Self { machine, of })
    }
}

impl TrainOptions {
    /// What to run on this seat.
    fn part(&self, seat: Seat) -> Result<Part, Refused> {
        let n_devices = self.shared.devices.count();
        if seat.machine > 0 {
            return self.follow(seat);
        }
        if let Some(coordinator) = &self.shared.coordinator {
            return Err(Refused::new(format!(
                "--coordinator {coordinator} is for the machines from 1 on, and this is machine 0, which coordinates: set MACHINE, or leave --coordinator out"
            )));
        }
        if !self.shared.data.is_dir() {
            return Err(Refused::new(format!(
                "the data folder {} does not exist here; put ImageNet's training images there, one folder a class, or name another with --data",
                self.shared.data.display()
            )));
        }
        let read = |path: &Path| std::fs::read_to_string(path);
        let resolved = load(&self.experiment, &self.sets(), self.shared.world, read);
        let recipe = resolved.map_err(|error| Refused::new(error.to_string()))?.recipe;
        let n_devices = u32::try_from(n_devices)
            .unwrap_or(u32::MAX)
            .saturating_mul(seat.of);
        let min_devices = self
            .shared
            .min_devices
            .unwrap_or(n_devices.min(recipe.training.world));
        let name = self.shared.experiment_name.as_deref().unwrap_or(&recipe.name);
        let mut coordinator: Vec<OsString> = vec!["--experiment".into(), self.experiment.clone().into()];
        coordinator.extend(["--data".into(), self.shared.data.clone().into()]);
        coordinator.extend(["--output".into(), output(name)?.into()]);
        coordinator.extend(["--listen".into(), self.listen_on(seat)?.to_string().into()]);
        coordinator.extend(["--min-devices".into(), min_devices.to_string().into()]);
        for set in self.sets() {
            coordinator.extend(["--set".into(), set.into()]);
        }
        if let Some(world) = self.shared.world {
            coordinator.extend(["--world".into(), world.to_string().into()]);
        }
        let mut daemon = self.daemon(seat);
        let folder = output(name)?.join("state").join("security");
        let access = if self.shared.access.insecure {
            coordinator.push("--insecure".into());
            daemon.push("--insecure".into());
            AccessArgs {
                insecure: true,
                ..AccessArgs::default()
            }
        } else {
            daemon.extend(["--token-file".into(), folder.join("worker.token").into()]);
            AccessArgs {
                token_file: Some(folder.join("operator.token")),
                ..AccessArgs::default()
            }
        };
        let company = if seat.of > 1 {
            Company::Others
        } else {
            Company::Alone
        };
        Ok(Part::Lead(Lead {
            coordinator,
            daemon,
            company,
            access,
        }))
    }

    fn follow(&self, seat: Seat) -> Result<Part, Refused> {
        let Some(coordinator) = &self.shared.coordinator else {
            let Seat { machine, of } = seat;
            return Err(Refused::new(format!(
                "machine {machine} of {of} must know where machine 0 listens: add --coordinator HOST:PORT, which machine 0 prints when it starts"
            )));
        };
        let mut daemon = self.daemon(seat);
        daemon.extend(["--coordinator".into(), coordinator.to_string().into()]);
        daemon.extend(self.shared.access.typed());
        if self.shared.data != Path::new(USUAL_DATA) || self.shared.data.is_dir() {
            daemon.extend(["--data".into(), self.shared.data.clone().into()]);
        }
        Ok(Part::Follow { daemon })
    }

    /// The recipe's overrides; `-b` is one.
    fn sets(&self) -> Vec<String> {
        let batch = self.shared.batch.map(|batch| format!("batch={batch}"));
        self.shared.set.iter().cloned().chain(batch).collect()
    }

    /// The daemon's options, but for the coordinator's address.
    fn daemon(&self, seat: Seat) -> Vec<OsString> {
        let mut daemon: Vec<OsString> = vec!["--devices".into(), self.shared.devices.to_string().into()];
        if let Some(name) = &self.shared.name {
            daemon.extend(["--name".into(), name.to_string().into()]);
        } else if seat.of > 1 {
            // Machines that were cloned have one host name; their numbers differ.
            let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
            daemon.extend(["--name".into(), format!("{host}-{}", seat.machine).into()]);
        }
        daemon
    }

    fn listen_on(&self, seat: Seat) -> Result<SocketAddr, Refused> {
        if let Some(listen) = self.shared.listen {
            return Ok(listen);
        }
        if seat.of > 1 {
            return Ok((Ipv4Addr::UNSPECIFIED, USUAL_PORT).into());
        }
        let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, USUAL_PORT));
        // Another run on this machine has it: a free one will do, and it is printed.
        let port = TcpListener::bind(usual).map_or(0, |_| USUAL_PORT);
        Ok((Ipv4Addr::LOCALHOST, port).into())
    }
}

/// The output folder of an experiment's name, as published.
fn output(name: &str) -> Result<PathBuf, Refused> {
    let is_plain = name
        .chars()
        .all(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '+' | ' '));
    if name.is_empty() || name.starts_with('.') || !is_plain {
        return Err(Refused::new(format!(
            "--experiment-name {name:?} is to be a folder's name below outputs/; use letters, digits, dots, hyphens and underscores"
        )));
    }
    Ok(Path::new("outputs").join(name))
}

#[cfg(test)]
mod tests;
