//! Decoding against Pillow's pixels, on hostile files, and on pictures made here.

use std::path::Path;

use super::*;
use crate::fixtures::shared;

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
