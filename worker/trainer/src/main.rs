//! `m2t-trainer`: one device's process, and the tensor work that `m2t` has done beside it.
//!
//! Exit codes: 0 done (finished, drained, or answered); 1 it cannot go on, with the reason in one sentence on standard
//! error; 2 wrong arguments.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::channel;
use std::sync::{Arc, LazyLock};

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};
use m2t_common::evaluation::Settings;
use m2t_common::gpu::GpuName;
use m2t_common::report::News;
use m2t_common::trainer_link::Start;
use m2t_log::{LogOptions, Reader};
use m2t_trainer::check_gpu::check_gpu;
use m2t_trainer::checkpoint;
use m2t_trainer::doctor;
use m2t_trainer::export;
use m2t_trainer::features;
use m2t_trainer::hardware::{self, Company, Hardware};
use m2t_trainer::import;
use m2t_trainer::knn::{self, By, Features, classify};
use m2t_trainer::life::Life;
use m2t_trainer::link::{ByHand, Daemon, Link, Order};
use m2t_trainer::measure::{Question, measure};
use m2t_trainer::membership::Membership;
use signal_hook::consts::{SIGINT, SIGTERM};

const EXAMPLES: &str = "\
m2t-worker starts one of these a device; by hand there is little need to.
Examples:
  m2t-trainer digest outputs/demo
  m2t-trainer knn --features teacher --checkpoint outputs/demo \\
      --train photographs/train --val photographs/val";

const EXIT_CODES: &str = "\
Exit codes: 0 done (finished, drained, or answered); 1 it cannot go on, with
the reason in one sentence; 2 wrong arguments.";

/// Trains one device's ranks, and does the tensor work of m2t.
#[derive(Parser)]
#[command(version, long_version = version(), after_help = EXIT_CODES, after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    log: LogOptions,
}

/// What --version says: of the build, and of the libtorch that runs. The instruction set decides bits.
fn version() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let build = include_str!(concat!(env!("OUT_DIR"), "/version.txt"));
        let libtorch = m2t_torch::facts::libtorch();
        format!(
            "{build}\nlibtorch  {} ({})",
            libtorch.release, libtorch.instruction_set
        )
    });
    &TEXT
}

/// What is judged, and on which images.
#[derive(clap::Args)]
struct Judged {
    /// What is compared.
    #[arg(long)]
    features: Features,
    /// A checkpoint's folder, or a run's output folder for its newest. Its recipe says how images are looked at.
    #[arg(long)]
    checkpoint: PathBuf,
    /// The folder to learn classes from, with a folder a class in it.
    #[arg(long)]
    train: PathBuf,
    /// The folder to classify, with the same classes.
    #[arg(long)]
    val: PathBuf,
    /// Take train and val as one set in so many parts, and hold each part out once.
    #[arg(long, default_value_t = 0, value_name = "N", hide_default_value = true)]
    folds: u32,
    /// Side of what is looked at [default: the recipe's].
    #[arg(long)]
    pixels: Option<u32>,
    /// Threads for decoding and tensors [default: the recipe's threads_per_device].
    #[arg(long)]
    threads: Option<u32>,
}

