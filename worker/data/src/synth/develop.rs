//! From light to an 8-bit picture, as a camera does it: metering, contrast, tone curve, grain.
//!
//! Why it meters: the mean and the contrast of a picture are drawn, not left to the material, or a colour histogram
//! would tell a class of fine dark gaps from one of broad ones.

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
pub(super) struct Development {
    /// What the mean light becomes.
    key: f32,
    /// What the spread of light becomes, as a share of the mean.
    contrast: f32,
    gamma: f32,
    grain: f32,
}

impl Development {
    pub(super) fn draw(stream: &mut Stream) -> Self {
        Self {
            key: between(stream, 0.2, 0.5),
            contrast: between(stream, 0.25, 0.5),
            gamma: between(stream, 0.45, 0.8),
            grain: between(stream, 0.0, 0.012),
        }
    }

    pub(super) fn develop(&self, exposed: &[Rgb], stream: &mut Stream) -> Picture {
        let metered = Metered::of(exposed);
        let mut rgb = Vec::with_capacity(3 * exposed.len());
        for colour in exposed {
            let grain = self.grain * stream.normal() as f32;
            rgb.extend(colour.map(|light| self.tone(metered.relative(light), grain)));
        }
        Picture {
            pixels: exposed.len().isqrt(),
            rgb,
        }
    }

    fn tone(&self, relative: f32, grain: f32) -> u8 {
        let light = self.key * (1.0 + self.contrast * relative).max(0.0);
        // A soft shoulder, so that bright parts are not cut off.
        let shoulder = 1.0 - (-light * PI / 2.0).exp();
        let shown = shoulder.powf(self.gamma) + grain;
        (255.0 * shown.clamp(0.0, 1.0)).round() as u8
    }
}

/// What a camera measures before it exposes.
struct Metered {
    mean: f32,
    spread: f32,
}

impl Metered {
    fn of(exposed: &[Rgb]) -> Self {
        let n = exposed.len() as f32;
        let grey = || exposed.iter().map(|colour| colour.iter().sum::<f32>() / 3.0);
        let mean = grey().sum::<f32>() / n;
        let variance = grey().map(|light| (light - mean).powi(2)).sum::<f32>() / n;
        Self {
            mean,
            spread: variance.sqrt().max(1e-3),
        }
    }

    /// Light in spreads above the mean.
    fn relative(&self, light: f32) -> f32 {
        (light - self.mean) / self.spread
    }
}
