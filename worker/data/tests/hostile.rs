//! Hostile pictures: each its fate, in bounded memory.
//!
//! The allocator counts, so this is a program of its own with one test: another test's memory would count, too.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(
    clippy::print_stdout,
    reason = "a test prints what it measured, and that it is skipped"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use m2t_data::decode;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Most bytes that decoding may hold at a time for each byte of the file and of the picture it makes. A progressive
/// JPEG's coefficients are two bytes each, before and beside the picture.
const MOST_PER_BYTE: usize = 3;
/// What a decoder holds whatever the picture: tables, buffers of a row.
const MOST_AT_REST: usize = 1 << 20;

/// The folder of hostile pictures, or nothing after saying that the test is skipped; in CI it must be there.
fn fixtures() -> Option<PathBuf> {
    let shared = std::env::var_os("M2T_SHARED").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")),
        PathBuf::from,
    );
    let folder = shared.join("fixtures/hostile_images");
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "{} is missing; set M2T_SHARED to the shared folder",
        folder.display()
    );
    println!("skipped: {} is missing", folder.display());
    None
}

/// The most that decoding `bytes` held beyond what was held before, the result included.
fn peak_of_decoding(bytes: &[u8]) -> (Option<m2t_data::Image>, usize) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let result = decode(bytes).ok();
    (result, MEMORY.peak_usage().saturating_sub(before))
}

/// Headers that promise the largest pictures of all, with nothing behind them.
fn promises() -> Vec<(&'static str, Vec<u8>)> {
    let frame = |code: u8, height: u16, width: u16| {
        let [h1, h0] = height.to_be_bytes();
        let [w1, w0] = width.to_be_bytes();
        let components = [1, 0x22, 0, 2, 0x11, 0, 3, 0x11, 0];
        let head = [0xFF, 0xD8, 0xFF, code, 0, 17, 8, h1, h0, w1, w0, 3];
        let scan = [0xFF, 0xDA, 0, 12, 3, 1, 0, 2, 0, 3, 0, 0, 63, 0, 0xFF, 0xD9];
        [&head[..], &components, &scan].concat()
    };
    let mut png = Vec::new();
    let mut encoder = png::Encoder::new(&mut png, 50_000, 50_000);
    encoder.set_color(png::ColorType::Rgba);
    drop(encoder.write_header().unwrap());
    vec![
        ("baseline", frame(0xC0, 65_535, 65_535)),
        ("progressive", frame(0xC2, 65_535, 65_535)),
        ("png", png),
    ]
}

#[test]
fn each_hostile_picture_has_its_fate_in_bounded_memory() {
    for (name, bytes) in promises() {
        let (image, peak) = peak_of_decoding(&bytes);
        println!("{name}: refused with {peak} bytes");
        assert!(image.is_none() && peak < MOST_AT_REST, "{name}: {peak} bytes");
    }
    let Some(folder) = fixtures() else {
        return;
    };
    let expected = fs::read_to_string(folder.join("expected.json")).unwrap();
    let expected: BTreeMap<String, String> = serde_json::from_str(&expected).unwrap();
    let n_files = fs::read_dir(&folder).unwrap().count() - 1;
    assert_eq!(n_files, expected.len(), "a fate for each file");
    for (name, fate) in expected {
        let bytes = fs::read(folder.join(&name)).unwrap();
        let (image, peak) = peak_of_decoding(&bytes);
        let bound = match &image {
            Some(image) => MOST_AT_REST + MOST_PER_BYTE * (bytes.len() + image.pixels.len()),
            // A refused file may have been found out only when its picture was nearly made.
            None => MOST_AT_REST + MOST_PER_BYTE * (bytes.len() + largest_honest(&folder)),
        };
        let made = image.as_ref().map(|image| (image.width, image.height));
        println!("{name}: {made:?}, {peak} bytes of {bound} allowed");
        match fate.as_str() {
            "decodes to RGB" => assert!(image.is_some(), "{name}"),
            "decodes or is replaced; never crashes" => {}
            replaced => {
                assert!(
                    replaced.starts_with("replaced and counted"),
                    "an unknown fate: {fate}"
                );
                assert!(image.is_none(), "{name}");
            }
        }
        assert!(peak <= bound, "{name}: {peak} bytes, {bound} allowed");
        // What claims too much is refused by its header alone.
        assert!(
            !name.starts_with("claims") || peak < MOST_AT_REST,
            "{name}: {peak} bytes"
        );
    }
}

/// Bytes of the largest picture among the files.
fn largest_honest(folder: &Path) -> usize {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let sizes = files.filter_map(|path| Some(decode(&fs::read(path).unwrap()).ok()?.pixels.len()));
    sizes.max().unwrap()
}
