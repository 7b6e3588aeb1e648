//! The command line as it is typed. What it means is worked out in `open`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use m2t_common::recipe::parse_duration;
use m2t_log::LogOptions;

use crate::exit;
use crate::listeners::Http;
use crate::security::{TlsArgs, TokenCommand};

const EXAMPLES: &str = "\
Examples:
  One machine (`m2t train` does both in one command):
    m2t-coordinator --experiment deploy/config/demo.toml --data photographs/train
    m2t-worker --coordinator 127.0.0.1:7117 --devices cpu:4

  Four machines, 32 ranks; it begins on 8 devices too, with equal results:
    m2t-coordinator --experiment 32x_v100_100e --min-devices 8 \\
        --data /data/imagenet/train --output /shared/runs/resnet50 \\
        --listen 10.0.0.1:7117

Who joins, watches or steers shows a token: STATE/security/ has one a role, which
processes of the same user find by themselves; m2t-coordinator token makes others.

The page at http://127.0.0.1:7118/ shows the run; /metrics there is for Prometheus.

The output folder gets metrics.jsonl (a line a step), train_log.txt,
events.jsonl, recipe.json, checkpoints/ and state/ (the journal). The same
command continues a run that was stopped or killed. RUST_LOG=debug tells more.";

/// Coordinates a pretraining run: gathers machines, places ranks on devices, tracks steps and checkpoints.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "m2t-coordinator",
    version,
    long_version = include_str!(concat!(env!("OUT_DIR"), "/version.txt")),
    after_help = exit::HELP,
    after_long_help = format!("{EXAMPLES}\n\n{}", exit::HELP),
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub struct Args {
    /// Something else than a run.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Number of ranks [default: the recipe's]. The recipe's batch is cut into so many; each rank gets batch / world images.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub world: Option<u32>,
    /// A published run by name (`m2t recipe` lists them) or by the path of its published experiment file, or a file ending
    /// in .toml.
    #[arg(long, value_name = "PRESET|FILE.toml", required = true)]
    pub experiment: Option<String>,
    /// The data folder on every machine, with a folder a class in it; a worker's own --data wins.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The output folder, visible to every machine [default: outputs/EXPERIMENT].
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// The address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7117")]
    pub listen: SocketAddr,
    /// The address of the page to watch the run on, which Prometheus finds /metrics at, too; `off` serves none [default:
    /// 127.0.0.1, and the port after that of --listen].
    #[arg(long, value_name = "ADDR|off")]
    pub http: Option<Http>,
    /// Without encryption and without any check of who joins, watches or steers: private networks only. Daemons and m2t need it, too.
    #[arg(long, conflicts_with_all = ["cert", "client_ca"])]
    pub insecure: bool,
    /// Certificates of the user's own.
    #[command(flatten)]
    pub tls: TlsArgs,
    /// The folder that gets copies of the tokens, where the programs of this user look for them [default: M2T_TOKENS, else
    /// ~/.config/m2t/tokens].
    #[arg(long, value_name = "DIR")]
    pub keyring: Option<PathBuf>,
    /// The fewest devices to train on; fewer than --world host several ranks each [default: world].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub min_devices: Option<u32>,
    /// How long to wait for replacements when devices are lost, such as 30s; 0s goes on at once with those that are left, and
    /// grows when others come. The result is the same to the bit.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse_duration)]
    pub replace_wait: Duration,
    /// Where the journal is kept [default: OUTPUT/state].
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Overrides one key of the recipe, with dots for tables (augment.hue=0.05); may be given many times.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// How it writes its log.
    #[command(flatten)]
    pub log: LogOptions,
}

/// What this program does besides a run.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Make, revoke and rotate the tokens of a coordinator.
    #[command(subcommand)]
    Token(TokenCommand),
}
