//! The command line as it is typed. What it means is worked out in `open`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;

use crate::exit;

/// Coordinates a pretraining run: gathers machines, places ranks on devices, tracks steps and checkpoints.
#[derive(Clone, Debug, Parser)]
#[command(name = "m2t-coordinator", version, long_version = include_str!(concat!(env!("OUT_DIR"), "/version.txt")), after_help = exit::HELP)]
pub struct Args {
    /// Number of ranks; the recipe's unless given. Batch is global: each rank gets batch / world images.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub world: Option<u32>,
    /// A published run by name, or an experiment file ending in .toml.
    #[arg(long, value_name = "PRESET|FILE.toml")]
    pub experiment: String,
    /// The data folder on every machine; a worker's own --data wins.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The output folder, visible to every machine [default: outputs/EXPERIMENT].
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// The address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7117")]
    pub listen: SocketAddr,
    /// Listen beyond loopback, without encryption and without any check of who attaches: private networks only.
    #[arg(long)]
    pub insecure: bool,
    /// The fewest devices to train on; fewer than --world host several ranks each [default: world].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub min_devices: Option<u32>,
    /// Where the journal is kept [default: OUTPUT/state].
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Overrides one key of the recipe, with dots for tables; may be given many times.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}
