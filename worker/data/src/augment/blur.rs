//! Gaussian blur as Pillow does it: three passes of an extended box filter, each rounded to 8 bits.
//!
//! Source: Gwosdek et al., "Theoretical Foundations of Gaussian Convolution by Extended Box Filtering", 2011. A box of
//! whole radius r has full weight and the two pixels beyond it a part; edges are repeated. The work grows with r,
//! which is 0 or 1 for the published σ of at most 2. Written so that the compiler makes vectors of it (see
//! [`crate::simd`]): whole rows of one plane, and products of 16-bit numbers only.

use crate::simd::{Level, kernel};

/// Larger blurs are cut to this; the sums of their windows would not fit. No view has any detail left long before.
const LARGEST_SIGMA: f32 = 100.0;

/// Rows to work in.
#[derive(Default)]
pub(super) struct Buffers {
    /// A plane of the same size.
    other: Vec<u8>,
    /// A row with its edges repeated.
    padded: Vec<u8>,
    /// Sums over a window, one a byte of the row.
    sums: Vec<u16>,
}

/// Blurs one plane of `row` bytes a row.
pub(super) fn gaussian(level: Level, plane: &mut [u8], row: usize, sigma: f32, buffers: &mut Buffers) {
    let filter = BoxFilter::for_sigma(sigma);
    if filter.is_identity() {
        return;
    }
    let Buffers { other, padded, sums } = buffers;
    sums.resize(row, 0);
    other.resize(plane.len(), 0);
    let rows = Rows {
        plane,
        other,
        padded,
        sums,
    };
    filter_thrice(level, &filter, rows);
}

/// A plane, and what is worked in.
struct Rows<'a> {
    plane: &'a mut [u8],
    other: &'a mut [u8],
    padded: &'a mut Vec<u8>,
    sums: &'a mut [u16],
}

kernel! {
    fn filter_thrice(filter: &BoxFilter, rows: Rows<'_>) {
        let Rows { plane, other, padded, sums } = rows;
        for line in plane.chunks_exact_mut(sums.len()) {
            for _ in 0..BoxFilter::PASSES {
                filter.along_row(line, padded, sums);
            }
        }
        filter.across_rows(plane, other, sums);
        filter.across_rows(other, plane, sums);
        filter.across_rows(plane, other, sums);
        plane.copy_from_slice(other);
    }
}

/// One of the [`PASSES`](Self::PASSES) along an axis, in fixed point with 24 fractional bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoxFilter {
    /// Pixels of full weight to each side.
    pub radius: usize,
    /// Their weight, times [`ONE`](Self::ONE).
    pub inner: u32,
    /// The weight of the pixel beyond them on each side, likewise.
    pub outer: u32,
}

impl BoxFilter {
    /// How often it is applied along each axis, rounded to whole levels each time.
    pub const PASSES: u8 = 3;
    /// The weight 1.
    pub const ONE: u32 = 1 << 24;
    const HALF: u32 = 1 << 23;

    /// The box whose repeated application has standard deviation `sigma`, in pixels. In float32 with the square root in
    /// float64, as Pillow computes it.
    pub fn for_sigma(sigma: f32) -> Self {
        let sigma = sigma.min(LARGEST_SIGMA);
        let variance = sigma * sigma / f32::from(Self::PASSES);
        let length = (12.0 * f64::from(variance) + 1.0).sqrt() as f32;
        let whole = ((f64::from(length) - 1.0) / 2.0).floor() as f32;
        let part = (2.0 * whole + 1.0) * (whole * (whole + 1.0) - 3.0 * variance)
            / (6.0 * (variance - (whole + 1.0) * (whole + 1.0)));
        let extended = whole + part;
        let radius = extended as u32;
        let inner = (Self::ONE as f32 / (extended * 2.0 + 1.0)) as u32;
        Self {
            radius: radius as usize,
            inner,
            outer: (Self::ONE - (radius * 2 + 1) * inner) / 2,
        }
    }

    /// It changes nothing.
    pub fn is_identity(&self) -> bool {
        self.inner == Self::ONE
    }

    /// Every byte with those beside it.
    #[inline(always)]
    fn along_row(&self, line: &mut [u8], padded: &mut Vec<u8>, sums: &mut [u16]) {
        let margin = self.radius + 1;
        let n = line.len();
        padded.clear();
        padded.resize(margin, line[0]);
        padded.extend_from_slice(line);
        padded.resize(n + 2 * margin, line[n - 1]);
        // The row as seen from `shift` bytes to the right of its window's outermost byte.
        let shifted = |shift: usize| &padded[shift..shift + n];
        sum(sums, (1..=2 * self.radius + 1).map(shifted));
        self.combine(line, sums, shifted(0), shifted(2 * margin));
    }

    /// Every byte with those above and below it.
    #[inline(always)]
    fn across_rows(&self, from: &[u8], to: &mut [u8], sums: &mut [u16]) {
        let row = sums.len();
        let last = from.len() / row - 1;
        for (y, line) in to.chunks_exact_mut(row).enumerate() {
            // `offset` rows below the window's outermost row.
            let neighbour = |offset: usize| {
                let y = (y + offset).saturating_sub(self.radius + 1).min(last);
                &from[y * row..(y + 1) * row]
            };
            sum(sums, (1..=2 * self.radius + 1).map(neighbour));
            self.combine(line, sums, neighbour(0), neighbour(2 * (self.radius + 1)));
        }
    }

    #[inline(always)]
    fn combine(&self, line: &mut [u8], sums: &[u16], before: &[u8], after: &[u8]) {
        // Weights have at most 25 bits; the high part of a product wraps only where the whole would not fit.
        let split = |weight: u32| ((weight >> 16) as u16, weight as u16);
        let (inner, outer) = (split(self.inner), split(self.outer));
        let product = |value: u16, (high, low): (u16, u16)| {
            let high = u32::from(value).wrapping_mul(u32::from(high)) << 16;
            high.wrapping_add(u32::from(value).wrapping_mul(u32::from(low)))
        };
        for (((value, sum), before), after) in line.iter_mut().zip(sums).zip(before).zip(after) {
            let edges = u16::from(*before) + u16::from(*after);
            // At most 2²⁴ · 255 + 2²³ in all.
            let bulk = product(*sum, inner).wrapping_add(product(edges, outer));
            *value = (bulk.wrapping_add(Self::HALF) >> 24) as u8;
        }
    }
}

#[inline(always)]
fn sum<'a>(sums: &mut [u16], lines: impl Iterator<Item = &'a [u8]>) {
    sums.fill(0);
    for line in lines {
        for (sum, value) in sums.iter_mut().zip(line) {
            *sum = sum.wrapping_add(u16::from(*value));
        }
    }
}
