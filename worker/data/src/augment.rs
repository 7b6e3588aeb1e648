//! The two views of a picture: what is drawn at random ([`ViewParameters::draw`]) and what is done with it
//! ([`ViewParameters::apply`]).
//!
//! The operations are those of the published pipeline (mathematics.md, "Two views"), each in 8 bits as Pillow and
//! torchvision do it. Drawing is apart from doing, so that a view can be named, compared and made again. Nothing here
//! reads a file or knows a batch.
//!
//! Why the crop is drawn last: it takes a varying number of tries that depends on the picture's size. Everything else
//! then depends on the key alone, also when a damaged file's place is taken by another picture.

mod blur;
mod canvas;
mod color;
mod crop;
mod hue;
mod resize;

use arrayvec::ArrayVec;
use m2t_common::random::Stream;
use m2t_common::recipe::Augment;
use m2t_common::shard::Sample;

use crate::decode::Image;
pub use blur::BoxFilter;
pub(crate) use canvas::normalized;
pub use canvas::{Canvas, MEAN, SCALES, STD, Scale};
pub use crop::CropBox;

/// What a view's randomness depends on, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViewKey {
    /// Seed of the run.
    pub seed: u64,
    /// Epoch, from 0.
    pub epoch: u64,
    /// The sample whose place in the batch this is; also when another picture takes its place.
    pub sample: Sample,
    /// 0 for the first view, 1 for the second; there is no other.
    pub view: usize,
}

/// One operation of the colour jitter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Jitter {
    /// Blends with black; 1 changes nothing.
    Brightness(f64),
    /// Blends with the mean grey; 1 changes nothing.
    Contrast(f64),
    /// Blends with the grey picture; 1 changes nothing.
    Saturation(f64),
    /// Turns the hue by this part of a full turn.
    Hue(f64),
}

/// A part of making a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The crop, resized.
    Crop,
    /// The colour jitter.
    Jitter,
    /// The blur.
    Blur,
    /// Greyscale, flip and solarize.
    Rest,
}

/// Everything that makes one view out of one picture, in the order in which it is done.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewParameters {
    /// The part of the picture that becomes the view.
    pub crop: CropBox,
    /// Colour operations in the drawn order; empty without jitter.
    pub jitter: ArrayVec<Jitter, 4>,
    /// σ of the Gaussian blur in pixels of the view.
    pub blur_sigma: Option<f64>,
    /// Whether colour is taken away.
    pub grayscale: bool,
    /// Whether left and right are exchanged.
    pub flip: bool,
    /// Whether values of 128 and more are inverted.
    pub solarize: bool,
}

impl ViewParameters {
    /// Draws a view of a picture of `size` = (width, height).
    pub fn draw(augment: &Augment, size: (u32, u32), key: ViewKey) -> Self {
        let ViewKey {
            seed,
            epoch,
            sample,
            view,
        } = key;
        let mut stream = Stream::new("augment", &[seed, epoch, sample.0, view as u64]);
        let jitter = draw_jitter(augment, &mut stream);
        let blur = stream.chance(augment.blur_p[view]);
        let sigma = stream.uniform(augment.blur_sigma[0], augment.blur_sigma[1]);
        Self {
            jitter,
            blur_sigma: blur.then_some(sigma),
            grayscale: stream.chance(augment.grayscale_p),
            flip: stream.chance(augment.flip_p),
            solarize: stream.chance(augment.solarize_p[view]),
            crop: CropBox::draw(augment, size, &mut stream),
        }
    }

    /// Makes the view on `canvas`, in 8 bits. The crop must lie within `image`, as it does when it was drawn for its
    /// size.
    pub fn render(&self, image: &Image, canvas: &mut Canvas) {
        self.render_watched(image, canvas, |_| ());
    }

    /// Only the crop, resized: what [`render`](Self::render) begins with.
    pub fn crop(&self, image: &Image, canvas: &mut Canvas) {
        canvas.resized_crop(image, self.crop);
    }

    /// As [`render`](Self::render); `after` is told each part that is done.
    pub fn render_watched(&self, image: &Image, canvas: &mut Canvas, mut after: impl FnMut(Part)) {
        self.crop(image, canvas);
        after(Part::Crop);
        for operation in &self.jitter {
            canvas.jitter(*operation);
        }
        after(Part::Jitter);
        if let Some(sigma) = self.blur_sigma {
            canvas.gaussian_blur(sigma);
        }
        after(Part::Blur);
        if self.grayscale {
            canvas.grayscale();
        }
        if self.flip {
            canvas.flip();
        }
        if self.solarize {
            canvas.solarize(128);
        }
        after(Part::Rest);
    }

    /// Makes the view and writes it, normalised, to `out`: `[3, pixels, pixels]`.
    pub fn apply(&self, image: &Image, canvas: &mut Canvas, out: &mut [f32]) {
        self.render(image, canvas);
        canvas.write_normalized(out);
    }
}

/// The view used for evaluation: the shorter side resized to `pixels · 256 / 224`, the centre cut out, normalised to
/// `out`: `[3, pixels, pixels]`.
pub fn center_view(image: &Image, canvas: &mut Canvas, out: &mut [f32]) {
    canvas.resized_center(image);
    canvas.write_normalized(out);
}

/// A factor that cannot vary is left out: a hue turned by nothing would still be rounded through HSV.
fn draw_jitter(augment: &Augment, stream: &mut Stream) -> ArrayVec<Jitter, 4> {
    let jitter = stream.chance(augment.jitter_p);
    let mut factor = |spread: f64| stream.uniform((1.0 - spread).max(0.0), 1.0 + spread);
    let brightness = factor(augment.brightness);
    let contrast = factor(augment.contrast);
    let saturation = factor(augment.saturation);
    let hue = stream.uniform(-augment.hue, augment.hue);
    let mut operations = [
        (augment.brightness, Jitter::Brightness(brightness)),
        (augment.contrast, Jitter::Contrast(contrast)),
        (augment.saturation, Jitter::Saturation(saturation)),
        (augment.hue, Jitter::Hue(hue)),
    ];
    stream.shuffle(&mut operations);
    operations
        .into_iter()
        .filter(|(spread, _)| jitter && *spread > 0.0)
        .map(|(_, operation)| operation)
        .collect()
}

#[cfg(test)]
mod tests;
