//! What tests work on: the shared reference pictures, which are not part of the project, and small made-up data sets.

#![expect(clippy::print_stdout, reason = "a skipped test says so")]

use std::path::PathBuf;

use m2t_common::shard::Sample;

use crate::index::Index;

/// The folder `name` of the shared material, or nothing after printing that the test is skipped. In CI an absent
/// folder is a failure.
pub(crate) fn shared(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("M2T_SHARED").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")),
        PathBuf::from,
    );
    let folder = root.join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    let missing = format!(
        "{} is missing; set M2T_SHARED to the shared folder",
        folder.display()
    );
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{missing}");
    println!("skipped: {missing}");
    None
}

/// Coloured gradients that differ with `number`.
pub(crate) fn gradient(width: u32, height: u32, number: u32) -> Vec<u8> {
    let pixel =
        |x: u32, y: u32| [x * 7 + number * 31, y * 5 + number * 57, (x ^ y) + number].map(|v| v as u8);
    (0..height)
        .flat_map(|y| (0..width).flat_map(move |x| pixel(x, y)))
        .collect()
}

/// A PNG of these samples.
pub(crate) fn png(size: (u32, u32), color: png::ColorType, depth: png::BitDepth, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, size.0, size.1);
    encoder.set_color(color);
    encoder.set_depth(depth);
    if color == png::ColorType::Indexed {
        encoder.set_palette(vec![1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        encoder.set_trns(vec![0, 255]);
    }
    encoder.write_header().unwrap().write_image_data(data).unwrap();
    bytes
}

/// A data set of `n` small pictures of various sizes in two classes.
pub(crate) fn data_set(n: u32) -> (tempfile::TempDir, Index) {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..n {
        let (width, height) = (20 + number % 13, 17 + number % 7);
        let data = gradient(width, height, number);
        let bytes = png((width, height), png::ColorType::Rgb, png::BitDepth::Eight, &data);
        let folder = dir.path().join(if number < n / 2 { "a" } else { "b" });
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{number:04}.png")), bytes).unwrap();
    }
    let index = Index::read(dir.path()).unwrap();
    (dir, index)
}

/// Makes the file of a sample one that no decoder accepts, of the same size; its path below the folder.
pub(crate) fn damage(index: &Index, sample: u64) -> PathBuf {
    let mut content = b"not a picture".to_vec();
    content.resize(usize::try_from(index.entry(Sample(sample)).size).unwrap(), b'.');
    std::fs::write(index.locate(Sample(sample)), content).unwrap();
    index.entry(Sample(sample)).path()
}
