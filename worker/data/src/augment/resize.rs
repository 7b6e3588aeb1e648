//! Resizing with an antialiased triangle filter, to the bit as Pillow's `resize(…, BILINEAR)` does it.
//!
//! Source: Pillow's `Resample.c`, the path for 8 bits: one axis after the other, rounded to whole levels in between. Where the
//! weights come from is [`windows`]; here is the arithmetic, in whole numbers, on what is needed only.
//!
//! ```text
//!  as a rule:                image ──narrow──► rows ──shorten──► made ──► planes
//!  if it gets much shorter:  image ──copy────► rows ──shorten──► short ──narrow──► made ──► planes
//! ```
//! Shortening adds up whole rows. Why rows are narrowed in blocks: the pixels of one column, as many as the block has rows,
//! lie side by side and have the same weights. So in either pass a weight multiplies a whole vector, and no result depends on
//! how wide that is (see [`crate::simd`]).

mod windows;

use std::ops::Range;

use super::color::Planes;
use crate::decode::Image;
use crate::simd::{Level, kernel};
pub(super) use windows::Stretch;
use windows::{ONE_BITS, Windows};

/// Rows of a block.
const ROWS: usize = 8;
/// Bytes that are worked at together: of a block a column, four bytes a pixel, the last of which means nothing.
const LANES: usize = 4 * ROWS;

type Lanes = [u8; LANES];

/// What resizing keeps from picture to picture: nothing is allocated again once it has met the largest.
#[derive(Default)]
pub(super) struct Resizer {
    across: Windows,
    down: Windows,
    block: Block,
    /// All rows before they are made fewer.
    rows: Rows,
    /// Fewer rows that are still to be made shorter: RGB.
    short: Rows,
    /// The result, colours apart.
    made: Rows,
}

/// Some rows of a picture on their way.
#[derive(Default)]
struct Block {
    /// `[columns, ROWS, 4]`
    wide: Vec<Lanes>,
    /// `[new columns, ROWS, 4]`
    narrow: Vec<Lanes>,
    /// The same row by row, each pixel a number, red lowest: `[ROWS, new columns]`.
    lines: Vec<u32>,
}

/// Rows of equally many bytes, each filled up to whole lanes.
#[derive(Default)]
struct Rows {
    lanes: Vec<Lanes>,
    lanes_per_row: usize,
}

/// The needed pixels of an RGB picture.
struct Source<'a> {
    pixels: &'a [u8],
    bytes_per_row: usize,
    columns: Range<usize>,
    rows: Range<usize>,
}

impl Resizer {
    /// Fills `planes` with what is kept of the columns and of the rows of `image`.
    pub(super) fn resize(&mut self, level: Level, image: &Image, to: [&Stretch; 2], planes: Planes<'_>) {
        let Self {
            across,
            down,
            block,
            rows,
            short,
            made,
        } = self;
        across.plan(to[0]);
        down.plan(to[1]);
        let source = Source {
            pixels: &image.pixels,
            bytes_per_row: 3 * image.width as usize,
            columns: across.needed(),
            rows: down.needed(),
        };
        let (width, height) = (across.n_windows(), down.n_windows());
        block.fit(across);
        made.fit(height, 3 * width);
        if are_rows_first(to) {
            let n_columns = source.columns.len();
            rows.fit(source.rows.len(), 3 * n_columns);
            short.fit(height, 3 * n_columns);
            rows.copy(&source);
            shorten(level, down, rows, short);
            narrow(level, across, &short.source(n_columns), block, made);
        } else {
            rows.fit(source.rows.len(), 3 * width);
            narrow(level, across, &source, block, rows);
            shorten(level, down, rows, made);
        }
        made.write(width, planes);
    }
}

/// Whether the rows are made fewer first: Pillow does so where they lose more than twice as many as the columns. It documents no
/// rule; this one was found by comparison with Pillow 13, on sizes near the border and far from it.
fn are_rows_first([across, down]: [&Stretch; 2]) -> bool {
    let loss = |stretch: &Stretch| stretch.from.len() as i64 - stretch.to as i64;
    loss(down) > 0 && loss(down) > 2 * loss(across)
}

impl Block {
    /// What was in it does not matter.
    fn fit(&mut self, across: &Windows) {
        self.wide.resize(across.needed().len(), [0; LANES]);
        self.narrow.resize(across.n_windows(), [0; LANES]);
        self.lines.resize(ROWS * across.n_windows(), 0);
    }
}

impl Rows {
    /// What was in them does not matter.
    fn fit(&mut self, n_rows: usize, n_bytes: usize) {
        self.lanes_per_row = n_bytes.div_ceil(LANES);
        self.lanes.resize(n_rows * self.lanes_per_row, [0; LANES]);
    }

    fn copy(&mut self, source: &Source<'_>) {
        let rows = self.lanes.chunks_exact_mut(self.lanes_per_row);
        for (row, number) in rows.zip(source.rows.clone()) {
            let pixels = source.row(number);
            row.as_flattened_mut()[..pixels.len()].copy_from_slice(pixels);
        }
    }

