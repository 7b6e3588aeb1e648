//! The ten materials: what a class *is*. Each is a relief and a two-tone pattern on an endless plane, and nothing else:
//! colour, light, scale and rotation belong to the scene and are alike for every class.

use super::noise::{Cell, Point, cell, floor, fractal, fraction, hash, noise, smoothstep, wave};

/// A class of the data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Material {
    Berries,
    Bricks,
    Cracks,
    Grass,
    Marble,
    Pebbles,
    Ripples,
    Scales,
    Weave,
    Wood,
}

/// What a material has at a point, both about 0 to 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surface {
    /// How far it stands out, in units of the plane; its slope is what the light shades.
    pub(super) height: f32,
    /// Where it stands between the scene's two colours.
    pub(super) tone: f32,
}

/// What differs between two pieces of one material.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    /// Of its lattices.
    pub(super) seed: u32,
    /// A trait of the piece, 0 to 1: width of joints, size of berries, spread of blades.
    pub(super) habit: f32,
}

impl Material {
    /// Every material, in the order in which classes are taken.
    pub(super) const ALL: [Self; 10] = [
        Self::Berries,
        Self::Bricks,
        Self::Cracks,
        Self::Grass,
        Self::Marble,
        Self::Pebbles,
        Self::Ripples,
        Self::Scales,
        Self::Weave,
        Self::Wood,
    ];

    /// The name of its folder.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Berries => "berries",
            Self::Bricks => "bricks",
            Self::Cracks => "cracks",
            Self::Grass => "grass",
            Self::Marble => "marble",
            Self::Pebbles => "pebbles",
            Self::Ripples => "ripples",
            Self::Scales => "scales",
            Self::Weave => "weave",
            Self::Wood => "wood",
        }
    }

    /// The material's surface at `p` of the piece.
    pub(super) fn at(self, p: Point, piece: Piece) -> Surface {
        match self {
            Self::Berries => berries(p, piece),
            Self::Bricks => bricks(p, piece),
            Self::Cracks => cracks(p, piece),
            Self::Grass => grass(p, piece),
            Self::Marble => marble(p, piece),
            Self::Pebbles => pebbles(p, piece),
            Self::Ripples => ripples(p, piece),
            Self::Scales => scales(p, piece),
            Self::Weave => weave(p, piece),
            Self::Wood => wood(p, piece),
        }
    }
}

/// Separate balls on a rough ground.
fn berries(p: Point, piece: Piece) -> Surface {
    let Cell { nearest, id, .. } = cell(p, 0.6, piece.seed);
    let radius = 0.26 + 0.1 * piece.habit + 0.06 * fraction(id, 2);
    let ground = fractal(p.stretched(2.0, 2.0), 3, piece.seed ^ 1);
    let inside = 1.0 - (nearest / radius).powi(2);
    if inside > 0.0 {
        Surface {
            height: 0.15 + radius * inside.sqrt() * 1.3,
            tone: 0.8 + 0.2 * fraction(id, 3),
        }
    } else {
        Surface {
            height: 0.06 * ground,
            tone: 0.15 + 0.15 * ground,
        }
    }
}

/// Courses of bricks in running bond, with mortar between.
fn bricks(p: Point, piece: Piece) -> Surface {
    let (width, height) = (1.5, 0.65);
    let row = (p.y / height).floor();
    let along = p.x / width + 0.5 * row.rem_euclid(2.0) + 0.08 * fraction(hash(row as i32, 7, piece.seed), 0);
    let id = hash(along.floor() as i32, row as i32, piece.seed);
    let edge = |t: f32, size: f32| t.min(1.0 - t) * size;
    let joint = edge(along - along.floor(), width).min(edge(p.y / height - row, height));
    let mortar = 0.05 + 0.05 * piece.habit;
    let rough = fractal(p.stretched(3.0, 3.0), 2, piece.seed ^ 1);
    let brick = smoothstep(mortar * 0.6, mortar * 1.5, joint + 0.015 * rough);
    Surface {
        height: 0.16 * brick + 0.02 * rough,
        tone: brick * (0.65 + 0.35 * fraction(id, 1)) + 0.1 * rough,
    }
}

