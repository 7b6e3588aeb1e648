//! What is plotted: the figures of a report, as lines, bands and marks. How they are drawn is `draw`'s.

use std::collections::BTreeSet;
use std::ops::Range;

use super::axis::{Scale, short};
use super::curve::Curve;
use super::palette;
use super::run::{Curves, Run};

/// A plot over the steps.
#[derive(Clone, Debug)]
pub(super) struct Figure {
    /// The stem of its files' names.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// Behind the title, in small.
    pub(super) note: String,
    pub(super) scale: Scale,
    /// Steps, from the first to the last of all runs.
    pub(super) steps: Range<f64>,
    /// The part of the vertical axis that is shown, in places.
    pub(super) places: Range<f64>,
    /// For the second scale, where all runs have it in common.
    pub(super) steps_per_epoch: Option<u64>,
    pub(super) lines: Vec<Line>,
    pub(super) marks: Vec<Mark>,
}

/// A curve of a run.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// In the palette.
    pub(super) color: usize,
    pub(super) stroke: Stroke,
    /// What stands at its end.
    pub(super) label: Option<String>,
    /// Each bin from least to largest: (step, least, largest).
    pub(super) band: Vec<(f64, f64, f64)>,
    /// Each bin's mean, drawn lightly.
    pub(super) light: Vec<(f64, f64)>,
    /// What is to be seen first.
    pub(super) strong: Vec<(f64, f64)>,
}

/// How the strong part of a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stroke {
    Solid,
    Dashed,
    /// With a dot at each value.
    Dotted,
}

/// A regroup.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) step: f64,
    /// Such as `g2`.
    pub(super) label: String,
    /// In the palette, where several runs are shown.
    pub(super) color: Option<usize>,
}

/// How the values of a quantity are shown.
struct Shown {
    id: &'static str,
    title: &'static str,
    of: fn(&Curves) -> &Curve,
    /// Noise that is smoothed, or the exact course of a schedule.
    is_noisy: bool,
    factor: f64,
    note: &'static str,
}

const SHOWN: [Shown; 7] = [
    Shown {
        id: "loss",
        title: "Loss",
        of: |curves| &curves.loss,
        is_noisy: true,
        factor: 1.0,
        note: "0 at best, 4 by chance",
    },
    Shown {
        id: "learning_rate",
        title: "Learning rate",
        of: |curves| &curves.learning_rate,
        is_noisy: false,
        factor: 1.0,
        note: "",
    },
    Shown {
        id: "parameter_momentum",
        title: "Momentum of teacher parameters",
        of: |curves| &curves.parameter_momentum,
        is_noisy: false,
        factor: 1.0,
        note: "",
    },
    Shown {
        id: "statistics_momentum",
        title: "Momentum of teacher statistics",
        of: |curves| &curves.statistics_momentum,
        is_noisy: false,
        factor: 1.0,
        note: "share of the batch",
    },
    Shown {
        id: "gradient_norm",
        title: "Gradient norm",
        of: |curves| &curves.gradient_norm,
        is_noisy: true,
        factor: 1.0,
        note: "",
    },
    Shown {
        id: "images_per_second",
        title: "Images a second",
        of: |curves| &curves.images_per_second,
        is_noisy: true,
        factor: 1.0,
        note: "over all ranks",
    },
    Shown {
        id: "data_wait",
        title: "Waiting for data",
        of: |curves| &curves.data_wait,
        is_noisy: true,
        factor: 100.0,
        note: "% of the step",
    },
];

/// All figures of which there is something to show; accuracies come second, behind the loss.
pub(super) fn figures(runs: &[Run]) -> Vec<Figure> {
    let mut figures: Vec<Figure> = SHOWN.iter().filter_map(|shown| figure(runs, shown)).collect();
    if let Some(accuracy) = accuracy(runs) {
        let place = figures.iter().take_while(|figure| figure.id == "loss").count();
        figures.insert(place, accuracy);
    }
    figures
}

fn figure(runs: &[Run], shown: &Shown) -> Option<Figure> {
    let mut lines = Vec::new();
    let mut values = Vec::new();
    let mut windows = BTreeSet::new();
    for (i, run) in runs.iter().enumerate() {
        let curve = (shown.of)(&run.curves);
        if curve.bins().len() == 0 {
            continue;
        }
        values.extend(curve.bins().flat_map(|bin| [bin.least, bin.largest]));
        windows.insert(curve.window());
        lines.push(Line {
            color: i,
            stroke: if palette::is_dashed(i) {
                Stroke::Dashed
            } else {
                Stroke::Solid
            },
            label: (runs.len() > 1).then(|| run.name.clone()),
            ..line(curve, shown)
        });
    }
    let values = range(values.into_iter().map(|value| value * shown.factor))?;
    let scale = if shown.id == "gradient_norm" {
        Scale::for_positive(&values)
    } else {
        Scale::Linear
    };
    let note = note(runs, shown, &windows);
    Some(Figure {
        id: shown.id,
        title: shown.title,
        note,
        scale,
        steps: steps(runs),
        places: scale.range(&values),
        steps_per_epoch: epoch(runs),
        lines,
        marks: marks(runs),
    })
}

