//! Drawings as SVG and as PNG. Both need no font of the machine: an SVG's text is drawn by whoever shows it, and pixels by the font
//! that lies in `font/` (see OFL.txt there).

use std::sync::Once;

use anyhow::{Context, anyhow};
use plotters::backend::{BitMapBackend, DrawingBackend, SVGBackend};
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::style::{FontStyle, WHITE, register_font};

use super::draw::{self, Drawn, FONT, Pen};
use super::figure::Figure;
use super::map::Map;

/// Letters, digits and signs of Inter, in OpenType.
pub(super) const SUBSET: &[u8] = include_bytes!("font/inter-subset.otf");

/// Units of an SVG to the point: lines are drawn to a tenth of a point.
const FINE: u32 = 10;
/// Pixels of a PNG to the point.
const DENSE: u32 = 2;
/// What is drawn for a pixel, in each direction. The mean over them is smooth.
const SAMPLES: u32 = 3;

/// Text in pixels comes out so much too high, in sizes of the font.
const RISE: f64 = -0.23;

/// What stands at the beginning of a drawing's file.
const OWN_STYLE: &str = "<style>text{font-family:Inter,system-ui,sans-serif}</style>";

/// What can be drawn.
pub(super) trait Drawing {
    /// The stem of its files' names.
    fn id(&self) -> &str;
    /// For those who cannot see it.
    fn title(&self) -> &str;
    /// In points.
    fn size(&self) -> (u32, u32);
    /// Draws it on the whole of `area`.
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, pen: Pen) -> Drawn<B>;
}

impl Drawing for Figure {
    fn id(&self) -> &str {
        self.id
    }

    fn title(&self) -> &str {
        self.title
    }

    fn size(&self) -> (u32, u32) {
        draw::SIZE
    }

    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, pen: Pen) -> Drawn<B> {
        draw::draw(area, self, pen)
    }
}

impl Drawing for Map {
    fn id(&self) -> &str {
        &self.id
    }

    fn title(&self) -> &str {
        &self.title
    }

    fn size(&self) -> (u32, u32) {
        draw::scatter::SIZE
    }

    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, pen: Pen) -> Drawn<B> {
        draw::scatter::draw(area, self, pen)
    }
}

/// A drawing as an element of a page: no background, as wide as its place.
pub(super) fn svg_element(drawing: &impl Drawing) -> anyhow::Result<String> {
    let (width, height) = drawing.size();
    let head = format!(
        "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">",
        width * FINE,
        height * FINE,
        super::page::escape(drawing.title())
    );
    with_head(drawing, &head)
}

/// A drawing as a file: on white.
pub(super) fn svg_file(drawing: &impl Drawing) -> anyhow::Result<String> {
    let (width, height) = drawing.size();
    let head = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {} {}\">{OWN_STYLE}<rect width=\"100%\" height=\"100%\" fill=\"#FFFFFF\"/>",
        width * FINE,
        height * FINE
    );
    with_head(drawing, &head)
}

fn with_head(drawing: &impl Drawing, head: &str) -> anyhow::Result<String> {
    with_font();
    let ((width, height), mut text) = (drawing.size(), String::new());
    {
        let area = SVGBackend::with_string(&mut text, (width * FINE, height * FINE)).into_drawing_area();
        let pen = Pen {
            scale: f64::from(FINE),
            sink: 0.0,
        };
        drawing
            .draw(&area, pen)
            .and_then(|()| area.present())
            .map_err(|error| anyhow!("could not draw {}: {error}", drawing.id()))?;
    }
    let (_, body) = text
        .split_once("<svg")
        .and_then(|(_, rest)| rest.split_once('>'))
        .context("the plotting library wrote no SVG")?;
    Ok(format!("{head}{}", body.replace(">\n", ">").replace("\n<", "<")))
}

/// A drawing as a PNG's bytes: on white.
pub(super) fn png(drawing: &impl Drawing) -> anyhow::Result<Vec<u8>> {
    with_font();
    let (width, height) = drawing.size();
    let (width, height) = (width * DENSE, height * DENSE);
    let (fine_width, fine_height) = (width * SAMPLES, height * SAMPLES);
    let mut pixels = vec![0; fine_width as usize * fine_height as usize * 3];
    {
        let area = BitMapBackend::with_buffer(&mut pixels, (fine_width, fine_height)).into_drawing_area();
        let pen = Pen {
            scale: f64::from(DENSE * SAMPLES),
            sink: RISE,
        };
        area.fill(&WHITE)
            .and_then(|()| drawing.draw(&area, pen))
            .and_then(|()| area.present())
            .map_err(|error| anyhow!("could not draw {}: {error}", drawing.id()))?;
    }
    encode(&shrink(&pixels, fine_width as usize), (width, height))
}

/// Each pixel the mean over its samples. `fine` is RGB, row by row, `width` pixels wide.
fn shrink(fine: &[u8], width: usize) -> Vec<u8> {
    let samples = SAMPLES as usize;
    let mut sums = vec![0_u16; width / samples * 3];
    let mut pixels = Vec::with_capacity(fine.len() / (samples * samples));
    for rows in fine.chunks_exact(width * 3 * samples) {
        sums.fill(0);
        for row in rows.chunks_exact(width * 3) {
            for (x, pixel) in row.chunks_exact(3).enumerate() {
                let sum = &mut sums[x / samples * 3..][..3];
                for (sum, &channel) in sum.iter_mut().zip(pixel) {
                    *sum += u16::from(channel);
                }
            }
        }
        let n = (samples * samples) as u16;
        pixels.extend(sums.iter().map(|sum| ((sum + n / 2) / n) as u8));
    }
    pixels
}

/// RGB, row by row, as a PNG.
fn encode(pixels: &[u8], (width, height): (u32, u32)) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().context("could not begin a PNG")?;
    writer.write_image_data(pixels).context("could not write a PNG")?;
    writer.finish().context("could not end a PNG")?;
    Ok(bytes)
}

fn with_font() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let registered = register_font(FONT, FontStyle::Normal, SUBSET);
        assert!(registered.is_ok(), "the font that m2t brings along is one");
    });
}
