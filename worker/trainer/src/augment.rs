//! What is done to a view after its crop, as operations on a batch: for a device that is faster at it than the loader's threads.
//!
//! The same arithmetic as m2t-data's, in float32 on whole levels, and the same drawn parameters; only the blur may round another
//! way, by one level. Images of a batch differ in what is done to them and in which order, so each operation takes those
//! that want it out, and puts them back.

use m2t_data::ViewParameters;
use m2t_data::augment::{BoxFilter, Jitter, SCALES};
use tch::{Kind, Tensor};

/// Most operations of a jitter.
const JITTERS: usize = 4;

/// Finishes views whose crops are `levels`, [B, 3, H, W] of whole numbers from 0 to 255: normalised, in float32.
pub fn finish(levels: &Tensor, views: &[ViewParameters]) -> Tensor {
    tch::no_grad(|| {
        let mut images = Images(levels.to_kind(Kind::Float)); // [B, 3, H, W]
        for place in 0..JITTERS {
            images.jitter(place, views);
        }
        images.blur(views);
        images.where_asked(views, |view| view.grayscale, |x| luma(x).expand_as(x));
        images.where_asked(views, |view| view.flip, |x| x.flip([3]));
        images.where_asked(
            views,
            |view| view.solarize,
            |x| x.where_self(&x.lt(128), &(255.0 - x)),
        );
        images.normalized()
    })
}

/// A batch in levels, [B, 3, H, W].
struct Images(Tensor);

impl Images {
    /// The operations that stand at this place of their image's order.
    fn jitter(&mut self, place: usize, views: &[ViewParameters]) {
        let at = |pick: fn(Jitter) -> Option<f64>| {
            let drawn = views.iter().map(|view| view.jitter.get(place).copied());
            select(drawn.map(|operation| operation.and_then(pick)))
        };
        self.change(
            at(|operation| match operation {
                Jitter::Brightness(factor) => Some(factor),
                _ => None,
            }),
            |x, factor| whole(&(x * factor)),
        );
        self.change(
            at(|operation| match operation {
                Jitter::Contrast(factor) => Some(factor),
                _ => None,
            }),
            |x, factor| blend(&mean_luma(x), x, factor),
        );
        self.change(
            at(|operation| match operation {
                Jitter::Saturation(factor) => Some(factor),
                _ => None,
            }),
            |x, factor| blend(&luma(x), x, factor),
        );
        self.change(
            at(|operation| match operation {
                Jitter::Hue(turn) => Some(f64::from((turn * 255.0) as i32 as u8)),
                _ => None,
            }),
            turn_hue,
        );
    }

    /// Radius by radius: those of one radius differ in their weights only.
    fn blur(&mut self, views: &[ViewParameters]) {
        let filters: Vec<Option<BoxFilter>> = views
            .iter()
            .map(|view| view.blur_sigma.map(|sigma| BoxFilter::for_sigma(sigma as f32)))
            .map(|filter| filter.filter(|filter| !filter.is_identity()))
            .collect();
        let largest = filters.iter().flatten().map(|filter| filter.radius).max();
        for radius in 0..=largest.unwrap_or(0) {
            let of_radius = || {
                filters
                    .iter()
                    .map(|filter| filter.filter(|filter| filter.radius == radius))
            };
            let weight = |weight: u32| f64::from(weight) / f64::from(BoxFilter::ONE);
            let inner = select(of_radius().map(|filter| filter.map(|filter| weight(filter.inner))));
            let outer = select(of_radius().map(|filter| filter.map(|filter| weight(filter.outer)))).1;
            self.change(inner, |x, inner| {
                let outer = column(&outer, x);
                let mut x = x.shallow_clone();
                for axis in [3, 2] {
                    for _ in 0..BoxFilter::PASSES {
                        x = box_filter(&x, axis, radius as i64, (inner, &outer));
                    }
                }
                x
            });
        }
    }

    fn where_asked(
        &mut self,
        views: &[ViewParameters],
        is_asked: impl Fn(&ViewParameters) -> bool,
        change: impl Fn(&Tensor) -> Tensor,
    ) {
        let chosen = select(views.iter().map(|view| is_asked(view).then_some(1.0)));
        self.change(chosen, |x, _| change(x));
    }

    /// Changes some images, each by its number.
    fn change(&mut self, (rows, numbers): Selected, change: impl Fn(&Tensor, &Tensor) -> Tensor) {
        if rows.is_empty() {
            return;
        }
        let rows = Tensor::from_slice(&rows).to_device(self.0.device());
        let chosen = self.0.index_select(0, &rows); // [b, 3, H, W]
        let changed = change(&chosen, &column(&numbers, &chosen));
        self.0 = self.0.index_copy(0, &rows, &changed);
    }

    fn normalized(self) -> Tensor {
        let of_channels = |values: [f32; 3]| {
            Tensor::from_slice(&values)
                .view([1, 3, 1, 1])
                .to_device(self.0.device())
        };
        let mean = of_channels(SCALES.map(|scale| scale.mean));
        let per_level = of_channels(SCALES.map(|scale| scale.per_level));
        (self.0 - mean) * per_level
    }
}

