//! Draws a map of features: a dot an image, coloured by class, and each class's name where its images lie.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::{Drawn, Pen, SMALL, Sheet};
use crate::operator::report::map::Map;
use crate::operator::report::palette::{self, INK, MUTED};

/// Of a map, in points.
pub(in crate::operator::report) const SIZE: (u32, u32) = (480, 420);
const EDGE: f64 = 16.0;
const TOP: f64 = 34.0;
const DOT: f64 = 2.4;
/// Classes that are named; in the plot there is no room for more.
const MOST_NAMES: usize = 24;

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
        let color = palette::line(dot.class);
        // The second six classes have the first six's colours, as rings.
        let style = if palette::is_dashed(dot.class) {
            color.mix(0.8).stroke_width(sheet.units(1.0).unsigned_abs())
        } else {
            color.mix(0.6).filled()
        };
        area.draw(&Circle::new(at, sheet.units(DOT), style))?;
    }
    names(&sheet, map, &scale)
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
        let room = (f64::from(SIZE.0) - 2.0 * EDGE, f64::from(SIZE.1) - TOP - EDGE);
        Self {
            middle: (x, y),
            points_per_unit: (room.0 / width).min(room.1 / height),
        }
    }

    fn place(&self, at: (f64, f64)) -> (f64, f64) {
        let (x, y) = (at.0 - self.middle.0, at.1 - self.middle.1);
        (
            f64::from(SIZE.0) / 2.0 + x * self.points_per_unit,
            f64::midpoint(TOP, f64::from(SIZE.1) - EDGE) - y * self.points_per_unit,
        )
    }
}

/// Each class's name at the median of its dots, moved down where it would lie on another.
fn names<B: DrawingBackend>(sheet: &Sheet<'_, B>, map: &Map, scale: &Scale) -> Drawn<B> {
    let mut places: Vec<((f64, f64), usize, f64)> = Vec::new();
    for (class, name) in map.classes.iter().enumerate() {
        let dots = map.dots.iter().filter(|dot| dot.class == class);
        let Some(middle) = median(dots.map(|dot| dot.at)) else {
            continue;
        };
        let width = sheet.width_of(name, SMALL) + 17.0;
        let (x, y) = scale.place(middle);
        let x = x.clamp(EDGE + width / 2.0, f64::from(SIZE.0) - EDGE - width / 2.0);
        places.push(((x, y), class, width));
        if places.len() == MOST_NAMES {
            break;
        }
    }
    places.sort_by(|one, other| one.0.1.total_cmp(&other.0.1));
    for i in 1..places.len() {
        for before in 0..i {
            let ((other_x, other_y), _, other_width) = places[before];
            let ((x, y), _, width) = places[i];
            if (x - other_x).abs() < f64::midpoint(width, other_width) && y - other_y < 17.0 {
                places[i].0.1 = other_y + 17.0;
            }
        }
    }
    for ((x, y), class, width) in places {
        let corners = [(x - width / 2.0, y - 8.0), (x + width / 2.0, y + 8.0)];
        let corners = corners.map(|(x, y)| (sheet.units(x), sheet.units(y)));
        sheet
            .area
            .draw(&Rectangle::new(corners, WHITE.mix(0.8).filled()))?;
        let left = x - width / 2.0 + 3.0;
        let swatch = (sheet.units(left + 4.0), sheet.units(y));
        let color = palette::line(class);
        let style = if palette::is_dashed(class) {
            sheet.stroke(color, 1.5)
        } else {
            color.filled()
        };
        sheet.area.draw(&Circle::new(swatch, sheet.units(3.5), style))?;
        sheet.text(&map.classes[class], (left + 11.0, y), (SMALL, INK, HPos::Left))?;
    }
    Ok(())
}

fn median(points: impl Iterator<Item = (f64, f64)>) -> Option<(f64, f64)> {
    let (mut xs, mut ys): (Vec<f64>, Vec<f64>) = points.unzip();
    xs.sort_by(f64::total_cmp);
    ys.sort_by(f64::total_cmp);
    let middle = xs.len() / 2;
    xs.get(middle).copied().zip(ys.get(middle).copied())
}