/// Flat plates of dried mud with narrow gaps.
fn cracks(p: Point, piece: Piece) -> Surface {
    let bend = Point::new(
        noise(p.stretched(2.5, 2.5), piece.seed ^ 2),
        noise(p.stretched(2.5, 2.5), piece.seed ^ 3),
    );
    let Cell { nearest, second, id } = cell(p.shifted(0.09 * bend.x, 0.09 * bend.y), 1.0, piece.seed);
    let gap = 0.05 + 0.06 * piece.habit;
    let plate = smoothstep(gap * 0.5, gap * 1.6, second - nearest);
    let rough = fractal(p.stretched(3.0, 3.0), 3, piece.seed ^ 1);
    Surface {
        height: 0.14 * plate + 0.03 * rough,
        tone: plate * (0.85 + 0.15 * fraction(id, 2)) + 0.1 * rough,
    }
}

/// Blades that overlap, each thin, tapering and turned its own way.
fn grass(p: Point, piece: Piece) -> Surface {
    let q = p.stretched(1.6, 1.6);
    let (x0, y0) = (floor(q.x), floor(q.y));
    let mut top = Surface {
        height: 0.0,
        tone: 0.1 + 0.1 * noise(q, piece.seed ^ 1),
    };
    let mut order = 0.0;
    for y in y0 - 1..=y0 + 1 {
        for x in x0 - 1..=x0 + 1 {
            for blade in 0..2 {
                let id = hash(x, y, piece.seed.wrapping_add(blade));
                let above = fraction(id, 0);
                if above <= order {
                    continue;
                }
                let root = Point::new(x as f32 + fraction(id, 1), y as f32 + fraction(id, 2));
                let angle = (0.6 + 0.8 * piece.habit) * (fraction(id, 3) - 0.5);
                let local = q.shifted(-root.x, -root.y).turned(angle);
                let along = (local.x.abs() / 1.0).min(1.0);
                let width = 0.16 * (1.0 - along * along);
                let across = (local.y + 0.25 * local.x * local.x * (fraction(id, 4) - 0.5)).abs();
                if along < 1.0 && across < width {
                    order = above;
                    let ridge = 1.0 - (across / 0.16).powi(2);
                    top = Surface {
                        height: 0.1 + 0.3 * above + 0.1 * ridge,
                        tone: 0.25 + 0.75 * above,
                    };
                }
            }
        }
    }
    top
}

/// Veins of many sizes through clouds.
fn marble(p: Point, piece: Piece) -> Surface {
    let q = p.stretched(0.45, 0.45);
    let bend = fractal(q, 3, piece.seed ^ 1);
    let drift = fractal(q.shifted(5.2, 1.3), 3, piece.seed ^ 2);
    let vein = fractal(
        q.shifted(0.9 * bend, 0.9 * drift).stretched(1.3, 1.3),
        3,
        piece.seed,
    );
    let sharp = 1.0 - (vein.abs() * (3.5 + 2.0 * piece.habit)).min(1.0);
    Surface {
        height: 0.02 * bend,
        tone: 0.35 + 0.4 * bend + 0.75 * sharp * sharp,
    }
}

/// Round stones that touch.
fn pebbles(p: Point, piece: Piece) -> Surface {
    let Cell { nearest, second, id } = cell(p.stretched(1.15, 1.15), 0.85, piece.seed);
    let shape = smoothstep(0.0, 0.35 + 0.2 * piece.habit, second - nearest);
    let dome = (1.0 - (nearest / 0.8).powi(2)).max(0.0).sqrt();
    let rough = fractal(p.stretched(4.0, 4.0), 2, piece.seed ^ 1);
    Surface {
        height: 0.45 * shape * dome + 0.015 * rough,
        tone: shape * (0.1 + 0.9 * fraction(id, 2)) + 0.08 * rough,
    }
}

