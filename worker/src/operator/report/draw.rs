//! Draws a figure, the same on any of the plotting library's backends.
//!
//! Positions are in points of a sheet of [`SIZE`]; a backend has [`Pen::scale`] of its units to the point, so that lines of an SVG
//! do not fall on whole points only, and pixels can be made finer than they are shown.

pub(super) mod scatter;

use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::axis::{linear, whole};
use super::figure::{Figure, Line, Stroke};
use super::palette::{self, GRID, INK, MARK, MUTED};

/// Of a figure, in points.
pub(super) const SIZE: (u32, u32) = (480, 294);
/// The font by which text is measured, and drawn in pixels.
pub(super) const FONT: &str = "Inter";
/// The plotting library's sizes are of a whole line; this many make the size of a font.
const LINE_HEIGHT: f64 = 1.24;

const TITLE: f64 = 14.0;
const SMALL: f64 = 11.5;
const LEFT: f64 = 54.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 58.0;
const BOTTOM: f64 = 26.0;
/// The most of the width that names at the ends of lines may take.
const LABELS: f64 = 150.0;
/// Between the names of regroups.
const LABEL_GAP: f64 = 40.0;
/// Regroups that are still seen one by one; more are drawn more lightly.
const FEW_MARKS: usize = 12;
/// From the end of a line to its name.
const SWATCH: f64 = 24.0;

/// Nothing, or why the backend could not draw.
pub(super) type Drawn<B> = Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;
type Chart<'a, B> = ChartContext<'a, B, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// How a backend is drawn on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pen {
    /// Its units to the point.
    pub(super) scale: f64,
    /// How far below its place it puts text, in sizes of the font.
    pub(super) sink: f64,
}

/// Draws `figure` on the whole of `area`.
pub(super) fn draw<B: DrawingBackend>(area: &DrawingArea<B, Shift>, figure: &Figure, pen: Pen) -> Drawn<B> {
    let sheet = Sheet { area, pen };
    let right = sheet
        .label_width(figure)
        .map_or(RIGHT, |width| width + SWATCH + 6.0);
    let mut chart = ChartBuilder::on(area)
        .margin_left(sheet.units(LEFT))
        .margin_right(sheet.units(right))
        .margin_top(sheet.units(TOP))
        .margin_bottom(sheet.units(BOTTOM))
        .build_cartesian_2d(figure.steps.clone(), figure.places.clone())?;
    let plot = Plot {
        left: LEFT,
        right: f64::from(SIZE.0) - right,
        top: TOP,
        bottom: f64::from(SIZE.1) - BOTTOM,
        figure,
    };
    sheet.head(figure)?;
    sheet.values(&plot)?;
    sheet.steps(&plot)?;
    sheet.marks(&plot)?;
    for line in &figure.lines {
        sheet.noise(&mut chart, figure, line)?;
    }
    for line in &figure.lines {
        sheet.strong(&mut chart, figure, line)?;
    }
    sheet.labels(&plot)
}

/// Where things are on the sheet, in points.
struct Plot<'a> {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    figure: &'a Figure,
}

impl Plot<'_> {
    fn x(&self, step: f64) -> f64 {
        self.left + share(&self.figure.steps, step) * (self.right - self.left)
    }

    fn y(&self, place: f64) -> f64 {
        self.bottom - share(&self.figure.places, place) * (self.bottom - self.top)
    }
}

fn share(range: &Range<f64>, value: f64) -> f64 {
    (value - range.start) / (range.end - range.start)
}

struct Sheet<'a, B: DrawingBackend> {
    area: &'a DrawingArea<B, Shift>,
    pen: Pen,
}

