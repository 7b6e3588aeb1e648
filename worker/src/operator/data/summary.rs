//! The words in which `m2t data check` and `m2t data arrange` tell what they found and did.

use std::io::{self, Write};
use std::path::Path;

use indicatif::{HumanBytes, HumanCount};
use m2t_data::arrange::Arranged;
use m2t_data::check::{REPLACED_LIMIT, Report};
use m2t_data::decode::Kind;

/// Names of a list that is told in part.
const MOST_NAMES: usize = 5;

/// The report of a check as text: every damaged file with its reason, and what a run would do.
pub(super) fn write(report: &Report, dir: &Path, out: &mut impl Write) -> io::Result<()> {
    let n = HumanCount(report.n_samples);
    writeln!(
        out,
        "{}: {} images of {} classes, {}",
        dir.display(),
        n,
        HumanCount(report.n_classes as u64),
        HumanBytes(report.bytes)
    )?;
    writeln!(
        out,
        "N            {}, fingerprint {}",
        report.n_samples, report.fingerprint
    )?;
    if let Some(pixels) = report.pixels {
        let size = |(width, height): (u32, u32)| format!("{width} × {height}");
        let [min, median, max] = [pixels.min, pixels.median, pixels.max].map(size);
        writeln!(out, "pixels       smallest {min}, median {median}, largest {max}")?;
    }
    let kinds = report
        .kinds
        .iter()
        .map(|(kind, n)| format!("{} {}", name(*kind), HumanCount(*n)));
    writeln!(out, "kinds        {}", kinds.collect::<Vec<_>>().join(", "))?;
    if let Some(found) = report.imagenet {
        let fate = match found.complete.abs_diff(report.n_samples) {
            0 => "complete".to_owned(),
            n if report.n_samples < found.complete => format!("{} images are missing", HumanCount(n)),
            n => format!("{} images too many", HumanCount(n)),
        };
        writeln!(
            out,
            "ImageNet     the {} set of {}: {fate}",
            found.part,
            HumanCount(found.complete)
        )?;
    }
    let paths = |paths: &[std::path::PathBuf]| {
        let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        some_of(&names)
    };
    if !report.misnamed.is_empty() {
        writeln!(
            out,
            "misnamed     {} (read by their content)",
            paths(&report.misnamed)
        )?;
    }
    if !report.ignored.is_empty() {
        writeln!(out, "ignored      {}", paths(&report.ignored))?;
    }
    if report.n_twins > 0 {
        let [all, across] = [report.n_twins, report.n_twins_across].map(HumanCount);
        writeln!(
            out,
            "twins        {all} with the content of a file before, {across} of them of another class"
        )?;
    }
    for file in &report.damaged {
        writeln!(out, "damaged      {}: {}", file.path.display(), file.reason)?;
    }
    verdict(report, out)
}

fn verdict(report: &Report, out: &mut impl Write) -> io::Result<()> {
    if report.damaged.is_empty() {
        return writeln!(out, "every image decodes");
    }
    let (share, limit) = (100.0 * report.damaged_share(), 100.0 * REPLACED_LIMIT);
    let fate = if report.damaged_share() > REPLACED_LIMIT {
        format!(
            "more than the {limit} % at which a run fails; repair or remove them, or raise `run.replaced_limit`"
        )
    } else {
        format!("within the {limit} % that a run tolerates")
    };
    let n = HumanCount(report.damaged.len() as u64);
    writeln!(
        out,
        "{n} damaged of {} ({share:.3} %): training replaces each by the next file that decodes; {fate}",
        HumanCount(report.n_samples)
    )
}

/// What was arranged.
pub(super) fn write_arranged(done: &Arranged, to: &Path, out: &mut impl Write) -> io::Result<()> {
    let [new, there] = [done.n_new, done.n_there].map(HumanCount);
    writeln!(
        out,
        "{}: {} classes, {new} images brought, {there} there before",
        to.display(),
        HumanCount(done.n_classes as u64)
    )?;
    if !done.unlabelled.is_empty() {
        writeln!(
            out,
            "no label, left where they were: {}",
            some_of(&done.unlabelled)
        )?;
    }
    if !done.missing.is_empty() {
        writeln!(out, "labelled, but not there: {}", some_of(&done.missing))?;
    }
    Ok(())
}

/// How many there are, and the first.
fn some_of(names: &[String]) -> String {
    let n = HumanCount(names.len() as u64);
    let more = if names.len() > MOST_NAMES { ", …" } else { "" };
    let told = &names[..names.len().min(MOST_NAMES)];
    format!("{n}: {}{more}", told.join(", "))
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Jpeg => "JPEG",
        Kind::GreyJpeg => "JPEG in grey",
        Kind::CmykJpeg => "JPEG in CMYK",
        Kind::Png => "PNG",
    }
}
