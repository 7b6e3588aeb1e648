//! What the markers of a JPEG say, and the file without all that is not the image.

mod memory;

use std::ops::Range;

use arrayvec::ArrayVec;

use super::super::DecodeError;

/// What the markers of a file say.
#[derive(Debug, Default)]
pub(super) struct Markers {
    pub(super) frame: Option<Frame>,
    /// There is a JFIF segment.
    pub(super) jfif: bool,
    /// The colour transform of the Adobe segment.
    pub(super) adobe: Option<u8>,
    pub(super) n_scans: u32,
    /// Tables and frame headers before the first scan, each from its marker's code on.
    tables: Vec<Range<usize>>,
    /// From the first scan's marker to behind the end-of-image marker.
    scans: Range<usize>,
}

/// The frame header.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) width: u32,
    pub(super) height: u32,
    /// No more than five are looked at: more than four are not supported.
    pub(super) components: ArrayVec<Component, 5>,
    is_progressive: bool,
}

/// One component of a frame.
#[derive(Debug)]
pub(super) struct Component {
    name: u8,
    /// Sampling factors.
    horizontal: u8,
    vertical: u8,
}

impl Frame {
    /// Its components are called R, G and B.
    pub(super) fn is_named_rgb(&self) -> bool {
        self.components.iter().map(|component| component.name).eq(*b"RGB")
    }

    /// Of a kind that zune-jpeg decodes to garbage or refuses: a sequential image in several scans, sampling in
    /// thirds, or a first component that is not the finest.
    pub(super) fn is_rare(&self, n_scans: u32) -> bool {
        let Some(first) = self.components.first() else {
            return false;
        };
        let is_odd = self.components.iter().any(|component| {
            let factors = [component.horizontal, component.vertical];
            factors.iter().any(|factor| !factor.is_power_of_two())
                || component.horizontal > first.horizontal
                || component.vertical > first.vertical
        });
        is_odd || (!self.is_progressive && n_scans > 1)
    }
}

impl Markers {
    /// Reads another file, in place of what the last one's said. After an error it is not known what is left of either.
    ///
    /// Walks from marker to marker to the end of the image, past the entropy-coded data. Bytes between segments that
    /// belong to none are passed over.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        let mut tables = std::mem::take(&mut self.tables);
        tables.clear();
        *self = Self {
            tables,
            ..Self::default()
        };
        let mut at = 2;
        loop {
            at = next_marker(bytes, at).ok_or(DecodeError::Truncated)?;
            let code = bytes[at];
            match code {
                0xD9 => {
                    self.scans.end = at + 1;
                    return if self.n_scans > 0 {
                        Ok(())
                    } else {
                        Err(DecodeError::Truncated)
                    };
                }
                // Another image begins before this one ended.
                0xD8 => return Err(DecodeError::Truncated),
                0x01 => {
                    at += 1;
                    continue;
                }
                _ => {}
            }
            let length = match bytes.get(at + 1..at + 3) {
                Some(&[high, low]) => usize::from(u16::from_be_bytes([high, low])).max(2),
                _ => return Err(DecodeError::Truncated),
            };
            let segment = at..at + 1 + length;
            let body = bytes.get(at + 3..segment.end).ok_or(DecodeError::Truncated)?;
            at = segment.end;
            self.take(code, body, segment)?;
        }
    }

    fn take(&mut self, code: u8, body: &[u8], segment: Range<usize>) -> Result<(), DecodeError> {
        match (code, body) {
            (0xE0, [b'J', b'F', b'I', b'F', 0, ..]) => self.jfif = true,
            (0xEE, [b'A', b'd', b'o', b'b', b'e', _, _, _, _, _, _, transform, ..]) => {
                self.adobe = Some(*transform);
            }
            (0xC0..=0xC2, [8, h1, h0, w1, w0, _, components @ ..]) => {
                self.frame.get_or_insert_with(|| Frame {
                    width: u32::from(u16::from_be_bytes([*w1, *w0])),
                    height: u32::from(u16::from_be_bytes([*h1, *h0])),
                    components: components.chunks_exact(3).take(5).map(Component::read).collect(),
                    is_progressive: code == 0xC2,
                });
            }
            (0xC0..=0xC2, [_, ..]) => return Err(DecodeError::Unsupported("12-bit JPEGs")),
            (0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF, _) => {
                return Err(DecodeError::Unsupported(
                    "lossless, hierarchical and arithmetic-coded JPEGs",
                ));
            }
            (0xDA, _) => {
                if self.n_scans == 0 {
                    self.scans.start = segment.start;
                }
                self.n_scans += 1;
            }
            _ => {}
        }
        let is_needed = matches!(code, 0xC0..=0xC2 | 0xC4 | 0xDB | 0xDD);
        if is_needed && self.n_scans == 0 {
            self.tables.push(segment);
        }
        Ok(())
    }

    /// Makes `image` the file without comments, profiles, thumbnails and whatever else a decoder might stumble over, and with
    /// an Adobe segment of this transform.
    pub(super) fn image_alone(&self, bytes: &[u8], transform: Option<u8>, image: &mut Vec<u8>) {
        image.clear();
        image.extend_from_slice(&[0xFF, 0xD8]);
        if let Some(transform) = transform {
            image.extend_from_slice(&[0xFF, 0xEE, 0, 14]);
            image.extend_from_slice(b"Adobe\0\x64\0\0\0\0");
            image.push(transform);
        }
        for segment in self.tables.iter().chain([&self.scans]) {
            image.push(0xFF);
            image.extend_from_slice(&bytes[segment.clone()]);
        }
    }
}

impl Component {
    fn read(bytes: &[u8]) -> Self {
        Self {
            name: bytes[0],
            horizontal: bytes[1] >> 4,
            vertical: bytes[1] & 15,
        }
    }
}

/// The place of the next marker's code at or after `at`. Stuffed zeros, restart markers and fill bytes are passed
/// over, which is right in entropy-coded data and harmless between segments.
fn next_marker(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr::memchr(0xFF, bytes.get(at..)?)? + 1;
        match *bytes.get(at)? {
            0x00 | 0xD0..=0xD7 => at += 1,
            0xFF => {}
            _ => return Some(at),
        }
    }
}
