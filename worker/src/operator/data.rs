//! `m2t data check` and `m2t data arrange`: options, progress and words; the work is done in m2t-data.

mod packs;
mod summary;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use m2t_data::arrange::{self, Arrange, ArrangeError, Transfer};
use m2t_data::check;
use m2t_data::{Cache, Index};
pub use packs::{PackOptions, UnpackOptions, pack, unpack};

/// What to check.
#[derive(Args)]
#[command(after_help = "A pack's bytes are also compared with what was packed.\n\n\
                  Exit codes: 0 every image decodes; 1 some do not; 2 the folder is refused.")]
pub struct CheckOptions {
    /// A folder of class folders, or a pack.
    dir: PathBuf,
    /// Threads that read and decode; by default one for each core.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// One line of JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// What to arrange.
#[derive(Args)]
#[command(
    after_help = "LABELS is a file of lines `ILSVRC2012_val_00000001.JPEG n01751748` (or with a comma), Kaggle's\n\
                  LOC_val_solution.csv, or a class a line in the order of the images' names.\n\n\
                  Nothing is overwritten; a second call finishes what a first one began.\n\n\
                  Exit codes: 0 each image has its place; 1 images without a label, labels without an image, or a\n\
                  failure; 2 the labels or the folder are refused, and nothing was touched."
)]
pub struct ArrangeOptions {
    /// The folder of the flat images.
    dir: PathBuf,
    /// The class of each image.
    #[arg(long, value_name = "FILE")]
    labels: PathBuf,
    /// Where the class folders go; DIR itself is possible [default: DIR-arranged].
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    #[command(flatten)]
    how: How,
}

/// At most one of them.
#[derive(Args)]
#[group(multiple = false)]
struct How {
    /// Give each image a second name, which takes no space; where the file system cannot, copy it (the default).
    #[arg(long)]
    link: bool,
    /// Copy the images.
    #[arg(long)]
    copy: bool,
    /// Move the images.
    #[arg(long = "move")]
    moved: bool,
}

/// Checks, and writes the report.
pub fn check(options: &CheckOptions, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let threads = options.threads.map_or_else(
        || std::thread::available_parallelism().map_or(1, usize::from),
        usize::from,
    );
    let bar = bar("reading");
    // Anew, so that files that were overwritten in place are seen, now and by the runs that follow.
    let checked = Index::open_anew(&options.dir, &Cache::usual()).and_then(|index| {
        bar.set_length(index.n_samples());
        check::check(&index, threads, &|| bar.inc(1))
    });
    bar.finish_and_clear();
    let report = match checked {
        Ok(report) => report,
        Err(refused) => return Ok(refuse(&refused.into())),
    };
    if options.json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
    } else {
        summary::write(&report, &options.dir, out)?;
    }
    Ok(if report.damaged.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Arranges, and writes what was done.
pub fn arrange(options: ArrangeOptions, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let what = Arrange {
        to: options.to.unwrap_or_else(|| arranged(&options.dir)),
        from: options.dir,
        labels: options.labels,
        transfer: match options.how {
            How { moved: true, .. } => Transfer::Move,
            How { copy: true, .. } => Transfer::Copy,
            How { .. } => Transfer::Link,
        },
    };
    match shown("arranging", |progress| arrange::arrange(&what, progress)) {
        Ok(done) => {
            summary::write_arranged(&done, &what.to, out)?;
            Ok(if done.unlabelled.is_empty() && done.missing.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        Err(failed @ (ArrangeError::Occupied { .. } | ArrangeError::Access { .. })) => Err(failed.into()),
        Err(refused) => Ok(refuse(&refused.into())),
    }
}

/// `DIR-arranged`, beside it.
fn arranged(dir: &std::path::Path) -> PathBuf {
    // `.` and `..` have no name of their own.
    let named = dir
        .file_name()
        .map_or_else(|| dir.canonicalize().ok(), |_| Some(dir.to_owned()));
    let named = named.unwrap_or_else(|| dir.to_owned());
    let mut name = named.file_name().unwrap_or_default().to_owned();
    name.push("-arranged");
    named.with_file_name(name)
}

fn refuse(refused: &anyhow::Error) -> ExitCode {
    eprintln!("m2t: {refused:#}");
    ExitCode::from(2)
}

/// A progress bar on standard error; it stays silent where that is no terminal.
/// Does `work`, showing how much of it is done of how much.
fn shown<T>(doing: &'static str, work: impl FnOnce(&(dyn Fn(u64, u64) + Sync)) -> T) -> T {
    let bar = bar(doing);
    let result = work(&|done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    result
}

fn bar(doing: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} {per_sec} {eta}")
        .expect("the template is one");
    let bar = ProgressBar::new(0).with_style(style).with_message(doing);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

#[cfg(test)]
mod tests;
