//! Pixel operations on interleaved 8-bit RGB, with Pillow's rounding: blends are computed in float32 and truncated.

/// Blends with black.
pub(super) fn brightness(picture: &mut [u8], factor: f32) {
    blend_with_constant(picture, 0, factor);
}

/// Blends with the mean of the picture's luma, rounded to a whole level.
pub(super) fn contrast(picture: &mut [u8], factor: f32) {
    let (pixels, _) = picture.as_chunks();
    let sum: u64 = pixels.iter().map(|pixel| u64::from(luma(*pixel))).sum();
    let mean = sum as f64 / pixels.len() as f64;
    blend_with_constant(picture, (mean + 0.5) as u8, factor);
}

/// Blends each pixel with its own luma.
pub(super) fn saturation(picture: &mut [u8], factor: f32) {
    for pixel in picture.as_chunks_mut().0 {
        let grey = luma(*pixel);
        *pixel = pixel.map(|value| blend(grey, value, factor));
    }
}

/// Replaces each pixel by its luma.
pub(super) fn grayscale(picture: &mut [u8]) {
    for pixel in picture.as_chunks_mut().0 {
        *pixel = [luma(*pixel); 3];
    }
}

/// Inverts values from `threshold` on.
pub(super) fn solarize(picture: &mut [u8], threshold: u8) {
    for value in picture {
        *value = if *value >= threshold { 255 - *value } else { *value };
    }
}

/// Exchanges left and right; `row` is the bytes of a row.
pub(super) fn flip(picture: &mut [u8], row: usize) {
    for row in picture.chunks_exact_mut(row) {
        let (pixels, _) = row.as_chunks_mut::<3>();
        pixels.reverse();
    }
}

/// ITU-R 601 luma in 16-bit fixed point, as Pillow converts to "L".
fn luma(pixel: [u8; 3]) -> u8 {
    let [r, g, b] = pixel.map(u32::from);
    ((r * 19_595 + g * 38_470 + b * 7_471 + 0x8000) >> 16) as u8
}

/// From `a` (factor 0) over `b` (factor 1) and beyond; the conversion truncates and saturates.
fn blend(a: u8, b: u8, factor: f32) -> u8 {
    let (a, b) = (f32::from(a), f32::from(b));
    (a + factor * (b - a)) as u8
}

fn blend_with_constant(picture: &mut [u8], constant: u8, factor: f32) {
    let table: [u8; 256] = std::array::from_fn(|value| blend(constant, value as u8, factor));
    for value in picture {
        *value = table[usize::from(*value)];
    }
}
