//! `m2t report`: one page about one run or several, and its plots as files.
//!
//! It reads the runs' output folders and asks nobody, so it may be called while a run trains and long after it. The page holds
//! everything: it opens from a mail, on a phone, in print, and without a network.

mod axis;
mod curve;
mod draw;
mod facts;
mod features;
mod figure;
mod image;
mod map;
mod page;
mod palette;
mod pca;
mod run;
mod thumbnail;

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::Args;

use super::{Refused, record};
use figure::Figure;
use image::Drawing;
use run::Run;

/// So many runs have lines that can be told apart.
const MOST_RUNS: usize = 12;

/// What to report on.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = super::help::REPORT)]
pub struct Options {
    /// Output folders of runs; several are shown side by side.
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// The page; an older report of that name is replaced.
    #[arg(long, value_name = "FILE.html", default_value = "report.html")]
    to: PathBuf,
    /// Photographs in a folder a class, or a pack: show a map of their features, and some pictures beside those most like
    /// them. These small pictures become part of the page.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Features that `m2t features` wrote, of one run, instead of computing them.
    #[arg(long, value_name = "FILE")]
    features: Option<PathBuf>,
    /// Write each plot there, too, as SVG and as PNG.
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
}

/// Makes the report, and says on `out` what was written.
///
/// # Errors
/// [`Refused`] where a folder holds no run or the page would replace something else; and where a file cannot be read or written.
pub fn run(options: &Options, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    if options.runs.len() > MOST_RUNS {
        let n = options.runs.len();
        return Err(Refused::new(format!(
            "{n} runs are too many to tell apart in a plot; give at most {MOST_RUNS}"
        ))
        .into());
    }
    if options.features.is_some() && options.runs.len() > 1 {
        let n = options.runs.len();
        return Err(Refused::new(format!(
            "--features are those of one run, and {n} are given; leave one, or give --data to have them computed"
        ))
        .into());
    }
    require_replaceable(&options.to)?;
    let names = record::names(&options.runs);
    let each = options.runs.iter().zip(names);
    let runs: Vec<Run> = each
        .map(|(folder, name)| Run::read(folder, name))
        .collect::<anyhow::Result<_>>()?;
    let figures = figure::figures(&runs);
    let views = views(options, &runs)?;
    let contents = page::Contents {
        runs: &runs,
        figures: &figures,
        views: &views,
        now: now(),
    };
    let page = page::page(&contents)?;
    if let Some(folder) = &options.plots {
        write_plots(folder, &figures, &views)?;
        let (n, folder) = (figures.len() + views.len(), folder.display());
        writeln!(out, "wrote {n} plots to {folder}, as SVG and as PNG")?;
    }
    replace(&options.to, page.as_bytes())?;
    let (to, kilobytes) = (options.to.display(), page.len().div_ceil(1000));
    writeln!(out, "wrote {to}, {kilobytes} kB")?;
    for run in &runs {
        for sentence in run.notes.sentences() {
            eprintln!("m2t: {}: {sentence}", run.name);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Refuses to replace a file that is no report.
fn require_replaceable(path: &Path) -> Result<(), Refused> {
    let shown = path.display();
    if path.is_dir() {
        return Err(Refused::new(format!(
            "--to {shown} is a folder; name a file in it"
        )));
    }
    let Ok(file) = fs::File::open(path) else {
        return Ok(());
    };
    let mut head = Vec::new();
    let is_report = file.take(1024).read_to_end(&mut head).is_ok()
        && String::from_utf8_lossy(&head).contains(page::GENERATOR);
    if is_report {
        return Ok(());
    }
    Err(Refused::new(format!(
        "--to {shown} is there already and no report; name another file, or remove it"
    )))
}

/// What the features of each run show, where that was asked for.
fn views(options: &Options, runs: &[Run]) -> anyhow::Result<Vec<map::View>> {
    let source = map::Source {
        features: options.features.as_deref(),
        data: options.data.as_deref(),
    };
    if source.features.is_none() && source.data.is_none() {
        return Ok(Vec::new());
    }
    let each = runs.iter();
    each.map(|run| map::view(&run.folder, &run.name, source))
        .collect()
}

fn write_plots(folder: &Path, figures: &[Figure], views: &[map::View]) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("could not make {}", folder.display()))?;
    for figure in figures {
        write_plot(folder, figure)?;
    }
    for view in views {
        write_plot(folder, &view.map)?;
    }
    Ok(())
}

fn write_plot(folder: &Path, drawing: &impl Drawing) -> anyhow::Result<()> {
    let path = |ending: &str| folder.join(format!("{}.{ending}", drawing.id()));
    replace(&path("svg"), image::svg_file(drawing)?.as_bytes())?;
    replace(&path("png"), &image::png(drawing)?)
}

/// Replaces a file whole: readers see the old content or the new.
fn replace(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(content)?;
        let usual = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        file.as_file().set_permissions(usual)?;
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("could not write {}", path.display()))
}

#[cfg(test)]
mod tests;
