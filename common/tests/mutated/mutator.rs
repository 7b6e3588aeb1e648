//! Damages a text or a message: at random, and where it hurts. A mutant is a function of its number.
//!
//! Tests of other crates take this file in by its path.

use m2t_common::random::Stream;

/// A name and what is damaged.
pub(crate) type Whole = (String, Vec<u8>);

/// Numbers at the ends of types, and what is none, as texts write them.
const TEXTS: [&str; 16] = [
    "0",
    "-1",
    "18446744073709551615",
    "18446744073709551616",
    "4294967296",
    "1e400",
    "-0.0",
    "null",
    "\"\"",
    "\"step-\"",
    "\"\u{e9}\"",
    "\\u0000",
    "[[[[[[[[",
    "{\"a\":",
    "nan",
    "\"\"\"",
];
/// The same as varints of protobuf, and lengths that lie.
const VARINTS: [&[u8]; 6] = [
    &[0],
    &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],
    &[0xFF, 0xFF, 0xFF, 0xFF, 0x0F],
    &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F],
    &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80],
    &[0xFF, 0xFF, 0xFF, 0x7F],
];

/// How many mutants a test makes: `M2T_MUTANTS`, else `usual`.
pub(crate) fn how_many(usual: u64) -> u64 {
    std::env::var("M2T_MUTANTS").map_or(usual, |n| n.parse().expect("M2T_MUTANTS is a number"))
}

/// The mutant of this number, and what it was made of.
pub(crate) fn mutant(wholes: &[Whole], number: u64) -> Whole {
    let mut stream = Stream::new("mutated messages", &[number]);
    let (name, whole) = &wholes[below(&mut stream, wholes.len())];
    let mut bytes = whole.clone();
    for _ in 0..1 + below(&mut stream, 4) {
        let other = &wholes[below(&mut stream, wholes.len())].1;
        change(&mut bytes, other, &mut stream);
    }
    // Now and then nothing of it is left.
    if stream.chance(0.02) {
        let length = below(&mut stream, 200);
        bytes = (0..length).map(|_| stream.bits() as u8).collect();
    }
    (format!("mutant {number} of {name}"), bytes)
}

fn change(bytes: &mut Vec<u8>, other: &[u8], stream: &mut Stream) {
    let at = below(stream, bytes.len() + 1);
    match below(stream, 10) {
        0 if at < bytes.len() => bytes[at] ^= 1 << below(stream, 8),
        1 if at < bytes.len() => bytes[at] = [0, 0xFF, 0x7F, stream.bits() as u8][below(stream, 4)],
        2 => bytes.truncate(at),
        // The beginning of one, the end of another.
        3 => {
            bytes.truncate(at);
            bytes.extend_from_slice(&other[below(stream, other.len() + 1)..]);
        }
        // A part again, elsewhere.
        4 => {
            let end = (at + 1 + below(stream, 64)).min(bytes.len());
            let part = bytes[at..end].to_vec();
            let to = below(stream, bytes.len() + 1);
            bytes.splice(to..to, part);
        }
        5 => {
            let end = (at + 1 + below(stream, 16)).min(bytes.len());
            bytes.drain(at..end);
        }
        6 => put(bytes, at, VARINTS[below(stream, VARINTS.len())]),
        7 => put(bytes, at, TEXTS[below(stream, TEXTS.len())].as_bytes()),
        8 => put_for_a_number(bytes, TEXTS[below(stream, TEXTS.len())].as_bytes(), stream),
        _ => {
            let part = &other[below(stream, other.len() + 1)..];
            let part = &part[..part.len().min(1 + below(stream, 40))];
            put(bytes, at, part);
        }
    }
}

/// Over what stands there, as far as it goes.
fn put(bytes: &mut Vec<u8>, at: usize, part: &[u8]) {
    let end = (at + part.len()).min(bytes.len());
    bytes.splice(at..end, part.iter().copied());
}

/// In the place of a number in a text, so that the text stays one.
fn put_for_a_number(bytes: &mut Vec<u8>, part: &[u8], stream: &mut Stream) {
    let is_first =
        |at: &usize| bytes[*at].is_ascii_digit() && (*at == 0 || !bytes[*at - 1].is_ascii_alphanumeric());
    let numbers: Vec<usize> = (0..bytes.len()).filter(is_first).collect();
    if numbers.is_empty() {
        return;
    }
    let at = numbers[below(stream, numbers.len())];
    let length = bytes[at..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit() || **byte == b'.')
        .count();
    bytes.splice(at..at + length, part.iter().copied());
}

fn below(stream: &mut Stream, n: usize) -> usize {
    stream.below(n.max(1) as u64) as usize
}
