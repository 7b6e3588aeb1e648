//! Noise on the plane: hashes of lattice points, gradient noise, cells. Pure functions of a point and a lattice seed,
//! so that a texture has no state and its pixels can be computed in any order. Knows nothing of materials or colours.

use std::f32::consts::TAU;

/// A point of a texture's plane; one unit is about one element of the texture (a brick, a thread, a pebble).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) x: f32,
    pub(super) y: f32,
}

impl Point {
    pub(super) fn new(x: f32, y: f32) -> Self {
        Self { x, y }
    }

    /// The point with its coordinates multiplied by `x` and `y`.
    pub(super) fn stretched(self, x: f32, y: f32) -> Self {
        Self::new(self.x * x, self.y * y)
    }

    pub(super) fn shifted(self, x: f32, y: f32) -> Self {
        Self::new(self.x + x, self.y + y)
    }

    pub(super) fn turned(self, angle: f32) -> Self {
        let (sin, cos) = angle.sin_cos();
        Self::new(self.x * cos - self.y * sin, self.x * sin + self.y * cos)
    }

    pub(super) fn dot(self, other: Self) -> f32 {
        self.x * other.x + self.y * other.y
    }

    pub(super) fn length(self) -> f32 {
        self.dot(self).sqrt()
    }
}

/// 32 well-mixed bits of a lattice point (the finaliser of lowbias32).
pub(super) fn hash(x: i32, y: i32, seed: u32) -> u32 {
    let mut h =
        seed ^ x.cast_unsigned().wrapping_mul(0x9E37_79B1) ^ y.cast_unsigned().wrapping_mul(0x85EB_CA77);
    h = (h ^ (h >> 16)).wrapping_mul(0x7FEB_352D);
    h = (h ^ (h >> 15)).wrapping_mul(0x846C_A68B);
    h ^ (h >> 16)
}

/// The `lane`th number in `[0, 1)` made from the bits of a hash.
pub(super) fn fraction(hash: u32, lane: u32) -> f32 {
    let bits = hash
        .wrapping_add(lane)
        .wrapping_mul(0x9E37_79B1)
        .rotate_left(13)
        .wrapping_mul(0x85EB_CA77);
    (bits >> 8) as f32 / (1u32 << 24) as f32
}

/// The integer at or below `value`; a plain comparison, since `f32::floor` is a call on baseline x86-64.
pub(super) fn floor(value: f32) -> i32 {
    let cut = value as i32;
    cut - i32::from(value < cut as f32)
}

/// 0 below `from`, 1 above `to`, smooth between them.
pub(super) fn smoothstep(from: f32, to: f32, value: f32) -> f32 {
    let t = ((value - from) / (to - from)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// Gradient noise, about -1 to 1, features of size 1.
pub(super) fn noise(p: Point, seed: u32) -> f32 {
    let (x0, y0) = (floor(p.x), floor(p.y));
    let (fx, fy) = (p.x - x0 as f32, p.y - y0 as f32);
    let corner = |dx: i32, dy: i32| {
        let bits = hash(x0 + dx, y0 + dy, seed);
        let (x, y) = (fx - dx as f32, fy - dy as f32);
        let (gx, gy) = DIRECTIONS[(bits >> 28) as usize];
        gx * x + gy * y
    };
    let fade = |t: f32| t * t * t * (t * (t * 6.0 - 15.0) + 10.0);
    let (u, v) = (fade(fx), fade(fy));
    let low = corner(0, 0) * (1.0 - u) + corner(1, 0) * u;
    let high = corner(0, 1) * (1.0 - u) + corner(1, 1) * u;
    1.5 * (low * (1.0 - v) + high * v)
}

/// Sixteen directions of unit length.
static DIRECTIONS: [(f32, f32); 16] = {
    const A: f32 = 0.923_879_5;
    const B: f32 = 0.382_683_43;
    const C: f32 = std::f32::consts::FRAC_1_SQRT_2;
    [
        (1.0, 0.0),
        (A, B),
        (C, C),
        (B, A),
        (0.0, 1.0),
        (-B, A),
        (-C, C),
        (-A, B),
        (-1.0, 0.0),
        (-A, -B),
        (-C, -C),
        (-B, -A),
        (0.0, -1.0),
        (B, -A),
        (C, -C),
        (A, -B),
    ]
};

/// Noise of `octaves` scales, each half as large and half as strong as the one before; about -1 to 1.
pub(super) fn fractal(p: Point, octaves: u32, seed: u32) -> f32 {
    let (mut sum, mut strength, mut scale) = (0.0, 0.6, 1.0);
    for octave in 0..octaves {
        sum += strength * noise(p.stretched(scale, scale), seed.wrapping_add(octave));
        strength *= 0.5;
        scale *= 2.03; // not 2, so that the lattices do not coincide
    }
    sum
}

/// The cells around randomly moved lattice points, as seen from a point.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    /// Distance to the nearest centre.
    pub(super) nearest: f32,
    /// Distance to the second nearest.
    pub(super) second: f32,
    /// Hash of the nearest cell.
    pub(super) id: u32,
}

/// The cell of `p`; `jitter` moves the centres from 0 (a square lattice) to 1 (at random).
pub(super) fn cell(p: Point, jitter: f32, seed: u32) -> Cell {
    let (x0, y0) = (floor(p.x), floor(p.y));
    let mut found = Cell {
        nearest: 9.0,
        second: 9.0,
        id: 0,
    };
    for y in y0 - 1..=y0 + 1 {
        for x in x0 - 1..=x0 + 1 {
            let id = hash(x, y, seed);
            let centre = |at: i32, lane| at as f32 + 0.5 + jitter * (fraction(id, lane) - 0.5);
            let distance = Point::new(p.x - centre(x, 0), p.y - centre(y, 1)).length();
            if distance < found.nearest {
                found = Cell {
                    nearest: distance,
                    second: found.nearest,
                    id,
                };
            } else if distance < found.second {
                found.second = distance;
            }
        }
    }
    found
}

/// A wave of period 1 with values 0 to 1.
pub(super) fn wave(t: f32) -> f32 {
    0.5 + 0.5 * (TAU * t).sin()
}
