//! From light to an 8-bit picture, as a camera does it: exposure, contrast, tone curve, grain. Alike for every material.

use std::f32::consts::PI;

use m2t_common::random::Stream;

use super::light::Rgb;
use super::scene::between;

/// An 8-bit RGB picture, square, rows from the top.
pub(super) struct Picture {
    pub(super) pixels: usize,
    pub(super) rgb: Vec<u8>,
}

/// How a picture is developed.
///
/// Why it does not meter the light: materials differ in lightness and contrast, and a young network holds on to that
/// until it sees structure. (Tried: with mean and contrast drawn for each picture, pretraining of a few minutes stayed
/// near its random initialisation.)
pub(super) struct Development {
    /// Exposure, relative.
    gain: f32,
    /// Factor of the distance from the picture's mean.
    contrast: f32,
    gamma: f32,
    grain: f32,
}

impl Development {
    pub(super) fn draw(stream: &mut Stream) -> Self {
        Self {
            gain: between(stream, 0.2, 0.8).exp2(),
            contrast: between(stream, -0.4, 0.2).exp2(),
            gamma: between(stream, 0.45, 0.8),
            grain: between(stream, 0.0, 0.012),
        }
    }

    pub(super) fn develop(&self, exposed: &[Rgb], stream: &mut Stream) -> Picture {
        let mean = exposed.iter().flatten().sum::<f32>() / (3 * exposed.len()) as f32;
        let mut rgb = Vec::with_capacity(3 * exposed.len());
        for colour in exposed {
            let grain = self.grain * stream.normal() as f32;
            rgb.extend(colour.map(|light| self.tone(mean + self.contrast * (light - mean), grain)));
        }
        Picture {
            pixels: exposed.len().isqrt(),
            rgb,
        }
    }

    fn tone(&self, light: f32, grain: f32) -> u8 {
        // A soft shoulder, so that bright parts are not cut off.
        let shoulder = 1.0 - (-self.gain * light.max(0.0) * PI / 2.0).exp();
        let shown = shoulder.powf(self.gamma) + grain;
        (255.0 * shown.clamp(0.0, 1.0)).round() as u8
    }
}
