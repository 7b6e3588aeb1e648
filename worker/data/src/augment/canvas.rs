//! The square picture a view is made on, with the buffers the operations need. One a thread; nothing is allocated again
//! from view to view.

use super::color::Planes;
use super::resize::{Resizer, Stretch};
use super::{CropBox, Jitter, blur, color, hue};
use crate::decode::Image;
use crate::simd::{Level, kernel};

/// A square RGB picture of fixed size. Operations change it in place, in 8 bits.
pub struct Canvas {
    side: u32,
    level: Level,
    /// The picture: a red, a green and a blue plane.
    planes: Vec<u8>,
    blur: blur::Buffers,
    resizer: Resizer,
}

impl Canvas {
    /// A canvas for views of `pixels` × `pixels`.
    pub fn new(pixels: u32) -> Self {
        Self::with_level(pixels, Level::best())
    }

    /// One that uses these instructions of the processor; the pictures are the same.
    pub(crate) fn with_level(pixels: u32, level: Level) -> Self {
        let size = 3 * pixels as usize * pixels as usize;
        Self {
            side: pixels,
            level,
            planes: vec![0; size],
            blur: blur::Buffers::default(),
            resizer: Resizer::default(),
        }
    }

    /// The side of the views in pixels.
    pub fn pixels(&self) -> u32 {
        self.side
    }

    /// The picture as it stands: a red, a green and a blue plane, each row by row.
    pub fn planes(&self) -> &[u8] {
        &self.planes
    }

    /// The same, as images are decoded: RGB, row by row.
    #[cfg(test)]
    pub(super) fn interleaved(&self) -> Vec<u8> {
        let n = self.planes.len() / 3;
        (0..n)
            .flat_map(|pixel| [0, n, 2 * n].map(|plane| self.planes[plane + pixel]))
            .collect()
    }

    /// Starts with a part of `image`, resized as cropping and then resizing do: pixels beside the box have no weight. The
    /// box must lie within the image.
    pub(super) fn resized_crop(&mut self, image: &Image, part: CropBox) {
        let CropBox {
            top,
            left,
            height,
            width,
        } = part;
        assert!(
            left + width <= image.width && top + height <= image.height && width > 0 && height > 0,
            "the crop lies within the image it was drawn for"
        );
        let side = u64::from(self.side);
        let whole = |from| Stretch {
            from,
            to: side,
            kept: 0..side,
        };
        self.resize(image, &whole(left..left + width), &whole(top..top + height));
    }

    /// Starts with the centre of `image`, resized so that its shorter side is 256/224 of the canvas. Resizes only what
    /// is kept; pixels just beside it have weight, as when the whole is resized and then cut.
    pub(super) fn resized_center(&mut self, image: &Image) {
        let side = u64::from(self.side);
        let short = (side * 256 + 112) / 224;
        let longer = |long: u32, than: u32| short * u64::from(long) / u64::from(than);
        let (width, height) = (image.width, image.height);
        let (new_width, new_height) = if width <= height {
            (short, longer(height, width))
        } else {
            (longer(width, height), short)
        };
        let centre = |old: u32, new: u64| {
            let first = ((new - side) as f64 / 2.0).round_ties_even() as u64;
            Stretch {
                from: 0..old,
                to: new,
                kept: first..first + side,
            }
        };
        self.resize(image, &centre(width, new_width), &centre(height, new_height));
    }

    fn resize(&mut self, image: &Image, columns: &Stretch, rows: &Stretch) {
        let planes = split(&mut self.planes);
        self.resizer.resize(self.level, image, [columns, rows], planes);
    }

    fn split(&mut self) -> Planes<'_> {
        split(&mut self.planes)
    }

    /// One operation of the colour jitter.
    pub(super) fn jitter(&mut self, operation: Jitter) {
        let level = self.level;
        match operation {
            Jitter::Brightness(factor) => color::brightness(level, &mut self.planes, factor as f32),
            Jitter::Contrast(factor) => color::contrast(level, self.split(), factor as f32),
            Jitter::Saturation(factor) => color::saturation(level, self.split(), factor as f32),
            Jitter::Hue(turn) => hue::turn(level, self.split(), turn),
        }
    }

    pub(super) fn gaussian_blur(&mut self, sigma: f64) {
        for plane in split(&mut self.planes) {
            blur::gaussian(
                self.level,
                plane,
                self.side as usize,
                sigma as f32,
                &mut self.blur,
            );
        }
    }

    pub(super) fn grayscale(&mut self) {
        color::grayscale(self.level, self.split());
    }

    pub(super) fn flip(&mut self) {
        color::flip(&mut self.planes, self.side as usize);
    }

    pub(super) fn solarize(&mut self, threshold: u8) {
        color::solarize(self.level, &mut self.planes, threshold);
    }

    /// Writes the picture as `[3, pixels, pixels]`, each channel less its mean and over its standard deviation.
    pub fn write_normalized(&self, out: &mut [f32]) {
        assert_eq!(
            out.len(),
            self.planes.len(),
            "a view has three channels of pixels²"
        );
        let n = (self.side as usize).pow(2);
        let planes = out.chunks_exact_mut(n).zip(self.planes.chunks_exact(n));
        for ((out, plane), scale) in planes.zip(SCALES) {
            normalize(self.level, out, plane, scale);
        }
    }
}

kernel! {
    fn normalize(out: &mut [f32], plane: &[u8], scale: Scale) {
        for (out, value) in out.iter_mut().zip(plane) {
            *out = scale.normalized(*value);
        }
    }
}

fn split(planes: &mut [u8]) -> Planes<'_> {
    let n = planes.len() / 3;
    let (r, rest) = planes.split_at_mut(n);
    let (g, b) = rest.split_at_mut(n);
    [r, g, b]
}

/// ImageNet's channel means, of values between 0 and 1.
pub const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// ImageNet's channel standard deviations.
pub const STD: [f32; 3] = [0.229, 0.224, 0.225];

/// How a channel's levels are normalised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// The level that becomes 0.
    pub mean: f32,
    /// What a level more adds.
    pub per_level: f32,
}

impl Scale {
    #[inline(always)]
    fn normalized(self, level: u8) -> f32 {
        (f32::from(level) - self.mean) * self.per_level
    }
}

/// A level v becomes (v/255 − mean)/std, to one rounding more or less.
pub const SCALES: [Scale; 3] = {
    let mut scales = [Scale {
        mean: 0.0,
        per_level: 0.0,
    }; 3];
    let mut channel = 0;
    while channel < 3 {
        scales[channel] = Scale {
            mean: (255.0 * MEAN[channel] as f64) as f32,
            per_level: (1.0 / (255.0 * STD[channel] as f64)) as f32,
        };
        channel += 1;
    }
    scales
};

/// An 8-bit level of a channel, normalised.
pub(crate) fn normalized(channel: usize, level: u8) -> f32 {
    SCALES[channel].normalized(level)
}
