//! The scene in which a material is photographed: everything about a picture that does *not* tell its class. Camera,
//! palette, light and development are drawn the same way for every material. Writes no files.
//!
//! Why these conditions: a nearest neighbour in pixels, colours or untrained features should share the scene and not
//! the material, so what varies most is colour, shadow and exposure. Colour jitter, crops and flips change the same
//! things and keep the material, so that this is what pretraining can learn, and within minutes. (Tried: with free
//! rotation, scale, contrast and exchanged tones, which no augmentation undoes, a small encoder stayed at the accuracy
//! of its random initialisation.)

use m2t_common::random::Stream;

use super::develop::{Development, Picture};
use super::light::{Light, Palette, Rgb};
use super::material::{Material, Piece, Surface};
use super::noise::{Point, noise};

/// Samples of the surface to a pixel, each way.
const FINE: usize = 2;

/// Photographs a piece of `material`, `pixels` a side, under conditions drawn from `stream`.
pub(super) fn photograph(material: Material, pixels: usize, stream: &mut Stream) -> Picture {
    let scene = Scene::draw(stream);
    let side = pixels * FINE;
    let relief = scene.relief(material, side);
    let exposed = average(&scene.shade(&relief, side), pixels);
    Development::draw(stream).develop(&exposed, stream)
}

struct Scene {
    piece: Piece,
    camera: Camera,
    palette: Palette,
    light: Light,
}

/// From the picture, which reaches from -1 to 1 both ways, to the material's plane.
struct Camera {
    angle: f32,
    /// Units of the plane across the picture.
    span: f32,
    /// How much nearer one side is than the other.
    tilt: Point,
    offset: Point,
    /// How far the material is from lying straight.
    warp: f32,
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
        }
    }

    /// The surface at `side` × `side` points.
    fn relief(&self, material: Material, side: usize) -> Vec<Surface> {
        let at = |i: usize| {
            let p = on_picture(i, side);
            material.at(self.camera.project(p, self.piece.seed), self.piece)
        };
        (0..side * side).map(at).collect()
    }

    /// What each of those points sends to the camera.
    fn shade(&self, relief: &[Surface], side: usize) -> Vec<Rgb> {
        // A slope is a rise for each unit of the plane, so that relief looks alike at every scale.
        let per_unit = side as f32 / self.camera.span;
        let spot = |i: usize| {
            let (row, column) = (i / side, i % side);
            let rise = |row: usize, column: usize| {
                let there = &relief[row.min(side - 1) * side + column.min(side - 1)];
                (there.height - relief[i].height) * per_unit
            };
            let slope = Point::new(rise(row, column + 1), rise(row + 1, column));
            let p = on_picture(i, side);
            let albedo = self.palette.mix(relief[i].tone, p, self.piece.seed);
            self.light.on(albedo, slope, p)
        };
        (0..side * side).map(spot).collect()
    }
}

/// The centre of the `i`th of `side` × `side` samples, rows from the top, in a picture from -1 to 1.
fn on_picture(i: usize, side: usize) -> Point {
    let along = |k: usize| 2.0 * (k as f32 + 0.5) / side as f32 - 1.0;
    Point::new(along(i % side), along(i / side))
}

/// The mean over each pixel's samples.
fn average(samples: &[Rgb], pixels: usize) -> Vec<Rgb> {
    let side = pixels * FINE;
    let mut sums = vec![[0.0; 3]; pixels * pixels];
    for (i, colour) in samples.iter().enumerate() {
        let pixel = &mut sums[i / side / FINE * pixels + i % side / FINE];
        *pixel = std::array::from_fn(|c| pixel[c] + colour[c] / (FINE * FINE) as f32);
    }
    sums
}

/// Uniform in `[low, high)`.
pub(super) fn between(stream: &mut Stream, low: f32, high: f32) -> f32 {
    stream.uniform(f64::from(low), f64::from(high)) as f32
}

/// A vector in a random direction, with a length uniform in `[0, longest)`.
pub(super) fn anywhere(stream: &mut Stream, longest: f32) -> Point {
    let length = between(stream, 0.0, longest);
    Point::new(length, 0.0).turned(between(stream, 0.0, std::f32::consts::TAU))
}

impl Camera {
    fn draw(stream: &mut Stream) -> Self {
        Self {
            angle: between(stream, -0.17, 0.17),
            span: between(stream, 3.6, 4.5),
            tilt: anywhere(stream, 0.25),
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
            self.offset.x + self.warp * noise(slow, seed ^ 11),
            self.offset.y + self.warp * noise(slow, seed ^ 12),
        )
    }
}
