//! Draws a map of features: a dot an image, coloured by class, and the classes' names below.
//!
//! Why names do not stand among the dots: where classes overlap, and that is where one looks, they would hide them.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::{Drawn, Pen, SMALL, Sheet};
use crate::operator::report::map::Map;
use crate::operator::report::palette::{self, INK, MUTED};

/// Of a map, in points.
pub(in crate::operator::report) const SIZE: (u32, u32) = (480, 450);
const EDGE: f64 = 16.0;
const TOP: f64 = 34.0;
const DOT: f64 = 2.4;
/// The room for the classes' names below the dots, and of that a row.
const LEGEND: f64 = 66.0;
const ROW: f64 = 17.0;
const SWATCH: f64 = 13.0;
/// Classes that can be told apart: two for each colour.
const MOST_NAMES: usize = 12;

/// Draws `map` on the whole of `area`.
pub(in crate::operator::report) fn draw<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    map: &Map,
    pen: Pen,
) -> Drawn<B> {
    let sheet = Sheet { area, pen };
    sheet.text(&map.title, (EDGE, 14.0), (14.0, INK, HPos::Left))?;
    let from = EDGE + sheet.width_of(&map.title, 14.0) + 10.0;
    sheet.text(&map.note, (from, 15.0), (SMALL, MUTED, HPos::Left))?;
    let scale = Scale::of(map);
    for dot in &map.dots {
        let (x, y) = scale.place(dot.at);
        let at = (sheet.units(x), sheet.units(y));
        let style = style(&sheet, dot.class, 0.65);
        area.draw(&Circle::new(at, sheet.units(DOT), style))?;
    }
    legend(&sheet, map)
}

/// From the components to the sheet; both axes have the same scale, so that distances mean something.
struct Scale {
    middle: (f64, f64),
    points_per_unit: f64,
}

impl Scale {
    fn of(map: &Map) -> Self {
        let range = |of: fn(&(f64, f64)) -> f64| {
            let values = map.dots.iter().map(|dot| of(&dot.at));
            let (least, most) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| {
                (least.min(value), most.max(value))
            });
            (f64::midpoint(least, most), (most - least).max(1e-9))
        };
        let ((x, width), (y, height)) = (range(|at| at.0), range(|at| at.1));
        let room = (f64::from(SIZE.0) - 2.0 * EDGE, f64::from(SIZE.1) - TOP - LEGEND);
        Self {
            middle: (x, y),
            points_per_unit: (room.0 / width).min(room.1 / height),
        }
    }

    fn place(&self, at: (f64, f64)) -> (f64, f64) {
        let (x, y) = (at.0 - self.middle.0, at.1 - self.middle.1);
        (
            f64::from(SIZE.0) / 2.0 + x * self.points_per_unit,
            f64::midpoint(TOP, f64::from(SIZE.1) - LEGEND) - y * self.points_per_unit,
        )
    }
}

/// The classes below the map, in rows, each behind its dot.
fn legend<B: DrawingBackend>(sheet: &Sheet<'_, B>, map: &Map) -> Drawn<B> {
    for (entry, (x, y)) in entries(map).zip(places(sheet, map)) {
        if let Some(class) = entry.class {
            let at = (sheet.units(x + 4.0), sheet.units(y));
            let style = style(sheet, class, 1.0);
            sheet.area.draw(&Circle::new(at, sheet.units(3.5), style))?;
        }
        sheet.text(&entry.text, (x + SWATCH, y), (SMALL, INK, HPos::Left))?;
    }
    Ok(())
}

/// What stands at a place of the legend.
struct Entry {
    class: Option<usize>,
    text: String,
}

fn entries(map: &Map) -> impl Iterator<Item = Entry> {
    let named = map.classes.iter().take(MOST_NAMES).enumerate();
    let named = named.map(|(class, name)| Entry {
        class: Some(class),
        text: name.clone(),
    });
    let more = map.classes.len().saturating_sub(MOST_NAMES);
    let more = (more > 0).then(|| Entry {
        class: None,
        text: format!("and {more} more, in the same colours"),
    });
    named.chain(more)
}

/// Where each entry begins, rows from the top down.
fn places<B: DrawingBackend>(sheet: &Sheet<'_, B>, map: &Map) -> Vec<(f64, f64)> {
    let (mut x, mut y) = (EDGE, f64::from(SIZE.1) - LEGEND + ROW);
    let mut places = Vec::new();
    for entry in entries(map) {
        let width = SWATCH + sheet.width_of(&entry.text, SMALL) + 14.0;
        if x > EDGE && x + width > f64::from(SIZE.0) {
            (x, y) = (EDGE, y + ROW);
        }
        places.push((x, y));
        x += width;
    }
    places
}

/// Of a class's dots. The second six classes have the first six's colours, as rings.
fn style<B: DrawingBackend>(sheet: &Sheet<'_, B>, class: usize, opacity: f64) -> ShapeStyle {
    let color = palette::line(class).mix(opacity);
    if palette::is_dashed(class % MOST_NAMES) {
        color.stroke_width(sheet.units(1.0).max(1).unsigned_abs())
    } else {
        color.filled()
    }
}
