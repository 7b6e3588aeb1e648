//! Pixel operations on the three planes of an 8-bit RGB picture, with Pillow's rounding: blends are computed in float32 and
//! truncated.
//!
//! Each is a loop over whole planes that the compiler makes vectors of; see [`crate::simd`].

use crate::simd::{Level, kernel, to_level};

/// Red, green and blue of a picture, equally long.
pub(super) type Planes<'a> = [&'a mut [u8]; 3];

/// Blends with black.
pub(super) fn brightness(level: Level, picture: &mut [u8], factor: f32) {
    blend_with_constant(level, picture, 0, factor);
}

/// Blends with the mean of the picture's luma, rounded to a whole level.
pub(super) fn contrast(level: Level, planes: Planes<'_>, factor: f32) {
    let n = planes[0].len();
    let sum = sum_of_luma(level, &planes);
    let mean = sum as f64 / n as f64;
    for plane in planes {
        blend_with_constant(level, plane, (mean + 0.5) as u8, factor);
    }
}

kernel! {
    /// Blends each pixel with its own luma.
    pub(super) fn saturation(planes: Planes<'_>, factor: f32) {
        for (r, g, b) in pixels(planes) {
            let grey = f32::from(luma(*r, *g, *b));
            *r = blend(grey, f32::from(*r), factor);
            *g = blend(grey, f32::from(*g), factor);
            *b = blend(grey, f32::from(*b), factor);
        }
    }
}

kernel! {
    /// Replaces each pixel by its luma.
    pub(super) fn grayscale(planes: Planes<'_>) {
        for (r, g, b) in pixels(planes) {
            let grey = luma(*r, *g, *b);
            (*r, *g, *b) = (grey, grey, grey);
        }
    }
}

kernel! {
    /// Inverts values from `threshold` on.
    pub(super) fn solarize(picture: &mut [u8], threshold: u8) {
        for value in picture {
            *value = if *value >= threshold { 255 - *value } else { *value };
        }
    }
}

/// Exchanges left and right; `row` is the bytes of a row.
pub(super) fn flip(picture: &mut [u8], row: usize) {
    for row in picture.chunks_exact_mut(row) {
        row.reverse();
    }
}

/// The pixels of a picture, channel by channel.
#[inline(always)]
pub(super) fn pixels<'a>(planes: Planes<'a>) -> impl Iterator<Item = (&'a mut u8, &'a mut u8, &'a mut u8)> {
    let [r, g, b] = planes;
    r.iter_mut().zip(g).zip(b).map(|((r, g), b)| (r, g, b))
}

kernel! {
    /// Block by block: a block's sum fits 32 bits, which makes wide vectors.
    fn sum_of_luma(planes: &Planes<'_>) -> u64 {
        const BLOCK: usize = 1 << 14;
        let [r, g, b] = planes;
        let mut sum = 0;
        for ((r, g), b) in r.chunks(BLOCK).zip(g.chunks(BLOCK)).zip(b.chunks(BLOCK)) {
            let mut of_block = 0u32;
            for ((r, g), b) in r.iter().zip(g).zip(b) {
                of_block = of_block.wrapping_add(u32::from(luma(*r, *g, *b)));
            }
            sum += u64::from(of_block);
        }
        sum
    }
}

/// ITU-R 601 luma in 16-bit fixed point, as Pillow converts to "L". The weights sum to 2¹⁶, so nothing wraps.
#[inline(always)]
fn luma(r: u8, g: u8, b: u8) -> u8 {
    let weighted = |value: u8, weight: u32| u32::from(value).wrapping_mul(weight);
    let sum = weighted(r, 19_595)
        .wrapping_add(weighted(g, 38_470))
        .wrapping_add(weighted(b, 7_471))
        .wrapping_add(0x8000);
    (sum >> 16) as u8
}

/// From `a` (factor 0) over `b` (factor 1) and beyond; the conversion truncates and saturates.
#[inline(always)]
fn blend(a: f32, b: f32, factor: f32) -> u8 {
    to_level(a + factor * (b - a))
}

kernel! {
    fn blend_with_constant(picture: &mut [u8], constant: u8, factor: f32) {
        for value in picture {
            *value = blend(f32::from(constant), f32::from(*value), factor);
        }
    }
}