#[derive(Subcommand)]
enum Command {
    /// Train: under a daemon with --link, or by hand from a file that holds what a daemon would send.
    Run {
        /// The daemon's Unix socket.
        #[arg(long, conflicts_with = "start", required_unless_present = "start")]
        link: Option<PathBuf>,
        /// A JSON file with the whole start: placement, recipe, paths.
        start: Option<PathBuf>,
        /// Train on this GPU, by number or UUID, and not on the CPU.
        #[arg(long, value_name = "NAME")]
        gpu: Option<GpuName>,
    },
    /// Say which GPUs can be trained on, as a line of JSON; m2t-worker asks so when it starts.
    Gpus {
        /// Only these, by number or UUID; it is an error where one is not there.
        names: Vec<GpuName>,
    },
    /// Try the group of one GPU: made, used, aborted, made anew. Prints a line of JSON.
    CheckGpu {
        /// By number or UUID.
        #[arg(long, value_name = "NAME", default_value = "0")]
        gpu: GpuName,
    },
    /// Print the digest of a checkpoint's state, after verifying it.
    Digest {
        /// A checkpoint's folder, or a run's output folder for its newest.
        path: PathBuf,
    },
    /// Classify held-out images by their nearest neighbours in feature space; prints a line of JSON.
    Knn {
        #[command(flatten)]
        of: Judged,
        /// How many neighbours vote.
        #[arg(long, default_value_t = 20)]
        k: u32,
        /// T: a neighbour's vote weighs exp(cosine / T).
        #[arg(long, default_value_t = 0.07)]
        temperature: f64,
    },
    /// Classify held-out images by ridge regression from features to classes, in closed form; prints a line of JSON.
    Probe {
        #[command(flatten)]
        of: Judged,
        /// λ, as a share of the mean variance of a feature [default: 0.01].
        #[arg(long, value_name = "SHARE")]
        ridge: Option<f64>,
    },
    /// Print a line of JSON on libtorch, the driver, GPUs and NCCL of this machine; `m2t doctor` judges it.
    Doctor,
    /// Measure the step on made images; prints a line of JSON, and before it, of several devices, where the first is met.
    Measure(Question),
    /// Measure saving and loading a checkpoint of ResNet-50's whole state; prints a line of JSON.
    MeasureCheckpoint(checkpoint::measure::Question),
    /// Write a checkpoint's encoder, or all of its state, as a file that torchvision and timm load, with a card beside it.
    #[command(after_long_help = export::LOADING)]
    Export(export::Export),
    /// Make a run's folder with a checkpoint out of weights from elsewhere: a .pth or a safetensors file.
    #[command(after_long_help = import::HELP)]
    Import(import::Import),
    /// Write the features of every image of a folder to a safetensors or .npy file.
    #[command(after_long_help = features::HELP)]
    Features(features::Question),
}

/// What its lines are signed with.
const PROGRAM: &str = "m2t-trainer";

fn main() -> ExitCode {
    if let Some(code) = m2t_describe::answer(Arguments::command) {
        return code;
    }
    let arguments = Arguments::parse();
    say_panics_in_a_sentence();
    m2t_log::start(PROGRAM, arguments.log, Reader::Daemon);
    match run(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            m2t_log::last_word(PROGRAM, &format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

#[expect(
    clippy::print_stdout,
    reason = "digests and answers are what the commands are for"
)]
fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Run {
            link: Some(socket),
            gpu,
            ..
        } => under_a_daemon(&socket, gpu.as_ref()),
        Command::Run { start, gpu, .. } => by_hand(&start.unwrap_or_default(), gpu.as_ref()),
        Command::Gpus { names } => {
            println!("{}", serde_json::to_string(&hardware::gpus(&names)?)?);
            Ok(())
        }
        Command::CheckGpu { gpu } => {
            println!("{}", serde_json::to_string(&check_gpu(&gpu)?)?);
            Ok(())
        }
        Command::Digest { path } => {
            let (_, snapshot) = checkpoint::read(&checkpoint::find(&path))?;
            println!("{}", snapshot.digest());
            Ok(())
        }
        Command::Knn { of, k, temperature } => {
            let settings = Settings { k, temperature };
            judge(&of, (By::Knn, settings, None))
        }
        Command::Probe { of, ridge } => {
            let settings = Settings {
                k: 1,
                temperature: 1.0,
            };
            judge(&of, (By::Probe, settings, ridge))
        }
        Command::Doctor => {
            println!("{}", serde_json::to_string(&doctor::look())?);
            Ok(())
        }
        Command::Measure(question) => {
            let answer = measure(&question, |meeting| {
                println!("{}", serde_json::json!({ "meet": meeting }));
            })?;
            println!("{}", serde_json::to_string(&answer)?);
            Ok(())
        }
        Command::MeasureCheckpoint(question) => {
            // As a trainer does.
            m2t_torch::memory::keep()?;
            println!(
                "{}",
                serde_json::to_string(&checkpoint::measure::measure(&question)?)?
            );
            Ok(())
        }
        Command::Import(order) => import(&order),
        Command::Features(question) => {
            m2t_torch::memory::keep()?;
            println!("{}", features::write(&question)?);
            Ok(())
        }
        Command::Export(order) => {
            let exported = export::export(&order)?;
            println!("{}", exported.summary);
            if let Some(misfit) = exported.misfit {
                eprintln!("m2t-trainer: {misfit}");
            }
            Ok(())
        }
    }
}

