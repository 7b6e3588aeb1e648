//! Against what Pillow made, told by its digest, and the parts of a picture against the whole.

use super::*;

/// Columns and rows.
type Size = (u32, u32);

/// Of pictures of noise: their size, that of the result, and FNV-1a of the planes that Pillow 13 makes with
/// `resize(…, Image.BILINEAR)`. Some are alike but for the pixel that decides which axis comes first.
const BY_PILLOW: [(Size, Size, u32); 18] = [
    ((1, 1), (9, 5), 0x7998f6d3),
    ((640, 3), (1, 7), 0x8f75b364),
    ((7, 9), (31, 33), 0x3d670598),
    ((32, 24), (32, 24), 0x71e07e24),
    ((33, 25), (32, 24), 0x4d4ff5a7),
    ((100, 80), (99, 41), 0xd4119a00),
    ((100, 80), (99, 77), 0x54e3e59e),
    ((100, 80), (99, 78), 0x1f951b3b),
    ((40, 31), (50, 30), 0x990f1232),
    ((40, 30), (50, 30), 0x53955bdb),
    ((40, 30), (50, 31), 0x52a57b4c),
    ((500, 375), (224, 224), 0xb5dfc28d),
    ((213, 190), (224, 224), 0xd3563d48),
    ((200, 266), (224, 224), 0x0514294e),
    ((240, 256), (224, 224), 0x3cae168d),
    ((240, 257), (224, 224), 0x430b87de),
    ((61, 1200), (17, 13), 0x698577d2),
    ((1900, 40), (16, 64), 0x1a491ea2),
];

fn noise(width: u32, height: u32) -> Image {
    let value = |at: u32| (at.wrapping_mul(2_654_435_761) >> 21) as u8;
    Image {
        width,
        height,
        pixels: (0..3 * width * height).map(value).collect(),
    }
}

fn digest(bytes: &[u8]) -> u32 {
    bytes.iter().fold(2_166_136_261, |digest: u32, byte| {
        (digest ^ u32::from(*byte)).wrapping_mul(16_777_619)
    })
}

fn whole(from: Range<u32>, to: u32) -> Stretch {
    let to = u64::from(to);
    Stretch {
        from,
        to,
        kept: 0..to,
    }
}

fn resized(resizer: &mut Resizer, level: Level, image: &Image, to: [&Stretch; 2]) -> Vec<u8> {
    let n = to.map(|stretch| stretch.kept.clone().count()).iter().product();
    let mut planes = [1, 2, 3].map(|value| vec![value; n]);
    resizer.resize(level, image, to, planes.each_mut().map(Vec::as_mut_slice));
    planes.concat()
}

#[test]
fn every_size_is_pillows_to_the_bit_at_every_level() {
    for level in Level::available() {
        // One for all: what it keeps of one picture must not show in the next.
        let mut resizer = Resizer::default();
        for ((width, height), (new_width, new_height), expected) in BY_PILLOW {
            let to = [whole(0..width, new_width), whole(0..height, new_height)];
            let made = resized(&mut resizer, level, &noise(width, height), to.each_ref());
            assert!(
                digest(&made) == expected,
                "{level:?}: {width} × {height} to {new_width} × {new_height}"
            );
        }
    }
}

#[test]
fn a_part_is_resized_as_if_it_were_cut_out_before() {
    let image = noise(90, 70);
    let mut resizer = Resizer::default();
    for (columns, rows) in [
        (0..90, 0..70),
        (89..90, 69..70),
        (3..20, 1..70),
        (50..90, 65..70),
        (0..1, 5..6),
        (11..76, 20..33),
    ] {
        let to = [whole(columns.clone(), 40), whole(rows.clone(), 40)];
        let part = resized(&mut resizer, Level::best(), &image, to.each_ref());
        let row = |y| 3 * (y * 90 + columns.start) as usize..3 * (y * 90 + columns.end) as usize;
        let cut = Image {
            width: columns.len() as u32,
            height: rows.len() as u32,
            pixels: rows
                .clone()
                .flat_map(|y| &image.pixels[row(y)])
                .copied()
                .collect(),
        };
        let to = [whole(0..cut.width, 40), whole(0..cut.height, 40)];
        let expected = resized(&mut resizer, Level::best(), &cut, to.each_ref());
        assert!(part == expected, "{columns:?}, {rows:?}");
    }
}

#[test]
fn what_is_kept_is_the_same_as_when_everything_is() {
    let mut resizer = Resizer::default();
    // The second loses more rows than columns, by far.
    for (width, height) in [(150, 100), (100, 300)] {
        let image = noise(width, height);
        let to = [whole(0..width, 96), whole(0..height, 64)];
        let all = resized(&mut resizer, Level::best(), &image, to.each_ref());
        for (columns, rows) in [(20..76, 4..60), (0..1, 63..64), (95..96, 10..11)] {
            let mut to = to.clone();
            (to[0].kept, to[1].kept) = (columns.clone(), rows.clone());
            let made = resized(&mut resizer, Level::best(), &image, to.each_ref());
            let lines = (0..3).flat_map(|channel| rows.clone().map(move |row| (channel * 64 + row) * 96));
            let cut = lines.flat_map(|line| columns.clone().map(move |column| line + column));
            let cut: Vec<u8> = cut.map(|at| all[at as usize]).collect();
            assert!(made == cut, "{width} × {height}: {columns:?}, {rows:?}");
        }
    }
}

/// White stays white though its weights may sum to more than 1, and to less.
#[test]
fn one_colour_stays_as_it_is() {
    let mut resizer = Resizer::default();
    for side in 1..120 {
        let image = Image {
            width: side,
            height: 1,
            pixels: [255, 1, 128].repeat(side as usize),
        };
        let to = [&whole(0..side, 19), &whole(0..1, 2)];
        let made = resized(&mut resizer, Level::best(), &image, to);
        assert_eq!(made, [[255; 38], [1; 38], [128; 38]].concat(), "{side} columns");
    }
}