/// Crests of wind-blown sand, which bend and run into each other.
fn ripples(p: Point, piece: Piece) -> Surface {
    let bend = 0.55 * noise(p.stretched(0.5, 0.35), piece.seed) + 0.2 * noise(p, piece.seed ^ 1);
    let t = p.y * 1.1 + bend * (0.7 + 0.6 * piece.habit);
    let crest = 1.0 - (2.0 * (t - t.floor()) - 1.0).abs().powf(1.3);
    let grain = noise(p.stretched(8.0, 8.0), piece.seed ^ 2);
    Surface {
        height: 0.3 * crest + 0.01 * grain,
        tone: 0.25 + 0.5 * crest + 0.06 * grain,
    }
}

/// Rows of rounded scales, each lying over the next row's.
fn scales(p: Point, piece: Piece) -> Surface {
    let pitch = 0.5;
    let row = (p.y / pitch).floor();
    let radius = 0.52 + 0.06 * piece.habit;
    // The row above lies on top, and the one above that on top of it: the first disc that covers the point is seen.
    for up in (-1..=2).rev() {
        let at = row + up as f32 - 1.0;
        let shift = 0.5 * at.rem_euclid(2.0);
        let column = (p.x - shift).round();
        let from = Point::new(p.x - shift - column, p.y - (at + 0.5) * pitch);
        let distance = from.length() / radius;
        if distance < 1.0 {
            let id = hash(column as i32, at as i32, piece.seed);
            let rim = smoothstep(0.72, 0.98, distance);
            return Surface {
                height: 0.3 * (from.y / radius + 1.0) * 0.6 - 0.12 * rim + 0.1 * (1.0 - distance * distance),
                tone: (0.55 + 0.45 * fraction(id, 0)) * (1.0 - 0.75 * rim),
            };
        }
    }
    Surface {
        height: 0.0,
        tone: 0.0,
    }
}

/// Plain weave: each thread goes over one and under the next.
fn weave(p: Point, piece: Piece) -> Surface {
    let q = p.stretched(1.25, 1.25);
    let (column, row) = (q.x.floor(), q.y.floor());
    let (fx, fy) = (q.x - column - 0.5, q.y - row - 0.5);
    let lengthwise = (column + row).rem_euclid(2.0) < 1.0;
    let (along, across, thread) = if lengthwise {
        (fx, fy, row as i32)
    } else {
        (fy, fx, column as i32)
    };
    let half = 0.38 + 0.1 * piece.habit;
    let bulge = (1.0 - (across / half).powi(2)).max(0.0).sqrt();
    let arch = 1.0 - 2.2 * along * along;
    let fibre = noise(
        if lengthwise {
            q.stretched(2.0, 14.0)
        } else {
            q.stretched(14.0, 2.0)
        },
        piece.seed,
    );
    let own = fraction(hash(thread, i32::from(lengthwise), piece.seed), 0);
    let tone = if lengthwise { 0.75 } else { 0.35 } + 0.2 * own + 0.1 * fibre;
    Surface {
        height: 0.32 * bulge * arch + 0.02 * fibre,
        tone: tone * smoothstep(0.0, 0.3, bulge),
    }
}

/// Year rings cut lengthwise, drawn out along the grain, with fine pores.
fn wood(p: Point, piece: Piece) -> Surface {
    let grain = p.stretched(0.16, 0.7);
    let bend = fractal(grain, 2, piece.seed);
    let t = 1.1 * p.y + (1.2 + 0.8 * piece.habit) * bend;
    let ring = t - t.floor();
    // Early wood is broad and pale, late wood narrow and dark, with a sharp end.
    let late = ring.powi(3) * (1.0 - smoothstep(0.93, 1.0, ring));
    let pore = noise(p.stretched(0.9, 14.0), piece.seed ^ 1);
    let year = fraction(hash(t.floor() as i32, 0, piece.seed), 0);
    let sheen = wave(0.3 * p.x + 0.5 * bend);
    Surface {
        height: 0.05 * late + 0.03 * pore,
        tone: 0.1 + 0.15 * year + 0.7 * late + 0.14 * pore + 0.05 * sheen,
    }
}
