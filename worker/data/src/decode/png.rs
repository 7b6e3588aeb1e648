//! PNG of any colour type and depth, as Pillow's `convert("RGB")` gives it.
//!
//! Transparency is dropped, not blended. Of 16-bit samples the high byte is taken, except for plain 16-bit grey, where
//! Pillow clips values above 255. The first picture of an animation is the picture. A closing chunk that is missing
//! is missed by nobody; one with picture data that is short, or whose checksum is wrong, is.

use std::borrow::Cow;
use std::io::Cursor;

use png::{BitDepth, ColorType, Decoder, DecodingError, Limits, Transformations};

use super::{DecodeError, Image, afford, buffer_size};

/// The chunk at the end of every PNG.
const END: [u8; 12] = *b"\0\0\0\0IEND\xAE\x42\x60\x82";

pub(super) fn decode(bytes: &[u8]) -> Result<Image, DecodeError> {
    let bytes = closed(bytes);
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes.as_ref()), Limits { bytes: 1 << 31 });
    decoder.set_transformations(Transformations::EXPAND);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let header = decoder.read_header_info().map_err(error)?;
    let (width, height) = (header.width, header.height);
    let plain_deep_grey = header.color_type == ColorType::Grayscale && header.bit_depth == BitDepth::Sixteen;
    let size = buffer_size(width, height)?;

    let mut reader = decoder.read_info().map_err(error)?;
    let raw_size = reader
        .output_buffer_size()
        .ok_or(DecodeError::TooLarge { width, height })?;
    let is_rgb = reader.output_color_type() == (ColorType::Rgb, BitDepth::Eight);
    let of_rgb = if is_rgb { 0 } else { size as u64 };
    afford(raw_size as u64 + of_rgb, (width, height))?;
    let mut raw = vec![0; raw_size];
    reader.next_frame(&mut raw).map_err(error)?;
    let (color, depth) = reader.output_color_type();
    let pixels = match (color, depth) {
        (ColorType::Rgb, BitDepth::Eight) => raw,
        _ => {
            let mut pixels = Vec::with_capacity(size);
            let sample_bytes = if depth == BitDepth::Sixteen { 2 } else { 1 };
            for pixel in raw.chunks_exact(color.samples() * sample_bytes) {
                // Big-endian: the first byte of a deep sample is its high byte.
                pixels.extend_from_slice(&match color {
                    ColorType::Rgb | ColorType::Rgba => {
                        [pixel[0], pixel[sample_bytes], pixel[2 * sample_bytes]]
                    }
                    _ if plain_deep_grey && pixel[0] == 0 => [pixel[1]; 3],
                    _ if plain_deep_grey => [255; 3],
                    _ => [pixel[0]; 3],
                });
            }
            pixels
        }
    };
    Ok(Image {
        width,
        height,
        pixels,
    })
}

/// The file, with its closing chunk if that is missing or cut off.
fn closed(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut at = 8;
    while let Some(rest) = bytes.get(at..) {
        if rest.starts_with(&END) {
            break;
        }
        if END.starts_with(rest) {
            return Cow::Owned([&bytes[..at], &END].concat());
        }
        let Some(length) = rest.first_chunk() else {
            break;
        };
        at += 12 + u32::from_be_bytes(*length) as usize;
    }
    Cow::Borrowed(bytes)
}

fn error(error: DecodingError) -> DecodeError {
    match error {
        DecodingError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            DecodeError::Truncated
        }
        error => DecodeError::Png(error),
    }
}