/// What stands behind the title: what the values mean, and over how many steps the strong lines are the mean.
fn note(runs: &[Run], shown: &Shown, windows: &BTreeSet<u64>) -> String {
    // What chance gives is known of the published loss alone.
    let is_known = shown.id != "loss" || !runs.iter().any(Run::is_linear);
    let mut parts = Vec::new();
    if is_known && !shown.note.is_empty() {
        parts.push(shown.note.to_owned());
    }
    if let (true, Some(&least), Some(&most)) = (shown.is_noisy, windows.first(), windows.last())
        && most > 1
    {
        let steps = if least == most {
            short(most)
        } else {
            format!("{} to {}", short(least), short(most))
        };
        parts.push(format!("mean of {steps} steps"));
    }
    parts.join("; ")
}

fn line(curve: &Curve, shown: &Shown) -> Line {
    let by = shown.factor;
    let means: Vec<(f64, f64)> = curve.bins().map(|bin| (bin.step, bin.mean * by)).collect();
    let band = curve
        .bins()
        .map(|bin| (bin.step, bin.least * by, bin.largest * by));
    let smoothed = curve.smoothed().into_iter();
    let (light, strong) = if shown.is_noisy {
        (means, smoothed.map(|(step, value)| (step, value * by)).collect())
    } else {
        (Vec::new(), means)
    };
    Line {
        color: 0,
        stroke: Stroke::Solid,
        label: None,
        // Bins of one step have no band.
        band: if shown.is_noisy && curve.width() > 1 {
            band.collect()
        } else {
            Vec::new()
        },
        light,
        strong,
    }
}

/// Evaluations, each kind a line. With one run the colour tells the kind, with several the run.
fn accuracy(runs: &[Run]) -> Option<Figure> {
    let mut lines = Vec::new();
    for (i, run) in runs.iter().enumerate() {
        let kinds: BTreeSet<_> = run
            .evaluations
            .iter()
            .map(super::record::Evaluation::kind)
            .collect();
        for (nth, kind) in kinds.into_iter().enumerate() {
            let of_kind = run.evaluations.iter().filter(|one| one.kind() == kind);
            let label = if runs.len() > 1 {
                format!("{}: {kind}", run.name)
            } else {
                kind.to_string()
            };
            lines.push(Line {
                color: if runs.len() > 1 { i } else { nth },
                stroke: Stroke::Dotted,
                label: Some(label),
                band: Vec::new(),
                light: Vec::new(),
                strong: of_kind.map(|one| (one.step as f64, one.top1 * 100.0)).collect(),
            });
        }
    }
    (!lines.is_empty()).then(|| Figure {
        id: "accuracy",
        title: "Held-out accuracy",
        note: "top-1".to_owned(),
        scale: Scale::Percent,
        steps: steps(runs),
        places: Scale::Percent.range(&(0.0..100.0)),
        steps_per_epoch: epoch(runs),
        lines,
        marks: marks(runs),
    })
}

/// From 0 to the last step that any run tells of or was evaluated at.
fn steps(runs: &[Run]) -> Range<f64> {
    let evaluated = |run: &Run| run.evaluations.iter().map(|one| one.step).max().unwrap_or(0);
    let last = runs.iter().map(|run| run.last_step().max(evaluated(run))).max();
    0.0..(last.unwrap_or(0).max(1) as f64)
}

fn epoch(runs: &[Run]) -> Option<u64> {
    let of_runs: BTreeSet<Option<u64>> = runs.iter().map(Run::steps_per_epoch).collect();
    match of_runs.first() {
        Some(&common) if of_runs.len() == 1 => common,
        _ => None,
    }
}

fn marks(runs: &[Run]) -> Vec<Mark> {
    let is_one = runs.len() == 1;
    let each = runs.iter().enumerate().flat_map(|(i, run)| {
        run.regroups.iter().map(move |regroup| Mark {
            step: regroup.step as f64,
            label: format!("g{}", regroup.generation),
            color: (!is_one).then_some(i),
        })
    });
    let mut marks: Vec<Mark> = each.collect();
    marks.sort_by(|one, other| one.step.total_cmp(&other.step));
    marks
}

fn range(values: impl Iterator<Item = f64>) -> Option<Range<f64>> {
    values.fold(None, |range: Option<Range<f64>>, value| {
        let range = range.unwrap_or(value..value);
        Some(range.start.min(value)..range.end.max(value))
    })
}
