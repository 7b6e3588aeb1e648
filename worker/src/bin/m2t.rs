//! `m2t`, the operator tool: reads its options and calls what does the work.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, CommandFactory, Parser, Subcommand};
use m2t_data::synth::{Synth, SynthError, generate};
use m2t_worker::operator::orders::{self, Order};
use m2t_worker::operator::{
    Refused, Whom, audit, data, describe, doctor, help, launch, metrics, recipe, report, run_trainer, status,
    train, watch,
};

/// Trains encoders without labels (Momentum² Teacher), watches runs, works with their recipes, data and checkpoints.
#[derive(Parser)]
#[command(
    name = "m2t",
    version,
    long_version = include_str!(concat!(env!("OUT_DIR"), "/version.txt")),
    after_help = help::EXIT_CODES,
    after_long_help = help::M2T
)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train on this machine, alone or with others: the coordinator and a daemon in one command.
    Train(train::TrainOptions),
    /// Evaluate an encoder as published: train a linear head on it, on this machine, alone or with others.
    Eval(train::eval::EvalOptions),
    /// Train on many hosts from here, over ssh: the coordinator on the first, a daemon on each.
    Launch(launch::LaunchOptions),
    /// The far end of `launch`, which it runs itself.
    #[command(name = launch::FAR_END, hide = true)]
    LaunchSeat,
    /// What the far end starts programs with.
    #[command(name = launch::KEEPER, hide = true)]
    LaunchKeep,
    /// Show where a run stands.
    Status(StatusOptions),
    #[command(flatten)]
    Order(Order),
    /// Look whether this machine is fit to train, and print what to mend.
    Doctor(doctor::Options),
    /// Print a recipe with the source of each value; without a name, list the published runs.
    Recipe(recipe::Options),
    /// Show one run or several, side by side, on a page with plots that needs no network.
    Report(report::Options),
    /// Hand the numbers of runs on, to TensorBoard or as CSV.
    Metrics(metrics::Options),
    /// Prove from a run's output folder that every sample counted exactly once.
    Audit(audit::Options),
    /// Print what a shell needs to complete the programs' options.
    Completions(describe::CompletionsOptions),
    /// Write the programs' man pages to a folder.
    Man(describe::ManOptions),
    /// Make, arrange, check and pack data sets.
    #[command(subcommand)]
    Data(DataCommand),
    /// Look into a checkpoint.
    #[command(subcommand)]
    Checkpoint(CheckpointCommand),
    /// Classify held-out images by their nearest neighbours in feature space (m2t-trainer knn).
    #[command(disable_help_flag = true)]
    Knn {
        /// Passed on to `m2t-trainer knn`; `--help` shows them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Classify held-out images by ridge regression from features to classes (m2t-trainer probe).
    #[command(disable_help_flag = true)]
    Probe {
        /// Passed on to `m2t-trainer probe`; `--help` shows them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Write a checkpoint's encoder, or all of its state, as a file that PyTorch, torchvision and timm load (m2t-trainer export).
    #[command(disable_help_flag = true)]
    Export {
        /// Passed on to `m2t-trainer export`; `--help` shows them, and how to load the file.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Write the features of every image of a folder, for other tools (m2t-trainer features).
    #[command(disable_help_flag = true)]
    Features {
        /// Passed on to `m2t-trainer features`; `--help` shows them, and how to load the file.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Make a run's folder out of weights from elsewhere: the published implementation's, torchvision's, timm's (m2t-trainer import).
    #[command(disable_help_flag = true)]
    Import {
        /// Passed on to `m2t-trainer import`; `--help` shows them, with examples.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

#[derive(Args)]
#[command(after_long_help = help::STATUS)]
struct StatusOptions {
    #[command(flatten)]
    whom: Whom,
    /// One line of JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Show it whenever it changes, until the run ends: in a terminal as a view that takes keys, else again and again.
    #[arg(long)]
    watch: bool,
}

#[derive(Subcommand)]
enum DataCommand {
    /// Write a small labelled set of made photographs to DIR/train and DIR/val, for people without one at hand.
    Synth(SynthOptions),
    /// Read and decode every image of a data folder and tell what is there.
    Check(data::CheckOptions),
    /// Arrange ImageNet's flat validation images into a folder for each class.
    Arrange(data::ArrangeOptions),
    /// Copy a data folder into a few large files, which take its place.
    Pack(data::PackOptions),
    /// Turn such files into the data folder they were made of.
    Unpack(data::UnpackOptions),
}

#[derive(Args)]
#[command(after_help = help::SYNTH)]
struct SynthOptions {
    /// A new or empty folder.
    dir: PathBuf,
    /// Another seed, another set of the same kind.
    #[arg(long)]
    seed: Option<u64>,
    /// Number of classes.
    #[arg(long)]
    classes: Option<u32>,
    /// Pictures of each class to train on.
    #[arg(long)]
    train_per_class: Option<u32>,
    /// Pictures of each class held out.
    #[arg(long)]
    val_per_class: Option<u32>,
    /// Side of a picture.
    #[arg(long)]
    pixels: Option<u32>,
}

#[derive(Subcommand)]
enum CheckpointCommand {
    /// Print the digest of the state in a checkpoint.
    #[command(after_long_help = help::DIGEST)]
    Digest {
        /// A checkpoint's folder, or a run's output folder for its newest.
        path: OsString,
    },
}

fn main() -> ExitCode {
    if let Some(code) = m2t_describe::answer(Options::command) {
        return code;
    }
    let arguments = std::env::args_os().map(train::published_spelling);
    run(Options::parse_from(arguments).command).unwrap_or_else(|error| {
        // A reader that had enough (`m2t status | head`) is no failure.
        let is_closed_pipe = error
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe);
        if is_closed_pipe {
            return ExitCode::SUCCESS;
        }
        eprintln!("m2t: {error:#}");
        if error.is::<Refused>() {
            return ExitCode::from(2);
        }
        ExitCode::FAILURE
    })
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Train(options) => train::train(&options),
        Command::Eval(options) => train::eval::eval(&options, &mut std::io::stdout()),
        Command::Launch(options) => launch::launch(options),
        Command::LaunchSeat => launch::sit(),
        Command::LaunchKeep => launch::keep().map(|()| ExitCode::SUCCESS),
        Command::Status(options) => show_status(&options),
        Command::Order(order) => give_order(order),
        Command::Doctor(options) => doctor::run(&options, &mut std::io::stdout()),
        Command::Recipe(options) => recipe::run(&options, &mut std::io::stdout()),
        Command::Report(options) => report::run(&options, &mut std::io::stdout()),
        Command::Metrics(options) => metrics::run(&options, &mut std::io::stdout()),
        Command::Audit(options) => audit::run(&options, &mut std::io::stdout()),
        Command::Completions(options) => describe::completions(&options, &mut std::io::stdout()),
        Command::Man(options) => describe::man(&options),
        Command::Data(DataCommand::Synth(options)) => make_data(options),
        Command::Data(DataCommand::Check(options)) => data::check(&options, &mut std::io::stdout()),
        Command::Data(DataCommand::Arrange(options)) => data::arrange(options, &mut std::io::stdout()),
        Command::Data(DataCommand::Pack(options)) => data::pack(options, &mut std::io::stdout()),
        Command::Data(DataCommand::Unpack(options)) => data::unpack(options, &mut std::io::stdout()),
        Command::Checkpoint(CheckpointCommand::Digest { path }) => run_trainer(&["digest".into(), path]),
        Command::Knn { arguments } => pass_on("knn", arguments),
        Command::Probe { arguments } => pass_on("probe", arguments),
        Command::Export { arguments } => pass_on("export", arguments),
        Command::Features { arguments } => pass_on("features", arguments),
        Command::Import { arguments } => pass_on("import", arguments),
    }
}

fn pass_on(command: &str, arguments: Vec<OsString>) -> anyhow::Result<ExitCode> {
    let all: Vec<OsString> = std::iter::once(command.into()).chain(arguments).collect();
    run_trainer(&all)
}

fn make_data(options: SynthOptions) -> anyhow::Result<ExitCode> {
    let usual = Synth::new(options.dir);
    let settings = Synth {
        seed: options.seed.unwrap_or(usual.seed),
        classes: options.classes.unwrap_or(usual.classes),
        train_per_class: options.train_per_class.unwrap_or(usual.train_per_class),
        val_per_class: options.val_per_class.unwrap_or(usual.val_per_class),
        pixels: options.pixels.unwrap_or(usual.pixels),
        dir: usual.dir,
    };
    match generate(&settings) {
        Ok(summary) => {
            let dir = settings.dir.display();
            let (train, val, n_classes) = (summary.train, summary.val, summary.classes.len());
            writeln!(
                std::io::stdout(),
                "wrote {train} pictures to {dir}/train and {val} to {dir}/val, of {n_classes} classes"
            )?;
            Ok(ExitCode::SUCCESS)
        }
        Err(refused @ (SynthError::Setting { .. } | SynthError::NotEmpty { .. })) => {
            eprintln!("m2t: {refused}");
            Ok(ExitCode::from(2))
        }
        Err(error) => Err(error.into()),
    }
}

fn give_order(order: Order) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout();
    event_loop()?.block_on(orders::ask(order, &mut out))?;
    Ok(ExitCode::SUCCESS)
}

fn event_loop() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")
}

fn show_status(options: &StatusOptions) -> anyhow::Result<ExitCode> {
    let format = if options.json {
        status::Format::Json
    } else {
        status::Format::Table
    };
    let runtime = event_loop()?;
    if options.watch && !options.json && watch::has_terminal() {
        let code = runtime.block_on(watch::watch(&options.whom));
        // The thread that reads the terminal waits for a key.
        runtime.shutdown_background();
        return code;
    }
    let coordinator = options.whom.contact()?;
    let mut out = std::io::stdout();
    runtime.block_on(async {
        if options.watch {
            status::watch(&coordinator, format, &mut out).await
        } else {
            status::show(&coordinator, format, &mut out).await
        }
    })?;
    Ok(ExitCode::SUCCESS)
}
