//! JPEG: baseline and progressive, grey, colour, CMYK and YCCK.
//!
//! The pixels come from zune-jpeg in its strict mode, and for the few kinds that it gets wrong or refuses
//! ([`Frame::is_rare`]) from jpeg-decoder, which is slower. Neither sees the file as it is, but the image alone, put
//! together by `markers`: a broken profile or stray bytes between segments lose no picture, as with Pillow, and
//! what the colours are is decided here by libjpeg's rules.
//!
//! A file without an end-of-image marker is truncated, as for Pillow. One that has the marker though its data end
//! early is taken, as there. Arithmetic coding, which no browser shows either, and 12-bit samples are not supported.

mod markers;

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::{DecodeError, Image, Kind, afford, buffer_size};
use markers::{Frame, Markers};

/// Most bytes of a picture's memory that are kept for the next one; a giant among photographs is not remembered.
const KEPT: usize = 32 << 20;

/// What the stored components are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Colors {
    Grey,
    YCbCr,
    Rgb,
    Cmyk,
    Ycck,
}

/// What is kept from picture to picture.
#[derive(Debug, Default)]
pub(super) struct Memory {
    markers: Markers,
    /// A file without what is not the image.
    alone: Vec<u8>,
}

pub(super) fn decode(bytes: &[u8], memory: &mut Memory, image: &mut Image) -> Result<(), DecodeError> {
    let Memory { markers, alone } = memory;
    markers.read(bytes)?;
    let frame = markers.frame.as_ref().ok_or(DecodeError::Truncated)?;
    let size = buffer_size(frame.width, frame.height)?;
    let colors = colors(markers, frame)?;
    let is_rare = frame.is_rare(markers.n_scans);
    afford(frame.memory(is_rare), (frame.width, frame.height))?;
    let pixels = &mut image.pixels;
    // What a file that ends early leaves out is black, never what was there before.
    pixels.clear();
    if pixels.capacity() > KEPT.max(size) {
        pixels.shrink_to(size);
    }
    if is_rare {
        markers.image_alone(bytes, rare_transform(colors), alone);
        decode_rare(alone, colors, size, pixels)?;
    } else {
        markers.image_alone(bytes, common_transform(colors), alone);
        pixels.resize(size, 0);
        decode_common(alone, common_space(colors, frame), pixels)?;
    }
    (image.width, image.height) = (frame.width, frame.height);
    Ok(())
}

/// Told by the number of components; a file whose end is missing is a JPEG nonetheless.
pub(super) fn kind(bytes: &[u8]) -> Option<Kind> {
    let mut markers = Markers::default();
    let frame = markers.read(bytes).ok().and(markers.frame);
    Some(match frame.map(|frame| frame.components.len()) {
        Some(1) => Kind::GreyJpeg,
        Some(4) => Kind::CmykJpeg,
        _ => Kind::Jpeg,
    })
}

/// As libjpeg tells what the components are.
fn colors(markers: &Markers, frame: &Frame) -> Result<Colors, DecodeError> {
    match (frame.components.len(), markers.adobe) {
        (1, _) => Ok(Colors::Grey),
        (3, _) if markers.jfif => Ok(Colors::YCbCr),
        (3, Some(0)) => Ok(Colors::Rgb),
        (3, None) if frame.is_named_rgb() => Ok(Colors::Rgb),
        (3, _) => Ok(Colors::YCbCr),
        (4, None | Some(0)) => Ok(Colors::Cmyk),
        (4, Some(_)) => Ok(Colors::Ycck),
        _ => Err(DecodeError::Unsupported(
            "JPEGs of two or of more than four components",
        )),
    }
}

/// zune-jpeg does not know untransformed colour by the Adobe marker, but passes components through that are called YCbCr, as
/// three are without it, and asked for as YCbCr.
fn common_transform(colors: Colors) -> Option<u8> {
    match colors {
        Colors::Grey | Colors::Rgb | Colors::YCbCr => None,
        Colors::Cmyk => Some(0),
        Colors::Ycck => Some(2),
    }
}

/// What to ask zune-jpeg for.
fn common_space(colors: Colors, frame: &Frame) -> ColorSpace {
    if colors == Colors::Rgb && !frame.is_named_rgb() {
        ColorSpace::YCbCr
    } else {
        ColorSpace::RGB
    }
}

fn decode_common(image: &[u8], space: ColorSpace, pixels: &mut [u8]) -> Result<(), DecodeError> {
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_out_colorspace(space);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(image), options);
    decoder.decode_into(pixels).map_err(DecodeError::Jpeg)
}

fn rare_transform(colors: Colors) -> Option<u8> {
    match colors {
        Colors::Grey => None,
        Colors::Rgb | Colors::Cmyk => Some(0),
        Colors::YCbCr => Some(1),
        Colors::Ycck => Some(2),
    }
}

fn decode_rare(image: &[u8], colors: Colors, size: usize, rgb: &mut Vec<u8>) -> Result<(), DecodeError> {
    let mut decoder = jpeg_decoder::Decoder::new(image);
    // Four stored components make three.
    decoder.set_max_decoding_buffer_size(size / 3 * 4);
    let pixels = decoder.decode().map_err(DecodeError::RareJpeg)?;
    match colors {
        Colors::Grey => rgb.extend(pixels.iter().flat_map(|&value| [value; 3])),
        Colors::YCbCr | Colors::Rgb => rgb.extend(&pixels),
        Colors::Cmyk | Colors::Ycck => {
            rgb.extend(pixels.as_chunks().0.iter().flat_map(|&ink| rgb_of(ink)));
        }
    }
    if rgb.len() != size {
        return Err(DecodeError::Truncated);
    }
    Ok(())
}

/// Of cyan, magenta, yellow and black as Pillow makes it, rounding included.
fn rgb_of([c, m, y, k]: [u8; 4]) -> [u8; 3] {
    let paper = 255 - k;
    [c, m, y].map(|ink| {
        let product = u32::from(ink) * u32::from(paper) + 128;
        paper
            - u8::try_from(((product >> 8) + product) >> 8)
                .expect("a 255th of a product of two bytes is a byte")
    })
}
