//! Colours that people with any kind of colour vision tell apart: the palette of Okabe and Ito, without black, which is the ink,
//! and without yellow, which is lost on white.
//!
//! A page that is read in the dark maps each of them by its value (`page/style.css`).

use plotters::style::RGBColor;

/// Of lines.
const LINES: [RGBColor; 6] = [
    RGBColor(0x00, 0x72, 0xB2), // blue
    RGBColor(0xD5, 0x5E, 0x00), // vermilion
    RGBColor(0x00, 0x9E, 0x73), // bluish green
    RGBColor(0xCC, 0x79, 0xA7), // reddish purple
    RGBColor(0xE6, 0x9F, 0x00), // orange
    RGBColor(0x56, 0xB4, 0xE9), // sky blue
];
/// Of words.
pub(super) const INK: RGBColor = RGBColor(0x1B, 0x1F, 0x24);
/// Of numbers at axes and second words.
pub(super) const MUTED: RGBColor = RGBColor(0x59, 0x63, 0x6E);
/// Of lines to read by.
pub(super) const GRID: RGBColor = RGBColor(0xE4, 0xE7, 0xEB);
/// Of regroups.
pub(super) const MARK: RGBColor = RGBColor(0x8C, 0x95, 0x9F);

/// The `i`-th of the lines' colours; after the last one comes the first again.
pub(super) fn line(i: usize) -> RGBColor {
    LINES[i % LINES.len()]
}

/// Whether lines of that colour are dashed, to tell them from those that had it first.
pub(super) fn is_dashed(i: usize) -> bool {
    i >= LINES.len()
}

/// As CSS writes it.
pub(super) fn css(RGBColor(red, green, blue): RGBColor) -> String {
    format!("#{red:02X}{green:02X}{blue:02X}")
}
