//! Damages a picture: at random, and where it hurts. A mutant is a function of its number.

use m2t_common::random::Stream;

use super::pictures::Picture;

/// Sizes that somebody might have meant, and some that nobody has.
const SIDES: [u32; 10] = [0, 1, 7, 500, 4_096, 16_383, 32_768, 65_500, 65_535, 1 << 31];

/// The mutant of this number, and what it was made of.
pub(crate) fn mutant(pictures: &[Picture], number: u64) -> (String, Vec<u8>) {
    let mut stream = Stream::new("mutants", &[number]);
    let (name, whole) = &pictures[below(&mut stream, pictures.len())];
    let mut bytes = whole.clone();
    let n_changes = 1 + below(&mut stream, 4);
    for _ in 0..n_changes {
        let other = &pictures[below(&mut stream, pictures.len())].1;
        change(&mut bytes, other, &mut stream);
    }
    // A PNG whose checksums are wrong is refused before anything is decoded.
    if stream.chance(0.8) {
        mend_checksums(&mut bytes);
    }
    (format!("mutant {number} of {name}"), bytes)
}

fn change(bytes: &mut Vec<u8>, other: &[u8], stream: &mut Stream) {
    if bytes.is_empty() {
        return;
    }
    let at = below(stream, bytes.len());
    match below(stream, 8) {
        0 => bytes[at] ^= 1 << below(stream, 8),
        1 => bytes[at] = [0, 0xFF, 0x7F, stream.bits() as u8][below(stream, 4)],
        2 => bytes.truncate(at),
        // The beginning of one, the end of another.
        3 => {
            bytes.truncate(at);
            bytes.extend_from_slice(&other[below(stream, other.len())..]);
        }
        // A part again, elsewhere.
        4 => {
            let end = (at + 1 + below(stream, 64)).min(bytes.len());
            let part = bytes[at..end].to_vec();
            let to = below(stream, bytes.len());
            bytes.splice(to..to, part);
        }
        5 => {
            let end = (at + 1 + below(stream, 16)).min(bytes.len());
            bytes.drain(at..end);
        }
        6 => change_a_length(bytes, stream),
        _ => lie_about_the_size(bytes, stream),
    }
}

/// Of a segment after a marker, or of a chunk.
fn change_a_length(bytes: &mut [u8], stream: &mut Stream) {
    let lengths: Vec<usize> = if is_png(bytes) {
        chunks(bytes).map(|at| at + 2).collect()
    } else {
        let is_marker = |at: &usize| bytes[*at] == 0xFF && (0xC0..0xFF).contains(&bytes[*at + 1]);
        (0..bytes.len().saturating_sub(3))
            .filter(is_marker)
            .map(|at| at + 2)
            .collect()
    };
    if lengths.is_empty() {
        return;
    }
    let at = lengths[below(stream, lengths.len())];
    if let Some(length) = bytes.get_mut(at..at + 2) {
        let value = [0, 1, 2, 0xFFFF, u64::from(length[1]) + 1, stream.bits()][below(stream, 6)];
        length.copy_from_slice(&(value as u16).to_be_bytes());
    }
}

/// Also of how the components are sampled, and how many there are.
fn lie_about_the_size(bytes: &mut [u8], stream: &mut Stream) {
    let side = |stream: &mut Stream| SIDES[below(stream, SIDES.len())];
    if is_png(bytes) {
        let (at, side) = (16 + 4 * below(stream, 2), side(stream));
        if let Some(field) = bytes.get_mut(at..at + 4) {
            field.copy_from_slice(&side.to_be_bytes());
        }
        return;
    }
    let is_frame = |pair: &[u8]| pair[0] == 0xFF && matches!(pair[1], 0xC0..=0xC2);
    let Some(frame) = bytes.windows(2).position(is_frame) else {
        return;
    };
    match below(stream, 4) {
        0 => {
            if let Some(byte) = bytes.get_mut(frame + 9 + below(stream, 12)) {
                *byte = stream.bits() as u8;
            }
        }
        // Baseline as progressive, and the other way round.
        1 => bytes[frame + 1] = [0xC0, 0xC1, 0xC2][below(stream, 3)],
        axis => {
            let at = frame + 5 + 2 * (axis - 2);
            let side = side(stream) as u16;
            if let Some(field) = bytes.get_mut(at..at + 2) {
                field.copy_from_slice(&side.to_be_bytes());
            }
        }
    }
}

fn mend_checksums(bytes: &mut [u8]) {
    if !is_png(bytes) {
        return;
    }
    for at in Vec::from_iter(chunks(bytes)) {
        let length = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        let mut sum = flate2::Crc::new();
        sum.update(&bytes[at + 4..at + 8 + length]);
        bytes[at + 8 + length..at + 12 + length].copy_from_slice(&sum.sum().to_be_bytes());
    }
}

fn is_png(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x89PNG")
}

/// Where the chunks of a PNG begin that lie within it.
fn chunks(bytes: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let end = move |at: usize| {
        let length = bytes.get(at..at + 4)?.try_into().ok()?;
        let end = at + 12 + u32::from_be_bytes(length) as usize;
        (end <= bytes.len()).then_some(end)
    };
    std::iter::successors(Some(8), move |at| end(*at)).filter(move |at| end(*at).is_some())
}

fn below(stream: &mut Stream, n: usize) -> usize {
    stream.below(n as u64) as usize
}
