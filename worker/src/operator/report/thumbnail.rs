//! Small pictures of photographs, inside the page.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jpeg_encoder::{ColorType, Encoder};
use m2t_data::Image;

/// Side of a thumbnail in pixels: twice what it is shown at.
pub(super) const SIDE: u16 = 144;
const QUALITY: u8 = 80;

/// The middle square of `image` as a `data:` address.
pub(super) fn address(image: &Image) -> Result<String, String> {
    let pixels = shrunk(image);
    let mut bytes = Vec::new();
    Encoder::new(&mut bytes, QUALITY)
        .encode(&pixels, SIDE, SIDE, ColorType::Rgb)
        .map_err(|error| error.to_string())?;
    Ok(format!("data:image/jpeg;base64,{}", STANDARD.encode(bytes)))
}

/// [`SIDE`] × `SIDE` pixels of RGB, each the mean over the pixels that it covers.
fn shrunk(image: &Image) -> Vec<u8> {
    let (width, height) = (image.width as usize, image.height as usize);
    let square = width.min(height);
    let (left, top) = ((width - square) / 2, (height - square) / 2);
    let side = usize::from(SIDE);
    let covered = |i: usize| {
        let from = i * square / side;
        from..((i + 1) * square / side).max(from + 1)
    };
    let mut pixels = Vec::with_capacity(side * side * 3);
    for y in 0..side {
        for x in 0..side {
            let (mut sums, mut n) = ([0_u32; 3], 0);
            for row in covered(y) {
                for column in covered(x) {
                    let at = ((top + row) * width + left + column) * 3;
                    for (sum, &channel) in sums.iter_mut().zip(&image.pixels[at..at + 3]) {
                        *sum += u32::from(channel);
                    }
                    n += 1;
                }
            }
            pixels.extend(sums.map(|sum| (sum / n) as u8));
        }
    }
    pixels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_square_is_shown() {
        // Red at both sides of a green square.
        let (width, height) = (600, 300);
        let row = (0..width).flat_map(|x| {
            if (150..450).contains(&x) {
                [0, 200, 0]
            } else {
                [200, 0, 0]
            }
        });
        let row: Vec<u8> = row.collect();
        let image = Image {
            width,
            height,
            pixels: row.repeat(height as usize),
        };
        let pixels = shrunk(&image);
        assert_eq!(pixels.len(), usize::from(SIDE).pow(2) * 3);
        assert!(pixels.chunks_exact(3).all(|pixel| pixel == [0, 200, 0]));
        assert!(
            address(&image)
                .unwrap()
                .starts_with("data:image/jpeg;base64,/9j/")
        );
    }

    #[test]
    fn a_picture_of_one_pixel_has_a_thumbnail() {
        let image = Image {
            width: 1,
            height: 1,
            pixels: vec![1, 2, 3],
        };
        assert!(shrunk(&image).chunks_exact(3).all(|pixel| pixel == [1, 2, 3]));
    }
}
