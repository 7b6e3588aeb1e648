//! JPEG: baseline and progressive, grey, colour, CMYK and YCCK.
//!
//! The pixels come from zune-jpeg in its strict mode. What it does not do is done here on the markers alone: telling
//! a truncated file (no end-of-image marker, as Pillow does) and naming the colour space as libjpeg does where an
//! Adobe marker says something unusual. Arithmetic coding and 12-bit samples are not supported.

use std::borrow::Cow;

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::{DecodeError, Image, buffer_size};

pub(super) fn decode(bytes: &[u8]) -> Result<Image, DecodeError> {
    let markers = Markers::read(bytes)?;
    let frame = markers.frame.ok_or(DecodeError::Truncated)?;
    let mut pixels = vec![0; buffer_size(frame.width, frame.height)?];
    let (bytes, stored) = markers.name_colors(bytes, frame);
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_out_colorspace(stored);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes.as_ref()), options);
    decoder.decode_into(&mut pixels).map_err(DecodeError::Jpeg)?;
    Ok(Image {
        width: frame.width,
        height: frame.height,
        pixels,
    })
}

/// What the markers of a file say.
#[derive(Default)]
struct Markers {
    frame: Option<Frame>,
    jfif: bool,
    adobe: Option<Adobe>,
}

#[derive(Clone, Copy)]
struct Frame {
    width: u32,
    height: u32,
    n_components: u8,
    /// Its components are called R, G and B, by which zune-jpeg knows it for RGB.
    named_rgb: bool,
}

/// The Adobe marker's colour transform, and where in the file it stands.
#[derive(Clone, Copy)]
struct Adobe {
    transform: u8,
    at: usize,
}

impl Markers {
    /// Walks from marker to marker to the end of the image, past the entropy-coded data.
    fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut markers = Self::default();
        let mut at = 2;
        loop {
            at = next_marker(bytes, at).ok_or(DecodeError::Truncated)?;
            let code = bytes[at];
            at += 1;
            match code {
                0xD9 => return Ok(markers),
                0x01 | 0xD0..=0xD8 => continue,
                _ => {}
            }
            let length = match bytes.get(at..at + 2) {
                Some(&[high, low]) => usize::from(u16::from_be_bytes([high, low])),
                _ => return Err(DecodeError::Truncated),
            };
            let body = bytes
                .get(at + 2..at + length.max(2))
                .ok_or(DecodeError::Truncated)?;
            markers.take(code, body, at + 2)?;
            at += length.max(2);
        }
    }

    fn take(&mut self, code: u8, body: &[u8], at: usize) -> Result<(), DecodeError> {
        match (code, body) {
            (0xE0, [b'J', b'F', b'I', b'F', 0, ..]) => self.jfif = true,
            (0xEE, [b'A', b'd', b'o', b'b', b'e', _, _, _, _, _, _, transform, ..]) => {
                self.adobe = Some(Adobe {
                    transform: *transform,
                    at: at + 11,
                });
            }
            (0xC0..=0xC2, [8, h1, h0, w1, w0, n_components, components @ ..]) => {
                self.frame.get_or_insert(Frame {
                    width: u32::from(u16::from_be_bytes([*w1, *w0])),
                    height: u32::from(u16::from_be_bytes([*h1, *h0])),
                    n_components: *n_components,
                    named_rgb: matches!(components, [b'R', _, _, b'G', _, _, b'B', ..]),
                });
            }
            (0xC0..=0xC2, [_, ..]) => return Err(DecodeError::Unsupported("12-bit JPEGs")),
            (0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF, _) => {
                return Err(DecodeError::Unsupported(
                    "lossless, hierarchical and arithmetic-coded JPEGs",
                ));
            }
            _ => {}
        }
        Ok(())
    }

    /// The file, with the Adobe transform as zune-jpeg must read it to agree with libjpeg, and the colour space to
    /// ask for: three components that an Adobe marker calls untransformed are RGB already, so they are passed through.
    fn name_colors<'a>(&self, bytes: &'a [u8], frame: Frame) -> (Cow<'a, [u8]>, ColorSpace) {
        let as_it_is = (Cow::Borrowed(bytes), ColorSpace::RGB);
        let Some(Adobe { transform, at }) = self.adobe else {
            return as_it_is;
        };
        let (wanted, stored) = match (frame.n_components, transform) {
            _ if frame.named_rgb => return as_it_is,
            (3, 0) if !self.jfif => (1, ColorSpace::YCbCr),
            (3, 0 | 3..) => (1, ColorSpace::RGB),
            (4, 1 | 3..) => (2, ColorSpace::RGB),
            _ => return as_it_is,
        };
        let mut renamed = bytes.to_vec();
        renamed[at] = wanted;
        (Cow::Owned(renamed), stored)
    }
}

/// The place of the next marker's code at or after `at`. Stuffed zeros, restart markers and fill bytes are passed
/// over, which is right in entropy-coded data and harmless between segments.
fn next_marker(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += bytes.get(at..)?.iter().position(|&byte| byte == 0xFF)? + 1;
        match *bytes.get(at)? {
            0x00 | 0xD0..=0xD7 => at += 1,
            0xFF => {}
            _ => return Some(at),
        }
    }
}
