//! Whether threads of one loader hinder each other: `threads DIR [ROUNDS]` lets one process with two threads and two processes with
//! one thread each load the same folder, in turns, and prints images per second and the ratio of the best of each.
//!
//! A measurement, no test: it means something only on a machine that has nothing else to do. Why the best: what else runs only ever
//! takes speed away.

#![expect(clippy::unwrap_used, reason = "a measurement fails by panicking")]
#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use m2t_common::recipe::{Augment, AugmentOn};
use m2t_common::shard::{Draws, Shards};
use m2t_common::{Rank, Step};
use m2t_data::loader::Known;
use m2t_data::{Index, Loader, LoaderSettings, ViewFormat};

const BATCH: u32 = 32;
const WARM_UP: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(5);

/// Images per second of a loader with so many threads.
fn load(folder: &Path, threads: u32, seed: u64) -> f64 {
    let index = Arc::new(Index::read(folder).unwrap());
    let settings = LoaderSettings {
        shards: Shards {
            seed,
            n_samples: index.n_samples(),
            world: 1,
            batch_per_rank: BATCH,
        },
        index,
        augment: Augment::published(),
        ranks: vec![Rank(0)],
        pixels: 224,
        format: ViewFormat::default(),
        augment_on: AugmentOn::Cpu,
        draws: Draws::default(),
        known: Known::default(),
        n_views: 2,
        first_step: Step(0),
        last_step: u64::MAX,
        threads,
        ahead: 2,
        read_timeout: Duration::from_secs(60),
    };
    let mut loader = Loader::start(settings).unwrap();
    let began = Instant::now();
    while began.elapsed() < WARM_UP {
        loader.next().unwrap();
    }
    let (began, mut n_batches) = (Instant::now(), 0);
    while began.elapsed() < MEASURED {
        loader.next().unwrap();
        n_batches += 1;
    }
    f64::from(n_batches * BATCH) / began.elapsed().as_secs_f64()
}

/// Images per second of so many processes together, each with so many threads.
fn processes(n: u64, folder: &str, threads: u32) -> f64 {
    let start = |seed: u64| {
        let program = std::env::current_exe().unwrap();
        let arguments = ["one", folder, &threads.to_string(), &seed.to_string()];
        let mut command = Command::new(program);
        command.args(arguments).stdout(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<_> = (0..n).map(start).collect();
    let ended = children
        .into_iter()
        .map(|child| child.wait_with_output().unwrap().stdout);
    ended
        .map(|said| String::from_utf8(said).unwrap().trim().parse::<f64>().unwrap())
        .sum()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [one, folder, threads, seed] = &arguments[..]
        && one == "one"
    {
        println!(
            "{}",
            load(Path::new(folder), threads.parse().unwrap(), seed.parse().unwrap())
        );
        return;
    }
    let folder = &arguments[0];
    let rounds: u32 = arguments.get(1).map_or(3, |rounds| rounds.parse().unwrap());
    let mut best = [0f64; 2];
    for round in 1..=rounds {
        let (threads, alone) = (processes(1, folder, 2), processes(2, folder, 1));
        println!(
            "round {round}: two threads {threads:.1} images/s, two processes {alone:.1}, ratio {:.4}",
            threads / alone
        );
        best = [best[0].max(threads), best[1].max(alone)];
    }
    println!(
        "best: {:.1} and {:.1} images/s, ratio {:.4}",
        best[0],
        best[1],
        best[0] / best[1]
    );
}
