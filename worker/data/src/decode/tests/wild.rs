//! Pictures as they come from cameras, editors and broken downloads: what no decoder may stumble over, what is taken
//! with its right colours, and what is refused. Each was compared with Pillow once; here they are made without it.

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use super::super::*;
use crate::fixtures::{gradient, png};

/// Smooth colours, which survive any subsampling.
fn smooth(width: u32, height: u32) -> Vec<u8> {
    let pixel = |x: u32, y: u32| [60 + x * 2, 200 - y * 2, 90 + x + y].map(|value| value as u8);
    (0..height)
        .flat_map(|y| (0..width).flat_map(move |x| pixel(x, y)))
        .collect()
}

fn jpeg(size: (u32, u32), set: impl FnOnce(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 95);
    set(&mut encoder);
    let (width, height) = (size.0 as u16, size.1 as u16);
    encoder
        .encode(&smooth(size.0, size.1), width, height, ColorType::Rgb)
        .unwrap();
    bytes
}

/// Mean and greatest difference.
fn difference(a: &[u8], b: &[u8]) -> (f64, u8) {
    assert_eq!(a.len(), b.len());
    let each = a.iter().zip(b).map(|(a, b)| a.abs_diff(*b));
    let sum: f64 = each.clone().map(f64::from).sum();
    (sum / a.len() as f64, each.max().unwrap_or(0))
}

fn segment(code: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + 2).unwrap().to_be_bytes();
    [&[0xFF, code], &length[..], body].concat()
}

/// `file` with `inserted` at `at`.
fn with(file: &[u8], at: usize, inserted: &[u8]) -> Vec<u8> {
    [&file[..at], inserted, &file[at..]].concat()
}

#[test]
fn every_sampling_scan_and_size_gives_the_same_picture() {
    let samplings = [
        SamplingFactor::F_1_1,
        SamplingFactor::F_2_1,
        SamplingFactor::F_1_2,
        SamplingFactor::F_2_2,
        SamplingFactor::F_4_1,
        SamplingFactor::F_4_2,
        SamplingFactor::F_1_4,
        SamplingFactor::F_2_4,
    ];
    let sizes = (1..=17).map(|n| (n, 18 - n)).chain([(1, 1), (33, 17), (64, 48)]);
    for size in sizes {
        for sampling in samplings {
            for (progressive, optimized, restart) in [
                (false, false, 0),
                (false, true, 0),
                (true, false, 0),
                (false, false, 1),
            ] {
                let file = jpeg(size, |encoder| {
                    encoder.set_sampling_factor(sampling);
                    encoder.set_progressive(progressive);
                    // Optimized tables bring a scan for each component.
                    encoder.set_optimized_huffman_tables(optimized);
                    encoder.set_restart_interval(restart);
                });
                let what = format!("{size:?} {sampling:?} {progressive} {optimized} {restart}");
                let image = decode(&file).unwrap_or_else(|error| panic!("{what}: {error:?}"));
                assert_eq!((image.width, image.height), size, "{what}");
                let (mean, max) = difference(&image.pixels, &smooth(size.0, size.1));
                assert!(mean < 3.0 && max < 20, "{what}: mean {mean}, max {max}");
            }
        }
    }
}

#[test]
fn what_is_not_the_image_changes_nothing() {
    let whole = jpeg((40, 30), |_| {});
    let plain = decode(&whole).unwrap();
    let behind_jfif = 4 + usize::from(whole[5]);
    let thumbnail = jpeg((8, 8), |_| {});
    let cases = [
        ("a comment", with(&whole, 2, &segment(0xFE, b"hello"))),
        (
            "an EXIF segment that is noise",
            with(
                &whole,
                2,
                &segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff\xff\xff"),
            ),
        ),
        (
            "an EXIF segment with a thumbnail",
            with(&whole, 2, &segment(0xE1, &[b"Exif\0\0", &thumbnail[..]].concat())),
        ),
        (
            "a part of a profile",
            with(&whole, 2, &segment(0xE2, b"ICC_PROFILE\0\x02\x03noise")),
        ),
        (
            "half a Photoshop segment",
            with(&whole, 2, &segment(0xED, b"Photoshop 3.0\08BIM\x03")),
        ),
        ("half an Adobe segment", with(&whole, 2, &segment(0xEE, b"Adob"))),
        ("a segment of no length", with(&whole, 2, &[0xFF, 0xE5, 0, 0])),
        ("fill bytes first", with(&whole, 2, &[0xFF; 3])),
        ("fill bytes between", with(&whole, behind_jfif, &[0xFF; 3])),
        ("stray bytes between", with(&whole, behind_jfif, b"\0\0\x12abc")),
        ("a stray restart marker", with(&whole, behind_jfif, &[0xFF, 0xD0])),
        (
            "fill bytes before the end",
            with(&whole, whole.len() - 2, &[0xFF; 3]),
        ),
        (
            "stray bytes before the end",
            with(&whole, whole.len() - 2, &[0; 9]),
        ),
        (
            "a late comment",
            with(&whole, whole.len() - 2, &segment(0xFE, b"late")),
        ),
        ("zeros behind", [&whole[..], &[0; 1000]].concat()),
        ("text behind", [&whole[..], b"<html>"].concat()),
        ("another picture behind", [&whole[..], &thumbnail].concat()),
        (
            "half a picture behind",
            [&whole[..], &thumbnail[..thumbnail.len() / 2]].concat(),
        ),
    ];
    for (what, file) in cases {
        assert_eq!(
            decode(&file).unwrap_or_else(|error| panic!("{what}: {error:?}")),
            plain,
            "{what}"
        );
    }
}

