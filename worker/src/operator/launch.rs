//! `m2t launch`: a run on many hosts from one terminal, over ssh. The coordinator runs on the first host, a daemon on each.
//!
//! ```text
//!  m2t launch ── ssh ──► m2t launch-seat        the far end: passes orders and output on; may be cut off at any moment
//!                            │ finds or starts
//!                        m2t launch-keep        the keeper: of its own session; runs the program, starts it again when killed
//!                            │
//!                        m2t-coordinator, or m2t-worker
//! ```
//! This file reads the options and carries out what the crew decides.
//!
//! Why the program does not hang on its ssh: connections break more often than machines, and a run must not lose a machine, or
//! its coordinator, to a laptop's lid. What breaks is made again and hears what it missed; the launcher itself may be
//! killed, and the same command finds the run. In return the programs are ended explicitly, always: by Ctrl-C, or with the run.

mod crew;
mod folder;
mod hosts;
mod keeper;
mod link;
mod plan;
mod reach;
mod seat;
mod wire;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;

pub use keeper::keep;
pub use seat::sit;

use super::{Refused, until};
use crew::{Act, Crew};
use link::Link;
use plan::Plan;

/// The subcommands of the far end, which nobody types.
pub const FAR_END: &str = "launch-seat";
/// The keeper's.
pub const KEEPER: &str = "launch-keep";
/// Where a daemon looks for its token.
const TOKEN_VARIABLE: &str = "M2T_TOKEN";

const EXAMPLES: &str = "\
HOSTS is a file with a host a line, as ssh knows it, and what its daemon is given:
  # comments, and empty lines
  node-1       gpu:8
  node-2       gpu:8 --data /fast/packed
  me@10.0.0.3  0-3   --name third

Examples:
  m2t launch hosts.txt -f 32x_v100_100e --data /data/imagenet/train --output /shared/runs/resnet50
  m2t launch hosts.txt -f /shared/my.toml --data /data/train --output /shared/runs/my \\
      --ssh \"ssh -i /keys/cluster -p 2222\" --programs /opt/m2t/bin --min-devices 8

m2t must lie at the same path on all hosts, and ssh must reach them without a question. The coordinator runs on the
first; an experiment file and the output folder must be visible there. Each line of output begins with its machine.

A connection that breaks ends nothing: it is made again, and what was said meanwhile follows. A program that is killed is
started again. When this command is killed, or its terminal closes, the run goes on, and the same command finds it.

The first Ctrl-C stops the run at a step that is checkpointed, everywhere; the same command continues there. The second
ends all at once.

Exit codes: 0 the run finished; 1 this command was cut off, and the run goes on; 2 refused: a host, a program or an
option; 3 the run is lost and cannot go on; 4 stopped by hand.";

/// What `m2t launch` is asked.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct LaunchOptions {
    /// The file that names the hosts.
    hosts: PathBuf,
    /// A published run by name (`m2t recipe` lists them), or an experiment file ending in .toml, which lies on the first host.
    #[arg(short = 'f', long, value_name = "PRESET|FILE.toml")]
    experiment: String,
    /// The data folder on every host, but for those whose line says otherwise.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The output folder, visible to every host.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Number of ranks [default: the recipe's].
    #[arg(long, value_name = "N")]
    world: Option<u32>,
    /// The fewest devices to train on [default: as many as ranks].
    #[arg(long, value_name = "N")]
    min_devices: Option<u32>,
    /// Overrides one key of the recipe, with dots for tables; may be given many times.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Where the coordinator listens. With a port of its own choice (0) it is not found again after it was killed.
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:7117")]
    listen: SocketAddr,
    /// The coordinator's page [default: on its loopback, the port after that of --listen].
    #[arg(long, value_name = "ADDR|off")]
    http: Option<String>,
    /// How the daemons reach the coordinator's host [default: its name in HOSTS, or the address of --listen].
    #[arg(long, value_name = "HOST")]
    address: Option<String>,
    /// Run the coordinator on this machine, not on the first host.
    #[arg(long)]
    here: bool,
    /// Without encryption and without tokens, coordinator and daemons alike: private networks only.
    #[arg(long)]
    insecure: bool,
    /// ssh, with options of its own.
    #[arg(long, value_name = "COMMAND", default_value = "ssh")]
    ssh: String,
    /// The folder of the programs on the hosts [default: where this one lies here].
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

/// Launches a run, to its end.
///
/// # Errors
/// [`Refused`] where what was typed does not say what to do.
pub fn launch(options: LaunchOptions) -> anyhow::Result<ExitCode> {
    let path = options.hosts.clone();
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Refused::new(format!("cannot read the hosts in {}: {error}", path.display())))?;
    let hosts =
        hosts::read(&text).map_err(|problem| Refused::new(format!("{}: {problem}", path.display())))?;
    let plan = Plan::new(options, hosts)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    let code = runtime.block_on(run(plan))?;
    Ok(ExitCode::from(code))
}

async fn run(plan: Plan) -> anyhow::Result<u8> {
    let mut signals = Signals::new()?;
    let (news, mut inbox) = mpsc::unbounded_channel();
    let open = |number| {
        let way = plan.way(number)?;
        anyhow::Ok(Link::open(number, way, news.clone()))
    };
    let links = (0..=plan.hosts.len())
        .map(open)
        .collect::<anyhow::Result<Vec<_>>>()?;
    let mut crew = Crew::new(plan);
    loop {
        let acts = tokio::select! {
            Some((number, what)) = inbox.recv() => crew.take(Instant::now(), number, what),
            () = until(crew.deadline()) => crew.tick(Instant::now()),
            told = signals.next() => match told {
                Told::Stop => crew.interrupt(Instant::now()),
                // The terminal is gone; nothing can be said on it.
                Told::Leave => return Ok(1),
            },
        };
        for act in acts {
            match act {
                Act::Say(line) => eprintln!("{line}"),
                Act::Ask(number, ask) => links[number].ask(ask),
                Act::Finish(code) => return Ok(code),
            }
        }
    }
}

/// What a signal says.
enum Told {
    /// End the run.
    Stop,
    /// Leave it alone.
    Leave,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::Stop,
            _ = self.interrupt.recv() => Told::Stop,
            _ = self.hang_up.recv() => Told::Leave,
        }
    }
}
