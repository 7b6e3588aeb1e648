//! Turning the hue through Pillow's 8-bit HSV, as torchvision's `adjust_hue` does.
//!
//! Pillow's C mixes float32 and float64 and truncates; this computes everything in float32, 8 or 16 pixels at a time.
//! That the results are the same is no accident of rounding but was tried: a hue depends on the order of the channels, on their
//! range and on where the middle one lies, a turned colour on three bytes, and the tests go through all of them.

use super::color::{Planes, pixels};
use crate::simd::{Level, kernel, to_level};

/// Turns the hue of every pixel by `turn` of a full turn, truncated towards zero to 1/255.
pub(super) fn turn(level: Level, planes: Planes<'_>, turn: f64) {
    shift(level, planes, (turn * 255.0) as i32 as u8);
}

kernel! {
    fn shift(planes: Planes<'_>, by: u8) {
        for (r, g, b) in pixels(planes) {
            let (hue, saturation, value) = hsv(*r, *g, *b);
            (*r, *g, *b) = rgb(hue.wrapping_add(by), saturation, value);
        }
    }
}

/// Hue (255 is a full turn), saturation and value.
#[inline(always)]
fn hsv(r: u8, g: u8, b: u8) -> (u8, u8, u8) {
    let (max, min) = (r.max(g).max(b), r.min(g).min(b));
    // One exclusive or of all three and two of them leaves the third.
    let middle = r ^ g ^ b ^ max ^ min;
    // A grey pixel divides by 1; its saturation is 0 and its hue of no consequence.
    let range = f32::from(max.wrapping_sub(min));
    let part = f32::from(max.wrapping_sub(middle)) / range.max(1.0);
    // In sixths of a turn: the greatest channel gives the place, the smallest the direction.
    let rising = if r == max {
        b == min
    } else if g == max {
        r == min
    } else {
        g == min
    };
    let place = if r == max {
        0.0
    } else if g == max {
        2.0
    } else {
        4.0
    };
    let sixths = if rising {
        (place + 1.0) - part
    } else {
        (place - 1.0) + part
    };
    let turn = sixths / 6.0;
    let turn = if turn < 0.0 { turn + 1.0 } else { turn };
    let saturation = range / f32::from(max).max(1.0);
    (to_level(turn * 255.0), to_level(saturation * 255.0), max)
}

#[inline(always)]
fn rgb(hue: u8, saturation: u8, value: u8) -> (u8, u8, u8) {
    let sixths = u16::from(hue).wrapping_mul(6);
    let sector = to_level(f32::from(sixths) / 255.0);
    let past = f32::from(sixths.wrapping_sub(u16::from(sector).wrapping_mul(255))) / 255.0;
    let saturation = f32::from(saturation) / 255.0;
    // Halves up, as C's round; the results are between 0 and 255.
    let level = |part: f32| to_level(f32::from(value) * part + 0.5);
    let low = level(1.0 - saturation);
    let falling = level(1.0 - saturation * past);
    let rising = level(1.0 - saturation * (1.0 - past));
    // The sixth sector is the first again.
    let channel = |of: [u8; 6]| {
        let mut channel = of[0];
        for (number, value) in (1..6).zip(&of[1..]) {
            channel = if sector == number { *value } else { channel };
        }
        channel
    };
    (
        channel([value, falling, low, low, rising, value]),
        channel([rising, value, value, falling, low, low]),
        channel([low, low, rising, value, value, falling]),
    )
}

#[cfg(test)]
mod tests;