    /// RGB rows as a picture.
    fn source(&self, n_columns: usize) -> Source<'_> {
        Source {
            pixels: self.lanes.as_flattened(),
            bytes_per_row: self.lanes_per_row * LANES,
            columns: 0..n_columns,
            rows: 0..self.lanes.len() / self.lanes_per_row,
        }
    }

    /// Rows with colours apart to planes of this width.
    fn write(&self, width: usize, planes: Planes<'_>) {
        let rows = self.lanes.chunks_exact(self.lanes_per_row);
        let [r, g, b] = planes.map(|plane| plane.chunks_exact_mut(width));
        for (((row, r), g), b) in rows.zip(r).zip(g).zip(b) {
            for (line, color) in [r, g, b].into_iter().zip(row.as_flattened().chunks_exact(width)) {
                line.copy_from_slice(color);
            }
        }
    }
}

impl Source<'_> {
    /// The needed columns of a row.
    #[inline(always)]
    fn row(&self, number: usize) -> &[u8] {
        let row = &self.pixels[number * self.bytes_per_row..];
        &row[3 * self.columns.start..3 * self.columns.end]
    }
}

kernel! {
    /// Makes rows of fewer, or more, pixels, and takes their colours apart.
    fn narrow(across: &Windows, source: &Source<'_>, block: &mut Block, made: &mut Rows) {
        let Block { wide, narrow, lines } = block;
        let (width, lanes_per_row) = (narrow.len(), made.lanes_per_row);
        let blocks = made.lanes.chunks_mut(ROWS * lanes_per_row);
        for (first, made) in source.rows.clone().step_by(ROWS).zip(blocks) {
            // Below the last row, what was in the block stays.
            for (place, row) in (first..source.rows.end).take(ROWS).enumerate() {
                lay(place, source.row(row), wide);
            }
            for (out, (first, weights)) in narrow.iter_mut().zip(across.iter()) {
                *out = weighted_sum(&wide[first..], 1, weights);
            }
            transpose(narrow, lines);
            for (line, row) in lines.chunks_exact(width).zip(made.chunks_exact_mut(lanes_per_row)) {
                separate(line, row.as_flattened_mut());
            }
        }
    }
}

/// Lays the RGB pixels of a row into a block, four at a time: all but the last are read with a neighbour's byte.
#[inline(always)]
fn lay(place: usize, pixels: &[u8], block: &mut [Lanes]) {
    let at = 4 * place;
    let (fours, rest) = pixels.as_chunks::<12>();
    let (columns, last_columns) = block.as_chunks_mut::<4>();
    for ([a, b, c, d], four) in columns.iter_mut().zip(fours) {
        let [p, q, r, s, t, u, v, w, x, y, z, last] = *four;
        a[at..at + 4].copy_from_slice(&[p, q, r, s]);
        b[at..at + 4].copy_from_slice(&[s, t, u, v]);
        c[at..at + 4].copy_from_slice(&[v, w, x, y]);
        d[at..at + 4].copy_from_slice(&(u32::from_le_bytes([x, y, z, last]) >> 8).to_le_bytes());
    }
    for (column, pixel) in last_columns.iter_mut().zip(rest.as_chunks::<3>().0) {
        column[at..at + 3].copy_from_slice(pixel);
    }
}

/// A block, column by column, to lines. Written out so that the compiler makes shuffles of it.
#[inline(always)]
fn transpose(block: &[Lanes], lines: &mut [u32]) {
    let mut lines = lines.chunks_exact_mut(block.len());
    let [a, b, c, d, e, f, g, h] = std::array::from_fn(|_| lines.next().expect("a line a row"));
    let lines = a.iter_mut().zip(b).zip(c).zip(d).zip(e).zip(f).zip(g).zip(h);
    for (column, (((((((a, b), c), d), e), f), g), h)) in block.iter().zip(lines) {
        let mut pixels = column
            .as_chunks()
            .0
            .iter()
            .map(|pixel| u32::from_le_bytes(*pixel));
        for place in [a, b, c, d, e, f, g, h] {
            *place = pixels.next().expect("a pixel a line");
        }
    }
}

/// Takes the colours of a line of pixels apart.
#[inline(always)]
fn separate(line: &[u32], row: &mut [u8]) {
    for (channel, values) in row.chunks_exact_mut(line.len()).take(3).enumerate() {
        for (value, pixel) in values.iter_mut().zip(line) {
            *value = (*pixel >> (8 * channel)) as u8;
        }
    }
}

kernel! {
    /// Makes fewer, or more, rows.
    fn shorten(down: &Windows, rows: &Rows, made: &mut Rows) {
        let lanes_per_row = rows.lanes_per_row;
        for (out, (first, weights)) in made.lanes.chunks_exact_mut(lanes_per_row).zip(down.iter()) {
            let window = &rows.lanes[first * lanes_per_row..];
            for (lane, out) in out.iter_mut().enumerate() {
                *out = weighted_sum(&window[lane..], lanes_per_row, weights);
            }
        }
    }
}

/// The weighted sum of every `stride`-th of `values`, rounded to whole levels.
#[inline(always)]
fn weighted_sum(values: &[Lanes], stride: usize, weights: &[u32]) -> Lanes {
    const HALF: u32 = 1 << (ONE_BITS - 1);
    let (mut sums, mut levels) = ([HALF; LANES], [0; LANES]);
    for (values, weight) in values.iter().step_by(stride).zip(weights) {
        for (sum, value) in sums.iter_mut().zip(values) {
            // Never wraps: the weights sum to about 2 to the ONE_BITS.
            *sum = sum.wrapping_add(u32::from(*value).wrapping_mul(*weight));
        }
    }
    for (level, sum) in levels.iter_mut().zip(sums) {
        // Rounded weights may sum to a little more than 1.
        *level = (sum >> ONE_BITS).min(255) as u8;
    }
    levels
}

#[cfg(test)]
mod tests;