/// Rows of a batch, and a number for each.
type Selected = (Vec<i64>, Vec<f32>);

fn select(numbers: impl Iterator<Item = Option<f64>>) -> Selected {
    (0..)
        .zip(numbers)
        .filter_map(|(row, number)| Some((row, number? as f32)))
        .unzip()
}

/// A number an image, [b, 1, 1, 1], beside `x`.
fn column(numbers: &[f32], x: &Tensor) -> Tensor {
    Tensor::from_slice(numbers)
        .view([-1, 1, 1, 1])
        .to_device(x.device())
}

/// Cut to the levels, without its fraction.
fn whole(x: &Tensor) -> Tensor {
    x.clamp(0.0, 255.0).floor()
}

/// From `a` (factor 0) over `b` (factor 1) and beyond.
fn blend(a: &Tensor, b: &Tensor, factor: &Tensor) -> Tensor {
    whole(&(a + factor * (b - a)))
}

/// ITU-R 601 luma in 16-bit fixed point, [b, 1, H, W]. All of it is below 2²⁴, so float32 is exact.
fn luma(x: &Tensor) -> Tensor {
    let channel = |channel: i64, weight: f64| x.narrow(1, channel, 1) * weight;
    let sum = channel(0, 19_595.0) + channel(1, 38_470.0) + channel(2, 7_471.0) + 32_768.0;
    (sum / 65_536.0).floor()
}

/// The mean of the luma, rounded, [b, 1, 1, 1].
fn mean_luma(x: &Tensor) -> Tensor {
    let mean = luma(x).mean_dim([1, 2, 3].as_slice(), true, Kind::Double);
    (mean + 0.5).floor().to_kind(Kind::Float)
}

/// Turns the hue by `shift` 255ths; through 8-bit HSV, as m2t-data does, step by step.
fn turn_hue(x: &Tensor, shift: &Tensor) -> Tensor {
    let channel = |channel| x.narrow(1, channel, 1); // [b, 1, H, W]
    let (r, g, b) = (channel(0), channel(1), channel(2));
    let (max, min) = (x.amax([1], true), x.amin([1], true));
    let middle = &r + &g + &b - &max - &min;
    let range = &max - &min;
    let part = (&max - middle) / range.clamp_min(1.0);
    let (is_r, is_g) = (r.eq_tensor(&max), g.eq_tensor(&max));
    let of_greatest = |r: &Tensor, g: &Tensor, b: &Tensor| r.where_self(&is_r, &g.where_self(&is_g, b));
    let rising = of_greatest(&b.eq_tensor(&min), &r.eq_tensor(&min), &g.eq_tensor(&min));
    let place = of_greatest(&r.zeros_like(), &r.full_like(2.0), &r.full_like(4.0));
    let sixths = (&place + 1.0 - &part).where_self(&rising, &(&place - 1.0 + &part));
    let turn = sixths / 6.0;
    let turn = (&turn + 1.0).where_self(&turn.lt(0.0), &turn);
    let hue = ((turn * 255.0).floor() + shift).remainder(256.0);
    let saturation = (range / max.clamp_min(1.0) * 255.0).floor();
    rgb(&hue, &saturation, &max)
}

fn rgb(hue: &Tensor, saturation: &Tensor, value: &Tensor) -> Tensor {
    let sixths = hue * 6.0;
    let sector = (&sixths / 255.0).floor();
    let past = (sixths - &sector * 255.0) / 255.0;
    let saturation = saturation / 255.0;
    let level = |part: Tensor| (value * part + 0.5).floor();
    let low = level(1.0 - &saturation);
    let falling = level(1.0 - &saturation * &past);
    let rising = level(1.0 - &saturation * (1.0 - &past));
    // The sixth sector is the first again.
    let channel = |of: [&Tensor; 6]| {
        (1..6).fold(of[0].shallow_clone(), |channel, number| {
            of[number].where_self(&sector.eq(number as i64), &channel)
        })
    };
    Tensor::cat(
        &[
            channel([value, &falling, &low, &low, &rising, value]),
            channel([&rising, value, value, &falling, &low, &low]),
            channel([&low, &low, &rising, value, value, &falling]),
        ],
        1,
    )
}

/// One pass along an axis, rounded; edges are repeated.
fn box_filter(x: &Tensor, axis: i64, radius: i64, (inner, outer): (&Tensor, &Tensor)) -> Tensor {
    let margin = radius + 1;
    let padding = if axis == 3 {
        [margin, margin, 0, 0]
    } else {
        [0, 0, margin, margin]
    };
    let padded = x.replication_pad2d(padding);
    let n = x.size()[axis as usize];
    let seen = |shift: i64| padded.narrow(axis, shift, n);
    let bulk = (2..=2 * radius + 1).fold(seen(1), |sum, shift| sum + seen(shift));
    let edges = seen(0) + seen(2 * margin);
    (bulk * inner + edges * outer + 0.5).floor()
}

#[cfg(test)]
mod tests;
