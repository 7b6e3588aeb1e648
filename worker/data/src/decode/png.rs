//! PNG of any colour type and depth, as Pillow's `convert("RGB")` gives it.
//!
//! Transparency is dropped, not blended. Of 16-bit samples the high byte is taken, except for plain 16-bit grey, where
//! Pillow clips values above 255. The first picture of an animation is the picture.

use std::io::Cursor;

use png::{BitDepth, ColorType, Decoder, DecodingError, Limits, Transformations};

use super::{DecodeError, Image, buffer_size};

pub(super) fn decode(bytes: &[u8]) -> Result<Image, DecodeError> {
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: 1 << 31 });
    decoder.set_transformations(Transformations::EXPAND);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let header = decoder.read_header_info().map_err(error)?;
    let (width, height) = (header.width, header.height);
    let plain_deep_grey = header.color_type == ColorType::Grayscale && header.bit_depth == BitDepth::Sixteen;
    let size = buffer_size(width, height)?;

    let mut reader = decoder.read_info().map_err(error)?;
    let mut raw = vec![
        0;
        reader
            .output_buffer_size()
            .ok_or(DecodeError::TooLarge { width, height })?
    ];
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

fn error(error: DecodingError) -> DecodeError {
    match error {
        DecodingError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            DecodeError::Truncated
        }
        error => DecodeError::Png(error),
    }
}
