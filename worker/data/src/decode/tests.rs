//! Decoding against Pillow's pixels, on hostile files, and on pictures made here.

#![expect(clippy::print_stdout, reason = "a test prints what it measured")]

mod wild;

use std::path::Path;

use ::png::{BitDepth, ColorType};

use super::*;
use crate::fixtures::{gradient, png, shared};

fn files(folder: &Path, extension: &str) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .collect();
    files.sort();
    files
}

#[test]
fn jpegs_are_what_pillow_decodes() {
    let Some(folder) = shared("fixtures/decode") else {
        return;
    };
    let pictures = files(&folder, "jpg");
    assert!(!pictures.is_empty());
    let mut worst_mean = 0f64;
    for path in pictures {
        let ours = decode(&std::fs::read(&path).unwrap()).unwrap();
        let pillows = decode(&std::fs::read(path.with_extension("png")).unwrap()).unwrap();
        assert_eq!((ours.width, ours.height), (pillows.width, pillows.height));
        let differences = ours
            .pixels
            .iter()
            .zip(&pillows.pixels)
            .map(|(a, b)| a.abs_diff(*b));
        let max = differences.clone().max().unwrap();
        let mean = differences.map(f64::from).sum::<f64>() / ours.pixels.len() as f64;
        println!(
            "{}: mean {mean:.4}, max {max}",
            path.file_name().unwrap().display()
        );
        worst_mean = worst_mean.max(mean);
        assert!(
            mean <= 0.1 && max <= 4,
            "{}: mean {mean}, max {max}",
            path.display()
        );
    }
    println!("worst mean: {worst_mean:.4}");
}

#[test]
fn hostile_files_decode_or_are_errors() {
    let Some(folder) = shared("fixtures/hostile_images") else {
        return;
    };
    for path in files(&folder, "JPEG") {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let result = decode(&std::fs::read(&path).unwrap());
        match &result {
            Ok(image) => println!("{name}: {} × {}", image.width, image.height),
            Err(error) => println!("{name}: {error}"),
        }
        assert!(!matches!(result, Err(DecodeError::Panicked(_))), "{name}");
        let must_fail = matches!(
            name,
            "truncated_half" | "truncated_header" | "empty" | "text" | "claims_65535x65535"
        );
        assert!(
            name == "corrupt_middle" || result.is_err() == must_fail,
            "{name}: {result:?}"
        );
    }
}

fn jpeg(size: (u16, u16), write: impl FnOnce(&mut jpeg_encoder::Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 90);
    write(&mut encoder);
    let data = gradient(size.0.into(), size.1.into(), 3);
    encoder
        .encode(&data, size.0, size.1, jpeg_encoder::ColorType::Rgb)
        .unwrap();
    bytes
}

#[test]
fn any_png_becomes_rgb_as_pillow_converts_it() {
    use BitDepth::{Eight, Four, One, Sixteen, Two};
    use ColorType::{Grayscale, GrayscaleAlpha, Indexed, Rgb, Rgba};
    // Two pixels each; the palette of `png` is (1, 2, 3), (4, 5, 6), … with the first entry transparent.
    let cases: [(ColorType, BitDepth, &[u8], [u8; 6]); 13] = [
        (Grayscale, One, &[0b0100_0000], [0, 0, 0, 255, 255, 255]),
        (Grayscale, Two, &[0b0110_0000], [85, 85, 85, 170, 170, 170]),
        (Grayscale, Four, &[0x1F], [17, 17, 17, 255, 255, 255]),
        (Grayscale, Eight, &[7, 9], [7, 7, 7, 9, 9, 9]),
        (
            Grayscale,
            Sixteen,
            &[0, 200, 1, 0],
            [200, 200, 200, 255, 255, 255],
        ),
        (GrayscaleAlpha, Eight, &[7, 0, 9, 255], [7, 7, 7, 9, 9, 9]),
        (
            GrayscaleAlpha,
            Sixteen,
            &[7, 1, 0, 0, 9, 1, 0, 0],
            [7, 7, 7, 9, 9, 9],
        ),
        (Indexed, One, &[0b0100_0000], [1, 2, 3, 4, 5, 6]),
        (Indexed, Two, &[0b1101_0000], [10, 11, 12, 4, 5, 6]),
        (Indexed, Eight, &[2, 0], [7, 8, 9, 1, 2, 3]),
        (Rgb, Eight, &[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6]),
        (
            Rgb,
            Sixteen,
            &[1, 255, 2, 0, 3, 0, 4, 255, 5, 0, 6, 0],
            [1, 2, 3, 4, 5, 6],
        ),
        (Rgba, Eight, &[1, 2, 3, 0, 4, 5, 6, 255], [1, 2, 3, 4, 5, 6]),
    ];
    for (color, depth, data, expected) in cases {
        let image = decode(&png((2, 1), color, depth, data)).unwrap();
        assert_eq!(image.pixels, expected, "{color:?} {depth:?}");
    }
}

