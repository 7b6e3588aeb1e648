//! Encoded bytes to 8-bit RGB, recognised by their content, never by a file's name.
//!
//! The result is what Pillow's `convert("RGB")` gives: PNG to the bit, JPEG within the rounding of another inverse
//! cosine transform. An orientation tag and a colour profile are ignored, as there. A picture that Pillow
//! refuses as truncated or corrupt is an error here, too; reading files and replacing bad ones is the loader's job.

mod jpeg;
mod png;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Most pixels an image may have (width × height): Pillow's own limit. Checked before anything is allocated.
pub const MAX_PIXELS: u64 = 178_956_970;

/// Most bytes that decoding one file may take, by what its header says. Checked likewise.
pub const MAX_MEMORY: u64 = 252 << 20;

/// A decoded picture; by default none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Columns; at least 1.
    pub width: u32,
    /// Rows; at least 1.
    pub height: u32,
    /// RGB, row by row from the top: `3 · width · height` bytes.
    pub pixels: Vec<u8>,
}

/// Bytes that are no picture.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Nothing to decode.
    #[error("the file is empty")]
    Empty,
    /// Neither signature stands at the beginning.
    #[error("the content is neither JPEG nor PNG")]
    Unrecognised,
    /// It claims to be larger than [`MAX_PIXELS`].
    #[error("it claims to be {width} × {height} pixels, more than the {MAX_PIXELS} that are allowed")]
    TooLarge {
        /// Claimed columns.
        width: u32,
        /// Claimed rows.
        height: u32,
    },
    /// Decoding it would take more than [`MAX_MEMORY`].
    #[error(
        "decoding its {width} × {height} pixels would take {} MiB, more than the {} that are allowed",
        needed >> 20,
        MAX_MEMORY >> 20
    )]
    Unaffordable {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
        /// Bytes.
        needed: u64,
    },
    /// The data ends before the picture does.
    #[error("the file is truncated")]
    Truncated,
    /// A kind of JPEG or PNG that cannot be turned into 8-bit RGB.
    #[error("{0} are not supported")]
    Unsupported(&'static str),
    /// The JPEG data contradicts itself.
    #[error("the JPEG data is corrupt")]
    Jpeg(#[source] zune_jpeg::errors::DecodeErrors),
    /// The JPEG data contradicts itself, as the decoder for rare kinds found.
    #[error("the JPEG data is corrupt")]
    RareJpeg(#[source] jpeg_decoder::Error),
    /// The PNG data contradicts itself.
    #[error("the PNG data is corrupt")]
    Png(#[source] ::png::DecodingError),
    /// The decoder met a case it does not handle. Only this picture is lost.
    #[error("the decoder gave up on it: {0}")]
    Panicked(String),
}

/// What a file's content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// JPEG in colour.
    Jpeg,
    /// JPEG in grey.
    GreyJpeg,
    /// JPEG in four inks.
    CmykJpeg,
    /// PNG of any kind.
    Png,
}

/// Tells by a file's first bytes and markers what it is, if it is something; whether it decodes is another question.
pub fn kind(bytes: &[u8]) -> Option<Kind> {
    match bytes {
        [0xFF, 0xD8, 0xFF, ..] => jpeg::kind(bytes),
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => Some(Kind::Png),
        _ => None,
    }
}

impl DecodeError {
    /// The error and its causes in one line.
    pub fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text += &format!(": {}", error.to_string().trim());
            cause = error.source();
        }
        text
    }
}

/// Decodes a JPEG or PNG to RGB.
pub fn decode(bytes: &[u8]) -> Result<Image, DecodeError> {
    let mut image = Image::default();
    Decoder::default().decode(bytes, &mut image)?;
    Ok(image)
}

/// Decodes one picture after the other, and keeps memory in between.
#[derive(Debug, Default)]
pub struct Decoder {
    jpeg: jpeg::Memory,
}

impl Decoder {
    /// Decodes a JPEG or PNG to RGB, in place of what `image` held. After an error it holds no picture.
    pub fn decode(&mut self, bytes: &[u8], image: &mut Image) -> Result<(), DecodeError> {
        // A decoder's panic on hostile data costs one picture, not the run: what it left behind is overwritten by the next.
        catch_unwind(AssertUnwindSafe(|| self.decode_recognised(bytes, image)))
            .unwrap_or_else(|panic| Err(DecodeError::Panicked(panic_text(panic.as_ref()))))
    }

    fn decode_recognised(&mut self, bytes: &[u8], image: &mut Image) -> Result<(), DecodeError> {
        match bytes {
            [] => Err(DecodeError::Empty),
            [0xFF, 0xD8, 0xFF, ..] => jpeg::decode(bytes, &mut self.jpeg, image),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => {
                *image = png::decode(bytes)?;
                Ok(())
            }
            _ => Err(DecodeError::Unrecognised),
        }
    }
}

/// What a caught panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

/// Bytes of an RGB image of this size, if it is within the limit.
fn buffer_size(width: u32, height: u32) -> Result<usize, DecodeError> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels > MAX_PIXELS {
        return Err(DecodeError::TooLarge { width, height });
    }
    Ok(usize::try_from(pixels * 3).expect("the limit keeps it below 2^30"))
}

/// Refuses what takes more memory than one file may.
fn afford(needed: u64, (width, height): (u32, u32)) -> Result<(), DecodeError> {
    if needed > MAX_MEMORY {
        return Err(DecodeError::Unaffordable {
            width,
            height,
            needed,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
