//! Whole pictures of every kind to begin with, small, so that many can be tried.

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

/// A picture's bytes, with a name.
pub(crate) type Picture = (String, Vec<u8>);

fn values(n: usize, salt: usize) -> Vec<u8> {
    (0..n)
        .map(|i| (i * 7 + i / 61 * 13 + (i * i / 97) * salt) as u8)
        .collect()
}

/// JPEGs: baseline and progressive; grey, colour and inks; sampled 4:4:4, 4:2:0 and 4:1:1; with restarts and without.
pub(crate) fn jpegs() -> Vec<Picture> {
    let mut pictures = Vec::new();
    let colors = [
        ("grey", ColorType::Luma, 1),
        ("colour", ColorType::Rgb, 3),
        ("cmyk", ColorType::Cmyk, 4),
        ("ycck", ColorType::Ycck, 4),
    ];
    let samplings = [
        ("444", SamplingFactor::F_1_1),
        ("420", SamplingFactor::F_2_2),
        ("411", SamplingFactor::F_4_1),
    ];
    for (color, color_type, n_channels) in colors {
        for (sampling, factor) in samplings {
            for is_progressive in [false, true] {
                for restart in [0, 2] {
                    let (width, height) = (53, 38);
                    let mut bytes = Vec::new();
                    let mut encoder = Encoder::new(&mut bytes, 60);
                    encoder.set_sampling_factor(factor);
                    encoder.set_progressive(is_progressive);
                    if restart > 0 {
                        encoder.set_restart_interval(restart);
                    }
                    let n = usize::from(width) * usize::from(height) * n_channels;
                    encoder
                        .encode(&values(n, restart.into()), width, height, color_type)
                        .unwrap();
                    let kind = if is_progressive { "progressive" } else { "baseline" };
                    pictures.push((format!("{kind} {color} {sampling} restart {restart}"), bytes));
                }
            }
        }
    }
    pictures
}

/// PNGs: every colour type in 8 bits, and some in others.
pub(crate) fn pngs() -> Vec<Picture> {
    use png::{BitDepth, ColorType};
    let kinds = [
        (ColorType::Grayscale, BitDepth::One, 4),
        (ColorType::Grayscale, BitDepth::Sixteen, 64),
        (ColorType::Rgb, BitDepth::Eight, 96),
        (ColorType::Indexed, BitDepth::Eight, 32),
        (ColorType::GrayscaleAlpha, BitDepth::Eight, 64),
        (ColorType::Rgba, BitDepth::Sixteen, 256),
    ];
    kinds
        .map(|(color, depth, row)| {
            let mut bytes = Vec::new();
            let mut encoder = png::Encoder::new(&mut bytes, 32, 21);
            encoder.set_color(color);
            encoder.set_depth(depth);
            if color == ColorType::Indexed {
                encoder.set_palette(values(768, 3));
            }
            let mut writer = encoder.write_header().unwrap();
            writer.write_image_data(&values(row * 21, 5)).unwrap();
            writer.finish().unwrap();
            (format!("png {color:?} {depth:?}"), bytes)
        })
        .into()
}