#[test]
fn cmyk_and_ycck_become_rgb() {
    let rgb = smooth(37, 21);
    // Without black.
    let inks: Vec<u8> = rgb
        .as_chunks::<3>()
        .0
        .iter()
        .flat_map(|&[r, g, b]| [255 - r, 255 - g, 255 - b, 0])
        .collect();
    for (color, optimized, progressive) in [
        (ColorType::Cmyk, false, false),
        (ColorType::Cmyk, true, false),
        (ColorType::CmykAsYcck, false, false),
        (ColorType::CmykAsYcck, true, false),
        (ColorType::CmykAsYcck, false, true),
    ] {
        for sampling in [SamplingFactor::F_1_1, SamplingFactor::F_2_2] {
            let mut bytes = Vec::new();
            let mut encoder = Encoder::new(&mut bytes, 95);
            encoder.set_sampling_factor(sampling);
            encoder.set_optimized_huffman_tables(optimized);
            encoder.set_progressive(progressive);
            encoder.encode(&inks, 37, 21, color).unwrap();
            let image = decode(&bytes).unwrap();
            let (mean, max) = difference(&image.pixels, &rgb);
            assert!(
                mean < 3.0 && max < 20,
                "{color:?} {optimized} {sampling:?}: mean {mean}, max {max}"
            );
        }
    }
}

#[test]
fn grey_in_any_scan_becomes_rgb() {
    let grey: Vec<u8> = (0..40 * 30).map(|i| (i % 40 * 5) as u8).collect();
    for progressive in [false, true] {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, 95);
        encoder.set_progressive(progressive);
        encoder.encode(&grey, 40, 30, ColorType::Luma).unwrap();
        let image = decode(&bytes).unwrap();
        let expected: Vec<u8> = grey.iter().flat_map(|&value| [value; 3]).collect();
        assert!(difference(&image.pixels, &expected).1 < 8, "{progressive}");
    }
}

#[test]
fn unfinished_and_unsupported_files_are_refused_by_kind() {
    let whole = jpeg((40, 30), |_| {});
    let frame = whole.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    let changed = |at: usize, to: u8| {
        let mut bytes = whole.clone();
        bytes[at] = to;
        bytes
    };
    let unfinished = &whole[..whole.len() - 20];
    let truncated = [
        &whole[..whole.len() - 2],
        &whole[..whole.len() - 1],
        &[&whole[..whole.len() - 2], &[0; 50]].concat(),
        &[unfinished, &whole].concat(),
        &[0xFF, 0xD8, 0xFF, 0xD9],
    ];
    for bytes in truncated {
        assert!(
            matches!(decode(bytes), Err(DecodeError::Truncated)),
            "{} bytes",
            bytes.len()
        );
    }
    for code in [0xC3, 0xC5, 0xC9, 0xCA] {
        let error = decode(&changed(frame + 1, code)).unwrap_err();
        assert!(matches!(error, DecodeError::Unsupported(_)), "{code:x}: {error}");
    }
    let deep = decode(&changed(frame + 4, 12)).unwrap_err();
    assert!(matches!(deep, DecodeError::Unsupported("12-bit JPEGs")), "{deep}");
    for other in [
        &b"GIF89a\x01\0\x01\0"[..],
        b"BM6\0\0\0",
        b"RIFF\0\0\0\0WEBP",
        b"II*\0",
    ] {
        assert!(matches!(decode(other), Err(DecodeError::Unrecognised)));
    }
}

#[test]
fn a_png_without_its_closing_chunk_is_whole() {
    let file = png(
        (12, 9),
        ::png::ColorType::Rgb,
        ::png::BitDepth::Eight,
        &gradient(12, 9, 3),
    );
    let whole = decode(&file).unwrap();
    for missing in 1..=12 {
        assert_eq!(decode(&file[..file.len() - missing]).unwrap(), whole, "{missing}");
    }
    assert_eq!(decode(&[&file[..], b"trailing"].concat()).unwrap(), whole);
    assert!(decode(&file[..file.len() - 13]).is_err());
}

#[test]
fn a_wrong_checksum_counts_only_where_the_picture_is() {
    let file = png(
        (12, 9),
        ::png::ColorType::Rgb,
        ::png::BitDepth::Eight,
        &gradient(12, 9, 3),
    );
    let behind_header = 8 + 25;
    let wrong_text = [&[0, 0, 0, 3][..], b"tEXta\0b", &[1, 2, 3, 4]].concat();
    assert_eq!(
        decode(&with(&file, behind_header, &wrong_text)).unwrap(),
        decode(&file).unwrap()
    );
    let mut wrong_data = file.clone();
    *wrong_data.iter_mut().rev().nth(12).unwrap() ^= 1;
    assert!(matches!(decode(&wrong_data), Err(DecodeError::Png(_))));
}