fn import(order: &import::Import) -> anyhow::Result<()> {
    let imported = import::import(order)?;
    let mut out = std::io::stdout();
    for line in imported.summary {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the answer is what the command is for")]
fn judge(of: &Judged, (by, settings, ridge): (By, Settings, Option<f64>)) -> anyhow::Result<()> {
    let question = knn::Question {
        features: of.features,
        by,
        checkpoint: &of.checkpoint,
        train: &of.train,
        val: &of.val,
        settings,
        ridge,
        pixels: of.pixels,
        threads: of.threads,
        folds: of.folds,
    };
    m2t_torch::memory::keep()?;
    println!("{}", serde_json::to_string(&classify(&question)?)?);
    Ok(())
}

fn under_a_daemon(socket: &std::path::Path, gpu: Option<&GpuName>) -> anyhow::Result<()> {
    die_with_the_daemon()?;
    leave_signals_to_the_daemon()?;
    let hardware = Hardware::named(gpu, Company::Nobody)?;
    let (link, orders) = Daemon::connect(socket, || {
        // How a trainer is told to end; a daemon that dies takes it along by the signal.
        tracing::debug!("the daemon closed the link; this trainer ends");
        std::process::exit(1);
    })?;
    let link: Arc<dyn Link> = Arc::new(link);
    let mut life = Life::new(Arc::clone(&link), hardware);
    life.live(&orders).inspect_err(|error| {
        let reason = format!("{error:#}");
        link.tell(life.generation, News::Failed { reason });
    })
}

fn by_hand(file: &std::path::Path, gpu: Option<&GpuName>) -> anyhow::Result<()> {
    let hardware = Hardware::named(gpu, Company::Nobody)?;
    let text = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let start: Start =
        serde_json::from_slice(&text).with_context(|| format!("{} is no start", file.display()))?;
    anyhow::ensure!(
        start.placement.devices.len() == 1,
        "a trainer run by hand trains alone; place all ranks on one device"
    );
    let (order, orders) = channel();
    let membership = Arc::new(Membership::new(start.generation));
    order.send(Order::Start(Box::new(start), membership))?;
    drop(order);
    Life::new(Arc::new(ByHand), hardware).live(&orders)
}

/// Should the daemon be killed, this process must not go on holding its device. The signal fires when the daemon's spawning
/// *thread* ends; the daemon's lives as long as it does. A daemon that died before this line has left another parent.
fn die_with_the_daemon() -> anyhow::Result<()> {
    let parent = rustix::process::getppid();
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .context("cannot ask to end with the daemon")?;
    anyhow::ensure!(rustix::process::getppid() == parent, "the daemon is gone");
    Ok(())
}

/// SIGTERM and SIGINT are the daemon's: it drains, and closes the link to end this process. Batch systems and service managers send them
/// to every process of a machine's part at once, and a trainer that went would take its step with it.
fn leave_signals_to_the_daemon() -> anyhow::Result<()> {
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register(signal, Arc::default()).context("cannot leave signals to the daemon")?;
    }
    Ok(())
}

/// One sentence instead of a trace; RUST_BACKTRACE=1 gives both.
fn say_panics_in_a_sentence() {
    let standard = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if std::env::var_os("RUST_BACKTRACE").is_some() {
            standard(info);
        }
        let place = info.location().map_or_else(String::new, |place| {
            format!(" ({}:{})", place.file(), place.line())
        });
        let what = info
            .payload_as_str()
            .unwrap_or("no message")
            .lines()
            .next()
            .unwrap_or_default();
        m2t_log::last_word(PROGRAM, &format!("internal error: {what}{place}"));
    }));
}
