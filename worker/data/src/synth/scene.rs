//! The scene in which a material is photographed: everything about a picture that does *not* tell its class. Palette,
//! camera, light, shadow, exposure and sensor are drawn the same way for every material. Writes no files.
//!
//! Why so strong: a nearest neighbour in pixels, colours or untrained features should share the scene and not the
//! material, so that only features which overlook the scene find the class. Crops, colour jitter and flips change the
//! scene and keep the material: this is what pretraining can learn from.

use std::f32::consts::{PI, TAU};

use m2t_common::random::Stream;

use super::material::{Material, Piece, Surface};
use super::noise::{Point, noise, smoothstep};

/// Samples of the surface to a pixel, each way.
const FINE: usize = 2;

/// An 8-bit RGB picture, square, rows from the top.
pub(super) struct Picture {
    pub(super) pixels: usize,
    pub(super) rgb: Vec<u8>,
}

/// Photographs a piece of `material` under conditions drawn from `stream`.
pub(super) fn photograph(material: Material, pixels: usize, stream: &mut Stream) -> Picture {
    let scene = Scene::draw(stream);
    let relief = scene.relief(material, pixels * FINE);
    let linear = scene.shade(&relief, pixels * FINE);
    scene.develop(&linear, pixels, stream)
}

type Rgb = [f32; 3];

struct Scene {
    piece: Piece,
    camera: Camera,
    palette: Palette,
    light: Light,
    exposure: Exposure,
}

/// From the picture to the material's plane.
struct Camera {
    angle: f32,
    /// Units of the plane across the picture.
    span: f32,
    tilt: Point,
    offset: Point,
    warp: f32,
}

/// The two colours a material's tone mixes, and a stain over both.
struct Palette {
    low: Rgb,
    high: Rgb,
    stain: Rgb,
    stained: f32,
}

struct Light {
    /// Towards the light, in the plane of the picture.
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

struct Exposure {
    gain: f32,
    contrast: f32,
    gamma: f32,
    noise: f32,
}

fn between(stream: &mut Stream, low: f32, high: f32) -> f32 {
    stream.uniform(f64::from(low), f64::from(high)) as f32
}

fn on_circle(stream: &mut Stream, radius: f32) -> Point {
    Point::new(radius, 0.0).turned(between(stream, 0.0, TAU))
}

impl Scene {
    fn draw(stream: &mut Stream) -> Self {
        Self {
            piece: Piece {
                seed: stream.bits() as u32,
                habit: stream.unit() as f32,
            },
            camera: Camera::draw(stream),
            palette: Palette::draw(stream),
            light: Light::draw(stream),
            exposure: Exposure::draw(stream),
        }
    }

    fn relief(&self, material: Material, side: usize) -> Vec<Surface> {
        let position = |i: usize| 2.0 * (i as f32 + 0.5) / side as f32 - 1.0;
        let mut surface = Vec::with_capacity(side * side);
        for row in 0..side {
            for column in 0..side {
                let p = self
                    .camera
                    .project(Point::new(position(column), position(row)), self.piece.seed);
                surface.push(material.at(p, self.piece));
            }
        }
        surface
    }

    fn shade(&self, relief: &[Surface], side: usize) -> Vec<Rgb> {
        // Slopes are rises for each unit of the plane, so that relief looks alike at every scale.
        let per_unit = side as f32 / self.camera.span;
        let mut linear = Vec::with_capacity(side * side);
        for row in 0..side {
            for column in 0..side {
                let height = |r: usize, c: usize| relief[r.min(side - 1) * side + c.min(side - 1)].height;
                let here = height(row, column);
                let slope = Point::new(
                    (height(row, column + 1) - here) * per_unit,
                    (height(row + 1, column) - here) * per_unit,
                );
                let at =
                    Point::new(column as f32, row as f32).stretched(2.0 / side as f32, 2.0 / side as f32);
                let at = at.shifted(-1.0, -1.0);
                let albedo = self
                    .palette
                    .mix(relief[row * side + column].tone, at, self.piece.seed);
                linear.push(self.light.on(albedo, slope, at));
            }
        }
        linear
    }

    fn develop(&self, linear: &[Rgb], pixels: usize, stream: &mut Stream) -> Picture {
        let side = pixels * FINE;
        let mut mean = 0.0;
        let mut small = vec![[0.0f32; 3]; pixels * pixels];
        for (i, colour) in linear.iter().enumerate() {
            let pixel = &mut small[i / side / FINE * pixels + i % side / FINE];
            for (sum, value) in pixel.iter_mut().zip(colour) {
                *sum += value / (FINE * FINE) as f32;
                mean += value / (3 * side * side) as f32;
            }
        }
        let mut rgb = Vec::with_capacity(3 * pixels * pixels);
        for colour in small {
            let grain = self.exposure.noise * stream.normal() as f32;
            rgb.extend(colour.map(|value| self.exposure.develop(value, mean, grain)));
        }
        Picture { pixels, rgb }
    }
}

impl Camera {
    fn draw(stream: &mut Stream) -> Self {
        Self {
            angle: between(stream, 0.0, TAU),
            span: 4.0 * 2f32.powf(between(stream, 0.0, 1.3)),
            tilt: {
                let r = between(stream, 0.0, 0.35);
                on_circle(stream, r)
            },
            offset: Point::new(between(stream, -500.0, 500.0), between(stream, -500.0, 500.0)),
            warp: between(stream, 0.05, 0.25),
        }
    }

