//! A folder with one of everything, and which part of ImageNet a folder is.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::fixtures::{gradient, png};

fn jpeg(color: jpeg_encoder::ColorType, samples: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = jpeg_encoder::Encoder::new(&mut bytes, 90);
    encoder
        .encode(&vec![99; 20 * 10 * samples], 20, 10, color)
        .unwrap();
    bytes
}

fn write(dir: &Path, name: &str, content: &[u8]) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

#[test]
fn everything_in_a_folder_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let color = jpeg(jpeg_encoder::ColorType::Rgb, 3);
    let small = png(
        (4, 2),
        ::png::ColorType::Rgb,
        ::png::BitDepth::Eight,
        &gradient(4, 2, 1),
    );
    let large = png(
        (40, 30),
        ::png::ColorType::Rgb,
        ::png::BitDepth::Eight,
        &gradient(40, 30, 1),
    );
    for (name, content) in [
        ("a/1.JPEG", &color[..]),
        ("a/2.jpg", &jpeg(jpeg_encoder::ColorType::Luma, 1)),
        ("a/3.jpg", &jpeg(jpeg_encoder::ColorType::Cmyk, 4)),
        ("a/4.jpg", &small),
        ("a/5.jpg", &color),
        ("a/6.jpg", b"text"),
        ("b/1.png", &large),
        ("b/2.png", &color),
        ("b/3.jpg", &color[..color.len() / 2]),
        ("b/notes.txt", b"hello"),
        ("b/below/more.webp", b"hello"),
        ("readme.md", b"hello"),
        (".hidden", b"hello"),
    ] {
        write(dir.path(), name, content);
    }
    let index = Index::read(dir.path()).unwrap();
    let told = AtomicU64::new(0);
    let report = check(&index, 3, &|| {
        told.fetch_add(1, Ordering::Relaxed);
    })
    .unwrap();

    assert_eq!(told.into_inner(), 9);
    assert_eq!((report.n_classes, report.n_samples), (2, 9));
    assert_eq!(report.fingerprint, index.facts().fingerprint);
    assert_eq!(report.bytes, index.entries().map(|entry| entry.size).sum::<u64>());
    let pixels = Pixels {
        min: (4, 2),
        median: (20, 10),
        max: (40, 30),
    };
    assert_eq!(report.pixels, Some(pixels));
    let kinds = [
        (Kind::Jpeg, 3),
        (Kind::GreyJpeg, 1),
        (Kind::CmykJpeg, 1),
        (Kind::Png, 2),
    ];
    assert_eq!(report.kinds, kinds.into());
    assert_eq!(report.misnamed, [Path::new("a/4.jpg"), Path::new("b/2.png")]);
    let damaged: Vec<_> = report
        .damaged
        .iter()
        .map(|file| (file.path.to_str().unwrap(), file.reason.as_str()))
        .collect();
    let expected = [
        ("a/6.jpg", "the content is neither JPEG nor PNG"),
        ("b/3.jpg", "the file is truncated"),
    ];
    assert_eq!(damaged, expected);
    assert!((report.damaged_share() - 2.0 / 9.0).abs() < 1e-12);
    let ignored = ["b/below/more.webp", "b/notes.txt", "readme.md"].map(PathBuf::from);
    assert_eq!(report.ignored, ignored);
    assert_eq!((report.n_twins, report.n_twins_across), (2, 1));
    assert_eq!(report.imagenet, None);
    assert_eq!(report, check(&index, 1, &|| {}).unwrap(), "whatever the threads");
}

#[test]
fn imagenet_is_known_by_its_classes() {
    let part = |n_classes: u32, n_files| {
        let names: Vec<String> = (0..n_classes).map(|class| format!("n{class:08}")).collect();
        imagenet(names.iter().map(String::as_str), n_files).map(|found| found.part)
    };
    assert_eq!(part(1_000, 50_000), Some("validation"));
    assert_eq!(part(1_000, 49_990), Some("validation"));
    assert_eq!(part(1_000, 1_281_167), Some("training"));
    assert_eq!(part(1_000, 1_000_000), Some("training"));
    assert_eq!(part(999, 50_000), None);
    assert_eq!(part(1_001, 50_000), None);
}
