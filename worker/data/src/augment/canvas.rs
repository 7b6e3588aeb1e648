//! The square picture a view is made on, with the buffers the operations need. One a thread; nothing is allocated
//! again from view to view.

use std::sync::LazyLock;

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ImageView, ResizeAlg, ResizeOptions, Resizer};

use super::{CropBox, Jitter, blur, color, hue};
use crate::decode::Image;

/// A square RGB picture of fixed size. Operations change it in place, in 8 bits.
pub struct Canvas {
    side: u32,
    /// RGB, row by row.
    picture: Vec<u8>,
    blur: blur::Buffers,
    resizer: Resizer,
}

impl Canvas {
    /// A canvas for views of `pixels` × `pixels`.
    pub fn new(pixels: u32) -> Self {
        let size = 3 * pixels as usize * pixels as usize;
        Self {
            side: pixels,
            picture: vec![0; size],
            blur: blur::Buffers::default(),
            resizer: Resizer::new(),
        }
    }

    /// The side of the views in pixels.
    pub fn pixels(&self) -> u32 {
        self.side
    }

    /// The picture as it stands: RGB, row by row.
    pub fn picture(&self) -> &[u8] {
        &self.picture
    }

    /// Starts with a part of `image`, resized with an antialiased triangle filter, as cropping and then resizing do:
    /// pixels beside the box have no weight.
    pub(super) fn resized_crop(&mut self, image: &Image, part: CropBox) {
        let source = view(image);
        let cropped = TypedCroppedImage::from_ref(&source, part.left, part.top, part.width, part.height)
            .expect("the crop lies within the image it was drawn for");
        self.resize(&cropped, &bilinear());
    }

    /// Starts with the centre of `image`, resized so that its shorter side is 256/224 of the canvas. Resizes only what
    /// is kept; pixels just beside the box have weight, as when the whole is resized and then cut.
    pub(super) fn resized_center(&mut self, image: &Image) {
        let side = u64::from(self.side);
        let short = (side * 256 + 112) / 224;
        let (width, height) = (u64::from(image.width), u64::from(image.height));
        let (new_width, new_height) = if width <= height {
            (short, short * height / width)
        } else {
            (short * width / height, short)
        };
        // Along one axis: where the kept part begins and how long it is, in pixels of the source.
        let kept = |old: u64, new: u64| {
            let scale = old as f64 / new as f64;
            let first = ((new - side) as f64 / 2.0).round_ties_even();
            let from = first * scale;
            (from, (side as f64 * scale).min(old as f64 - from))
        };
        let ((left, w), (top, h)) = (kept(width, new_width), kept(height, new_height));
        self.resize(&view(image), &bilinear().crop(left, top, w, h));
    }

    fn resize(&mut self, source: &impl ImageView<Pixel = U8x3>, options: &ResizeOptions) {
        let mut target = TypedImage::<U8x3>::from_buffer(self.side, self.side, &mut self.picture)
            .expect("the canvas has room for its picture");
        self.resizer
            .resize_typed(source, &mut target, options)
            .expect("the box lies within the source");
    }

    /// One operation of the colour jitter.
    pub(super) fn jitter(&mut self, operation: Jitter) {
        match operation {
            Jitter::Brightness(factor) => color::brightness(&mut self.picture, factor as f32),
            Jitter::Contrast(factor) => color::contrast(&mut self.picture, factor as f32),
            Jitter::Saturation(factor) => color::saturation(&mut self.picture, factor as f32),
            Jitter::Hue(turn) => hue::turn(&mut self.picture, turn),
        }
    }

    pub(super) fn gaussian_blur(&mut self, sigma: f64) {
        let row = 3 * self.side as usize;
        blur::gaussian(&mut self.picture, row, sigma as f32, &mut self.blur);
    }

    pub(super) fn grayscale(&mut self) {
        color::grayscale(&mut self.picture);
    }

    pub(super) fn flip(&mut self) {
        color::flip(&mut self.picture, 3 * self.side as usize);
    }

    pub(super) fn solarize(&mut self, threshold: u8) {
        color::solarize(&mut self.picture, threshold);
    }

    /// Writes the picture as `[3, pixels, pixels]`, each channel less its mean and over its standard deviation.
    pub fn write_normalized(&self, out: &mut [f32]) {
        assert_eq!(
            out.len(),
            self.picture.len(),
            "a view has three channels of pixels²"
        );
        let n_pixels = self.picture.len() / 3;
        for (channel, plane) in out.chunks_exact_mut(n_pixels).enumerate() {
            let table = &NORMALIZED[channel];
            for (value, pixel) in plane.iter_mut().zip(self.picture.chunks_exact(3)) {
                *value = table[usize::from(pixel[channel])];
            }
        }
    }
}

/// ImageNet's channel means, of values between 0 and 1.
pub const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// ImageNet's channel standard deviations.
pub const STD: [f32; 3] = [0.229, 0.224, 0.225];

/// Every 8-bit value of every channel, normalised.
static NORMALIZED: LazyLock<[[f32; 256]; 3]> = LazyLock::new(|| {
    std::array::from_fn(|channel| {
        std::array::from_fn(|value| (value as f32 / 255.0 - MEAN[channel]) / STD[channel])
    })
});

/// An 8-bit level of a channel, normalised.
pub(crate) fn normalized(channel: usize, level: u8) -> f32 {
    NORMALIZED[channel][usize::from(level)]
}

fn bilinear() -> ResizeOptions {
    ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear))
}

fn view(image: &Image) -> TypedImageRef<'_, U8x3> {
    TypedImageRef::from_buffer(image.width, image.height, &image.pixels)
        .expect("a decoded image has three bytes a pixel")
}