#[test]
fn a_truncated_file_is_an_error_wherever_it_ends() {
    let baseline = jpeg((40, 30), |_| {});
    let progressive = jpeg((40, 30), |encoder| encoder.set_progressive(true));
    let png = png((40, 30), ColorType::Rgb, BitDepth::Eight, &gradient(40, 30, 3));
    // A PNG's closing chunk, of 12 bytes, says nothing about the picture.
    for (whole, tail) in [(&baseline, 0), (&progressive, 0), (&png, 12)] {
        assert!(decode(whole).is_ok());
        for length in 0..whole.len() - tail {
            let error = decode(&whole[..length]).expect_err("a part was taken for the whole");
            assert!(!matches!(error, DecodeError::Panicked(_)), "{length}: {error}");
        }
    }
}

#[test]
fn corrupt_bytes_never_panic() {
    let whole = [
        jpeg((40, 30), |_| {}),
        jpeg((40, 30), |encoder| encoder.set_progressive(true)),
        // A scan for each component, for which there is another decoder.
        jpeg((40, 30), |encoder| encoder.set_optimized_huffman_tables(true)),
        png((12, 9), ColorType::Rgb, BitDepth::Eight, &gradient(12, 9, 3)),
    ];
    for whole in &whole {
        for at in 0..whole.len() {
            for change in [0x01, 0x80, 0xFF] {
                let mut bytes = whole.clone();
                bytes[at] ^= change;
                let result = decode(&bytes);
                assert!(
                    !matches!(result, Err(DecodeError::Panicked(_))),
                    "{at} {change}: {result:?}"
                );
            }
        }
    }
}

#[test]
fn an_adobe_marker_tells_rgb_from_ycbcr() {
    let plain = jpeg((40, 30), |_| {});
    let with_marker = |transform: u8| {
        // In place of the JFIF segment, which would speak for YCbCr.
        let jfif = 2 + usize::from(plain[4]) * 256 + usize::from(plain[5]);
        assert_eq!(plain[2..4], [0xFF, 0xE0]);
        let adobe = [
            &[0xFF, 0xD8, 0xFF, 0xEE, 0, 14],
            &b"Adobe"[..],
            &[0, 100, 0, 0, 0, 0, transform],
        ];
        decode(&[&adobe.concat(), &plain[2 + jfif..]].concat()).unwrap()
    };
    let plain = decode(&plain).unwrap();
    assert_eq!(with_marker(1), plain);
    assert_eq!(
        with_marker(7),
        plain,
        "an unknown transform is YCbCr, as in libjpeg"
    );
    // Read as RGB, the stored components are Y, Cb and Cr.
    for (stored, rgb) in with_marker(0).pixels.chunks(3).zip(plain.pixels.chunks(3)) {
        let [r, g, b] = [0, 1, 2].map(|channel| f64::from(rgb[channel]));
        let y = 0.299 * r + 0.587 * g + 0.114 * b;
        let clipped = rgb.iter().any(|value| matches!(value, 0 | 255));
        assert!(
            clipped || (f64::from(stored[0]) - y).abs() < 2.0,
            "{stored:?} {rgb:?}"
        );
    }
}