    fn project(&self, p: Point, seed: u32) -> Point {
        let depth = 1.0 + self.tilt.x * p.x + self.tilt.y * p.y;
        let scale = 0.5 * self.span / depth;
        let q = p.stretched(scale, scale).turned(self.angle);
        let slow = q.stretched(0.4, 0.4);
        q.shifted(
            self.warp * noise(slow, seed ^ 11),
            self.warp * noise(slow, seed ^ 12),
        )
        .shifted(self.offset.x, self.offset.y)
    }
}

impl Palette {
    fn draw(stream: &mut Stream) -> Self {
        let hue = between(stream, 0.0, 1.0);
        let turn = if stream.chance(0.3) { 0.5 } else { 0.0 } + 0.06 * stream.normal() as f32;
        let (dark, gap) = (between(stream, 0.04, 0.45), between(stream, 0.12, 0.5));
        let first = colour(hue, between(stream, 0.05, 0.75), dark);
        let second = colour(hue + turn, between(stream, 0.05, 0.75), dark + gap);
        let (low, high) = if stream.chance(0.5) {
            (first, second)
        } else {
            (second, first)
        };
        let stain = colour(
            hue + between(stream, -0.2, 0.2),
            between(stream, 0.1, 0.7),
            between(stream, 0.1, 0.6),
        );
        Self {
            low,
            high,
            stain,
            stained: between(stream, 0.0, 0.5),
        }
    }

    fn mix(&self, tone: f32, at: Point, seed: u32) -> Rgb {
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
        let bump = 0.5 + 0.5 * (TAU * (hue - shift)).cos();
        value * (1.0 - saturation + saturation * bump)
    })
}

impl Light {
    fn draw(stream: &mut Stream) -> Self {
        let warmth = between(stream, -0.15, 0.15);
        Self {
            direction: on_circle(stream, 1.0),
            relief: between(stream, 0.3, 1.4),
            colour: [1.0 + warmth, 1.0, 1.0 - warmth],
            ambient: between(stream, 0.15, 0.6),
            slope: {
                let r = between(stream, 0.0, 0.6);
                on_circle(stream, r)
            },
            gloss: if stream.chance(0.3) {
                between(stream, 0.1, 0.5)
            } else {
                0.0
            },
            shadow: Shadow {
                normal: on_circle(stream, 1.0),
                offset: between(stream, -0.2, 1.2),
                softness: between(stream, 0.05, 0.5),
                depth: between(stream, 0.0, 0.65),
            },
        }
    }

    /// What a spot of colour `albedo` with the given slope sends to the camera.
    fn on(&self, albedo: Rgb, slope: Point, at: Point) -> Rgb {
        // The surface's normal is (-slope, 1), the light comes from (relief · direction, 1); both to unit length.
        let facing = 1.0 - self.relief * (slope.x * self.direction.x + slope.y * self.direction.y);
        let length =
            (1.0 + slope.x * slope.x + slope.y * slope.y).sqrt() * (1.0 + self.relief * self.relief).sqrt();
        let cosine = (facing / length).max(0.0);
        let side = at.x * self.shadow.normal.x + at.y * self.shadow.normal.y - self.shadow.offset;
        let shadow = 1.0 - self.shadow.depth * smoothstep(-self.shadow.softness, self.shadow.softness, side);
        let fall = 1.0 + self.slope.x * at.x + self.slope.y * at.y;
        let diffuse = self.ambient + (1.0 - self.ambient) * 1.3 * cosine;
        let glint = self.gloss * cosine.powi(16);
        std::array::from_fn(|i| (albedo[i] * diffuse + glint) * self.colour[i] * shadow * fall.max(0.1))
    }
}

impl Exposure {
    fn draw(stream: &mut Stream) -> Self {
        Self {
            gain: 2f32.powf(between(stream, -0.3, 1.3)),
            contrast: 2f32.powf(between(stream, -1.2, 0.4)),
            gamma: between(stream, 0.45, 0.8),
            noise: between(stream, 0.0, 0.02),
        }
    }

    fn develop(&self, value: f32, mean: f32, grain: f32) -> u8 {
        let flat = (mean + self.contrast * (value - mean)).max(0.0) * self.gain;
        // A soft shoulder, so that bright parts are not cut off.
        let tone = 1.0 - (-flat * PI / 2.0).exp();
        let shown = tone.powf(self.gamma) + grain;
        (255.0 * shown.clamp(0.0, 1.0)).round() as u8
    }
}