impl<B: DrawingBackend> Sheet<'_, B> {
    fn units(&self, points: f64) -> i32 {
        (points * self.pen.scale).round() as i32
    }

    fn stroke(&self, color: RGBColor, width: f64) -> ShapeStyle {
        let units = self.units(width).max(1);
        color.stroke_width(units.unsigned_abs())
    }

    fn style(&self, size: f64, color: RGBColor, side: HPos) -> TextStyle<'static> {
        let font = (FONT, size * self.pen.scale * LINE_HEIGHT).into_font();
        font.color(&color).pos(Pos::new(side, VPos::Center))
    }

    /// Writes `text` with its middle, or its left or right end, at a point.
    fn text(&self, text: &str, at: (f64, f64), style: (f64, RGBColor, HPos)) -> Drawn<B> {
        let (size, color, side) = style;
        let at = (self.units(at.0), self.units(at.1 - size * self.pen.sink));
        self.area
            .draw(&Text::new(text.to_owned(), at, self.style(size, color, side)))
    }

    fn segment(&self, from: (f64, f64), to: (f64, f64), style: ShapeStyle) -> Drawn<B> {
        let points = [from, to].map(|(x, y)| (self.units(x), self.units(y)));
        self.area.draw(&PathElement::new(points, style))
    }

    fn width_of(&self, text: &str, size: f64) -> f64 {
        let style = self.style(size, INK, HPos::Left);
        let measured = self.area.estimate_text_size(text, &style);
        measured.map_or(0.0, |(width, _)| f64::from(width) / self.pen.scale)
    }

    /// `text`, or its beginning and a sign that it goes on.
    fn fit(&self, text: &str, width: f64) -> String {
        if self.width_of(text, SMALL) <= width {
            return text.to_owned();
        }
        let mut short: String = text.to_owned();
        while short.pop().is_some() && self.width_of(&format!("{short}…"), SMALL) > width {}
        format!("{}…", short.trim_end())
    }

    fn label_width(&self, figure: &Figure) -> Option<f64> {
        let labels = figure.lines.iter().filter_map(|line| line.label.as_deref());
        let widths = labels.map(|label| self.width_of(&self.fit(label, LABELS), SMALL));
        widths.reduce(f64::max)
    }

    fn head(&self, figure: &Figure) -> Drawn<B> {
        self.text(figure.title, (LEFT, 14.0), (TITLE, INK, HPos::Left))?;
        let from = LEFT + self.width_of(figure.title, TITLE) + 10.0;
        self.text(&figure.note, (from, 15.0), (SMALL, MUTED, HPos::Left))
    }

    /// The vertical axis: a light line across at each tick, and its value.
    fn values(&self, plot: &Plot<'_>) -> Drawn<B> {
        for (place, text) in plot.figure.scale.ticks(&plot.figure.places) {
            let y = plot.y(place);
            self.segment((plot.left, y), (plot.right, y), self.stroke(GRID, 1.0))?;
            self.text(&text, (plot.left - 7.0, y), (SMALL, MUTED, HPos::Right))?;
        }
        Ok(())
    }

    /// Steps below, and epochs above where there are any.
    fn steps(&self, plot: &Plot<'_>) -> Drawn<B> {
        let style = (SMALL, MUTED, HPos::Center);
        let baseline = self.stroke(MARK, 1.0);
        self.segment((plot.left, plot.bottom), (plot.right, plot.bottom), baseline)?;
        let below = plot.bottom + 14.0;
        self.text("step", (plot.left - 7.0, below), (SMALL, MUTED, HPos::Right))?;
        for (step, text) in linear(&plot.figure.steps, 5) {
            let x = plot.x(step);
            self.segment((x, plot.bottom), (x, plot.bottom + 4.0), baseline)?;
            self.text(&text, (x, below), style)?;
        }
        let Some(steps_per_epoch) = plot.figure.steps_per_epoch else {
            return Ok(());
        };
        let steps_per_epoch = steps_per_epoch as f64;
        let above = plot.top - 16.0;
        self.text("epoch", (plot.left - 7.0, above), (SMALL, MUTED, HPos::Right))?;
        for (epoch, text) in whole(&(0.0..plot.figure.steps.end / steps_per_epoch), 6) {
            let x = plot.x(epoch * steps_per_epoch);
            self.segment((x, plot.top - 7.0), (x, plot.top - 3.0), baseline)?;
            self.text(&text, (x, above), style)?;
        }
        Ok(())
    }

    /// Regroups, as upright lines; those that fall on the same place are one.
    fn marks(&self, plot: &Plot<'_>) -> Drawn<B> {
        let opacity = if plot.figure.marks.len() > FEW_MARKS {
            0.3
        } else {
            0.7
        };
        let (mut last, mut last_label) = (f64::NEG_INFINITY, f64::NEG_INFINITY);
        for mark in &plot.figure.marks {
            let x = plot.x(mark.step);
            if (x - last).abs() >= 1.0 {
                let color = mark.color.map_or(MARK, palette::line);
                let style = color
                    .mix(opacity)
                    .stroke_width(self.units(1.0).max(1).unsigned_abs());
                self.segment((x, plot.top), (x, plot.bottom), style)?;
                last = x;
            }
            let width = self.width_of(&mark.label, SMALL);
            if x - last_label >= width.max(LABEL_GAP) && x + width < plot.right {
                self.text(&mark.label, (x + 3.0, plot.top + 7.0), (10.0, MUTED, HPos::Left))?;
                last_label = x;
            }
        }
        Ok(())
    }

    /// What each step did, lightly: the values, or the band from the least to the largest of them.
    fn noise(&self, chart: &mut Chart<'_, B>, figure: &Figure, line: &Line) -> Drawn<B> {
        let (color, place) = (palette::line(line.color), |value| figure.scale.place(value));
        let style = color.mix(0.4).stroke_width(self.units(0.8).max(1).unsigned_abs());
        if line.band.is_empty() {
            let means = line.light.iter().map(|&(step, value)| (step, place(value)));
            chart.draw_series([PathElement::new(means.collect::<Vec<_>>(), style)])?;
            return Ok(());
        }
        let upper = line.band.iter().map(|&(step, _, most)| (step, place(most)));
        let lower = line
            .band
            .iter()
            .rev()
            .map(|&(step, least, _)| (step, place(least)));
        let outline: Vec<(f64, f64)> = upper.chain(lower).collect();
        chart.draw_series([Polygon::new(outline.clone(), color.mix(0.16).filled())])?;
        // Its edge, so that the band is seen where it is but a bin wide.
        chart.draw_series([PathElement::new(outline, style)])?;
        Ok(())
    }

    fn strong(&self, chart: &mut Chart<'_, B>, figure: &Figure, line: &Line) -> Drawn<B> {
        let place = |&(step, value): &(f64, f64)| (step, figure.scale.place(value));
        let points: Vec<(f64, f64)> = line.strong.iter().map(place).collect();
        let color = palette::line(line.color);
        let style = self.stroke(color, 1.8);
        if line.stroke == Stroke::Dotted || points.len() == 1 {
            let dots = points
                .iter()
                .map(|&at| Circle::new(at, self.units(3.0), color.filled()));
            chart.draw_series(dots)?;
        }
        if line.stroke == Stroke::Dashed {
            let (dash, gap) = (self.units(6.0), self.units(4.0));
            chart.draw_series([DashedPathElement::new(points, dash, gap, style)])?;
        } else {
            chart.draw_series([PathElement::new(points, style)])?;
        }
        Ok(())
    }

    /// The lines' names at their ends, apart from each other, each behind a piece of its line.
    fn labels(&self, plot: &Plot<'_>) -> Drawn<B> {
        let figure = plot.figure;
        let mut labels: Vec<(f64, &Line, &str)> = Vec::new();
        for line in &figure.lines {
            if let (Some(label), Some(&(_, value))) = (&line.label, line.strong.last()) {
                labels.push((plot.y(figure.scale.place(value)), line, label));
            }
        }
        labels.sort_by(|one, other| one.0.total_cmp(&other.0));
        let wanted: Vec<f64> = labels.iter().map(|label| label.0).collect();
        let heights = apart(&wanted, 14.0, plot.top..plot.bottom);
        for (y, (_, line, label)) in heights.into_iter().zip(labels) {
            let x = plot.right + 8.0;
            let swatch = self.stroke(palette::line(line.color), 2.5);
            self.segment((x, y), (x + 9.0, y), swatch)?;
            let text = self.fit(label, LABELS);
            self.text(&text, (x + 13.0, y), (SMALL, INK, HPos::Left))?;
        }
        Ok(())
    }
}

/// Heights as near to the wanted ones, which ascend, as a gap between neighbours and the room allow.
fn apart(wanted: &[f64], gap: f64, room: Range<f64>) -> Vec<f64> {
    let mut heights: Vec<f64> = Vec::with_capacity(wanted.len());
    for &height in wanted {
        let free = heights.last().map_or(room.start, |last| last + gap);
        heights.push(height.max(free));
    }
    let mut ceiling = room.end;
    for height in heights.iter_mut().rev() {
        *height = height.min(ceiling);
        ceiling = *height - gap;
    }
    heights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_apart_and_stay_near_their_lines() {
        assert_eq!(apart(&[10.0, 50.0], 14.0, 0.0..100.0), [10.0, 50.0]);
        assert_eq!(apart(&[50.0, 51.0, 52.0], 14.0, 0.0..100.0), [50.0, 64.0, 78.0]);
        assert_eq!(apart(&[98.0, 99.0], 14.0, 0.0..100.0), [86.0, 100.0]);
        assert!(apart(&[], 14.0, 0.0..100.0).is_empty());
    }
}
