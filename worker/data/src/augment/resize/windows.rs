//! Along one axis: which pixels of the source make a pixel of the result, and with what weights.
//!
//! In float64 as Pillow computes them, then rounded to fixed point. All windows of an axis are made equally long, with weights
//! of 0, so that the loops over them are; a sum is the same with them.

use std::ops::Range;

/// Fractional bits of a weight.
pub(super) const ONE_BITS: u32 = 32 - 8 - 2;

/// What becomes of one axis of a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Stretch {
    /// The pixels that are resized. Those beside them have no weight.
    pub(in super::super) from: Range<u32>,
    /// How many they become.
    pub(in super::super) to: u64,
    /// Which of these are wanted.
    pub(in super::super) kept: Range<u64>,
}

/// The windows of the kept pixels of a [`Stretch`].
#[derive(Default)]
pub(super) struct Windows {
    /// Pixels of the source that lie in any of them.
    needed: Range<usize>,
    /// Where each begins, counted from the first that is needed.
    firsts: Vec<usize>,
    /// Pixels of each.
    length: usize,
    /// Their weights, window by window, times 2 to the [`ONE_BITS`].
    weights: Vec<u32>,
    /// Those of one window.
    exact: Vec<f64>,
}

impl Windows {
    /// Plans another stretch.
    pub(super) fn plan(&mut self, stretch: &Stretch) {
        let triangle = Triangle::new(stretch);
        let windows = || stretch.kept.clone().map(|pixel| triangle.window(pixel));
        self.length = windows().map(|window| window.len()).max().unwrap_or(0);
        // None reaches beyond the source: what lengthens the last ones lies before them.
        let last = triangle.n_pixels - self.length;
        let first = windows().next().map_or(0, |window| window.start.min(last));
        self.firsts.clear();
        self.weights.clear();
        for pixel in stretch.kept.clone() {
            let window = triangle.window(pixel);
            let start = window.start.min(last);
            triangle.weigh(pixel, window.clone(), &mut self.exact);
            self.firsts.push(start - first);
            self.weights.resize(self.weights.len() + window.start - start, 0);
            self.weights
                .extend(self.exact.iter().map(|weight| fixed(*weight)));
            self.weights.resize(self.firsts.len() * self.length, 0);
        }
        let begin = stretch.from.start as usize + first;
        let end = self.firsts.last().map_or(0, |last| last + self.length);
        self.needed = begin..begin + end;
    }

    /// Pixels of the source that any window needs.
    pub(super) fn needed(&self) -> Range<usize> {
        self.needed.clone()
    }

    /// How many windows there are: the pixels that are made.
    pub(super) fn n_windows(&self) -> usize {
        self.firsts.len()
    }

    /// Each window: its first pixel, counted from the first that is needed, and its weights.
    #[inline(always)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &[u32])> {
        self.firsts
            .iter()
            .copied()
            .zip(self.weights.chunks_exact(self.length))
    }
}

fn fixed(weight: f64) -> u32 {
    (0.5 + weight * f64::from(1 << ONE_BITS)) as u32
}

/// The triangle that is laid around each new pixel's centre: as wide as two pixels of the coarser picture.
struct Triangle {
    n_pixels: usize,
    /// Pixels of the source that become one.
    scale: f64,
    /// Half the triangle's base, in pixels of the source.
    support: f64,
}

impl Triangle {
    fn new(stretch: &Stretch) -> Self {
        let n_pixels = stretch.from.len();
        let scale = n_pixels as f64 / stretch.to as f64;
        Self {
            n_pixels,
            scale,
            support: scale.max(1.0),
        }
    }

    fn center(&self, pixel: u64) -> f64 {
        (pixel as f64 + 0.5) * self.scale
    }

    /// The pixels of the source that the triangle covers around a new pixel; at least one.
    fn window(&self, pixel: u64) -> Range<usize> {
        let center = self.center(pixel);
        // Less than 0 becomes 0.
        let start = (center - self.support + 0.5) as usize;
        let end = (center + self.support + 0.5) as usize;
        start..end.min(self.n_pixels)
    }

    /// Their weights, which sum to 1.
    fn weigh(&self, pixel: u64, window: Range<usize>, weights: &mut Vec<f64>) {
        let (center, steepness) = (self.center(pixel), 1.0 / self.support);
        let distances = window.map(|place| (place as f64 - center + 0.5) * steepness);
        weights.clear();
        weights.extend(distances.map(|distance| (1.0 - distance.abs()).max(0.0)));
        let sum: f64 = weights.iter().sum();
        for weight in weights {
            *weight /= sum;
        }
    }
}
