//! Colours and light: how a spot of a material looks. Alike for every material.

use std::f32::consts::TAU;

use m2t_common::random::Stream;

use super::noise::{Point, noise, smoothstep};
use super::scene::{anywhere, between};

/// Linear red, green and blue.
pub(super) type Rgb = [f32; 3];

/// The two colours a material's tone mixes, and a stain over both.
pub(super) struct Palette {
    low: Rgb,
    high: Rgb,
    stain: Rgb,
    stained: f32,
}

impl Palette {
    pub(super) fn draw(stream: &mut Stream) -> Self {
        let hue = between(stream, 0.0, 1.0);
        let opposite = if stream.chance(0.3) { 0.5 } else { 0.0 };
        let other_hue = hue + opposite + 0.06 * stream.normal() as f32;
        let (dark, step) = (between(stream, 0.13, 0.28), between(stream, 0.22, 0.4));
        let near_hue = hue + between(stream, -0.2, 0.2);
        Self {
            low: colour(hue, between(stream, 0.3, 0.75), dark),
            high: colour(other_hue, between(stream, 0.3, 0.75), dark + step),
            stain: colour(near_hue, between(stream, 0.1, 0.7), between(stream, 0.1, 0.6)),
            stained: between(stream, 0.0, 0.5),
        }
    }

    /// The colour of `tone` at a point of the picture.
    pub(super) fn mix(&self, tone: f32, at: Point, seed: u32) -> Rgb {
        let stain = self.stained * smoothstep(-0.3, 0.6, noise(at.stretched(0.9, 0.9), seed ^ 13));
        let tone = tone.clamp(0.0, 1.0);
        std::array::from_fn(|i| {
            let own = self.low[i] + (self.high[i] - self.low[i]) * tone;
            own + (self.stain[i] - own) * stain
        })
    }
}

/// A colour by hue (turns), saturation and value.
fn colour(hue: f32, saturation: f32, value: f32) -> Rgb {
    [0.0f32, 1.0 / 3.0, 2.0 / 3.0].map(|shift| {
        let pale = 0.5 - 0.5 * (TAU * (hue - shift)).cos();
        value * (1.0 - saturation * pale)
    })
}

/// A lamp somewhere above, the light all around, and a shadow.
pub(super) struct Light {
    /// Towards the lamp, in the plane of the picture.
    direction: Point,
    /// How strongly the relief shows: grazing light is strong.
    relief: f32,
    colour: Rgb,
    ambient: f32,
    /// Fall-off across the picture.
    slope: Point,
    gloss: f32,
    shadow: Shadow,
}

/// A soft shadow that falls on part of the picture.
struct Shadow {
    normal: Point,
    offset: f32,
    softness: f32,
    depth: f32,
}

impl Light {
    pub(super) fn draw(stream: &mut Stream) -> Self {
        let warmth = between(stream, -0.15, 0.15);
        let glossy = stream.chance(0.3);
        Self {
            direction: Point::new(0.0, -1.0).turned(between(stream, -1.0, 1.0)),
            relief: between(stream, 0.3, 1.4),
            colour: [1.0 + warmth, 1.0, 1.0 - warmth],
            ambient: between(stream, 0.15, 0.6),
            slope: anywhere(stream, 0.6),
            gloss: if glossy { between(stream, 0.1, 0.5) } else { 0.0 },
            shadow: Shadow {
                normal: Point::new(1.0, 0.0).turned(between(stream, 0.0, TAU)),
                offset: between(stream, -0.2, 1.2),
                softness: between(stream, 0.05, 0.5),
                depth: between(stream, 0.0, 0.5),
            },
        }
    }

    /// What a spot of colour `albedo` with the given slope, `at` a point of the picture, sends to the camera.
    pub(super) fn on(&self, albedo: Rgb, slope: Point, at: Point) -> Rgb {
        // The surface's normal is (-slope, 1), the lamp stands towards (relief · direction, 1); both to unit length.
        let facing = 1.0 - self.relief * slope.dot(self.direction);
        let lengths = (1.0 + slope.dot(slope)) * (1.0 + self.relief * self.relief);
        let cosine = (facing / lengths.sqrt()).max(0.0);
        let diffuse = self.ambient + (1.0 - self.ambient) * 1.3 * cosine;
        let glint = self.gloss * cosine.powi(16);
        let all = self.shadow.at(at) * (1.0 + self.slope.dot(at)).max(0.1);
        std::array::from_fn(|i| (albedo[i] * diffuse + glint) * self.colour[i] * all)
    }
}

impl Shadow {
    /// The share of light that is left.
    fn at(&self, at: Point) -> f32 {
        let side = at.dot(self.normal) - self.offset;
        1.0 - self.depth * smoothstep(-self.softness, self.softness, side)
    }
}
