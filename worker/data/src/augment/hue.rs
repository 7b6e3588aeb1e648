//! Turning the hue through Pillow's 8-bit HSV, as torchvision's `adjust_hue` does.
//!
//! The arithmetic mixes float32 and float64 exactly where Pillow's C does, because the results are truncated. On the
//! way to HSV it is done once, into tables: a hue depends on which channels are greatest and smallest, on their
//! difference and on where the third lies between them; a saturation on two numbers.

use std::sync::LazyLock;

/// Turns the hue of every pixel by `turn` of a full turn, truncated towards zero to 1/255.
pub(super) fn turn(picture: &mut [u8], turn: f64) {
    let shift = (turn * 255.0) as i32 as u8;
    let sectors: [Sector; 256] = std::array::from_fn(|hue| Sector::of((hue as u8).wrapping_add(shift)));
    let tables = &*TABLES;
    for pixel in picture.as_chunks_mut().0 {
        let [hue, saturation, value] = tables.hsv(*pixel);
        *pixel = sectors[usize::from(hue)].rgb(tables.fractions[usize::from(saturation)], value);
    }
}

static TABLES: LazyLock<Tables> = LazyLock::new(Tables::new);

struct Tables {
    /// By order of the channels, then their range, then the distance of the middle one from the greatest.
    hue: Vec<u8>,
    /// By range, then value.
    saturation: Vec<u8>,
    /// Saturations as parts of 1.
    fractions: [f64; 256],
}

impl Tables {
    fn new() -> Self {
        let pairs = || (0..=255u8).flat_map(|range| (0..=255u8).map(move |second| (range, second)));
        let saturation = |(range, value): (u8, u8)| {
            let part = f32::from(range) / f32::from(value);
            (f64::from(part) * 255.0) as u8
        };
        Self {
            hue: (0..6)
                .flat_map(|order| pairs().map(move |(range, distance)| hue(order, range, distance)))
                .collect(),
            saturation: pairs().map(saturation).collect(),
            fractions: std::array::from_fn(|s| f64::from((s as f64 / 255.0) as f32)),
        }
    }

    fn hsv(&self, [r, g, b]: [u8; 3]) -> [u8; 3] {
        let (max, min) = (r.max(g).max(b), r.min(g).min(b));
        let range = max - min;
        if range == 0 {
            return [0, 0, max];
        }
        let (order, middle) = match () {
            () if r == max && b == min => (0, g),
            () if r == max => (1, b),
            () if g == max && r == min => (2, b),
            () if g == max => (3, r),
            () if g == min => (4, r),
            () => (5, g),
        };
        let row = usize::from(range) << 8;
        [
            self.hue[order << 16 | row | usize::from(max - middle)],
            self.saturation[row | usize::from(max)],
            max,
        ]
    }
}

/// The hue of a pixel whose greatest and smallest channels differ by `range` and whose middle one is `distance` below
/// the greatest. The smallest one's part is exactly 1.
fn hue(order: u8, range: u8, distance: u8) -> u8 {
    let part = f32::from(distance) / f32::from(range);
    let wide = f64::from(part);
    let sixth = match order {
        0 => 1.0 - part,
        1 => part - 1.0,
        2 => (2.0 + 1.0 - wide) as f32,
        3 => (2.0 + wide - 1.0) as f32,
        4 => (4.0 + 1.0 - wide) as f32,
        _ => (4.0 + wide - 1.0) as f32,
    };
    // Between 5/6 and 11/6, so this is the remainder by 1.
    let turned = f64::from(sixth) / 6.0 + 1.0;
    let turned = if turned >= 1.0 { turned - 1.0 } else { turned };
    (f64::from(turned as f32) * 255.0) as u8
}

/// A sixth of the circle and a place in it.
struct Sector {
    number: u8,
    /// How far into the sixth.
    past: f64,
    /// How far from its end.
    left: f64,
}

impl Sector {
    fn of(hue: u8) -> Self {
        let sixths = f64::from(hue) * 6.0 / 255.0;
        let number = sixths as u8;
        let past = f64::from((sixths - f64::from(number)) as f32);
        Self {
            number: number % 6,
            past,
            left: 1.0 - past,
        }
    }

    fn rgb(&self, saturation: f64, value: u8) -> [u8; 3] {
        // Halves away from zero, as C's round; the results are between 0 and 255.
        let level = |part: f64| (f64::from(value) * part + 0.5) as i32 as u8;
        let low = level(1.0 - saturation);
        let (falling, rising) = (
            level(1.0 - saturation * self.past),
            level(1.0 - saturation * self.left),
        );
        match self.number {
            0 => [value, rising, low],
            1 => [falling, value, low],
            2 => [low, value, rising],
            3 => [low, falling, value],
            4 => [rising, low, value],
            _ => [value, low, falling],
        }
    }
}

#[cfg(test)]
mod tests;
