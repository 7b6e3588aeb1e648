//! Files like ImageNet's out of other photographs: 500 × 376 pixels, quality 96, colour as fine as brightness, at least 2.5
//! bits a pixel.
//!
//! Each is a mosaic of four photographs, halved: a single one would have to be enlarged, and would have too little detail.

use std::path::Path;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{PixelType, ResizeOptions, Resizer};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use m2t_common::shard::Sample;
use m2t_data::{Index, decode};

/// Columns and rows of a tile.
const TILE: (usize, usize) = (250, 188);
const QUALITY: u8 = 96;

/// Writes `n` mosaics below `out`, in one class folder.
pub(super) fn make(dir: &Path, out: &Path, n: u64) {
    let index = Index::read(dir).expect("DIR is a folder of class folders");
    let folder = out.join("mosaics");
    std::fs::create_dir_all(&folder).expect("OUT can be written");
    // Far apart in the index, so that a mosaic is of several classes.
    let stride = index.n_samples() / 4;
    for number in 0..n {
        let mut mosaic = vec![0; 3 * 4 * TILE.0 * TILE.1];
        for place in 0..4 {
            let sample = (number + place * stride) % index.n_samples();
            let bytes = std::fs::read(index.locate(Sample(sample))).expect("a file that was listed");
            lay(&mut mosaic, place as usize, &tile(&bytes));
        }
        let path = folder.join(format!("{number:04}.jpg"));
        let mut encoder = Encoder::new_file(path, QUALITY).expect("OUT can be written");
        encoder.set_sampling_factor(SamplingFactor::F_1_1);
        let (width, height) = ((2 * TILE.0) as u16, (2 * TILE.1) as u16);
        encoder
            .encode(&mosaic, width, height, ColorType::Rgb)
            .expect("a picture that fits");
    }
}

fn tile(bytes: &[u8]) -> Vec<u8> {
    let photograph = decode(bytes).expect("a picture");
    let source = ImageRef::new(
        photograph.width,
        photograph.height,
        &photograph.pixels,
        PixelType::U8x3,
    );
    let mut tile = Image::new(TILE.0 as u32, TILE.1 as u32, PixelType::U8x3);
    let options = ResizeOptions::new();
    let resized = Resizer::new().resize(&source.expect("three bytes a pixel"), &mut tile, &options);
    resized.expect("equal kinds of pixels");
    tile.into_vec()
}

fn lay(mosaic: &mut [u8], place: usize, tile: &[u8]) {
    let row = 3 * TILE.0;
    let first = (place / 2 * TILE.1) * 2 * row + place % 2 * row;
    for (line, from) in tile.chunks_exact(row).enumerate() {
        mosaic[first + line * 2 * row..][..row].copy_from_slice(from);
    }
}
