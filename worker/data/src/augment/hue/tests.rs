//! Against Pillow's formula, written down as its C does it: every hue, saturation and colour that there is.

use super::*;

fn to_hsv([r, g, b]: [u8; 3]) -> [u8; 3] {
    let (max, min) = (r.max(g).max(b), r.min(g).min(b));
    if max == min {
        return [0, 0, max];
    }
    let range = f32::from(max - min);
    let saturation = range / f32::from(max);
    let [rc, gc, bc] = [r, g, b].map(|channel| f32::from(max - channel) / range);
    let sixth = if r == max {
        bc - gc
    } else if g == max {
        (2.0 + f64::from(rc) - f64::from(bc)) as f32
    } else {
        (4.0 + f64::from(gc) - f64::from(rc)) as f32
    };
    let hue = ((f64::from(sixth) / 6.0 + 1.0) % 1.0) as f32;
    [
        (f64::from(hue) * 255.0) as u8,
        (f64::from(saturation) * 255.0) as u8,
        max,
    ]
}

fn to_rgb([h, s, v]: [u8; 3]) -> [u8; 3] {
    if s == 0 {
        return [v; 3];
    }
    let sector = (f64::from(h) * 6.0 / 255.0).floor();
    let f = f64::from((f64::from(h) * 6.0 / 255.0 - sector) as f32);
    let fs = f64::from((f64::from(s) / 255.0) as f32);
    let [p, q, t] = [1.0 - fs, 1.0 - fs * f, 1.0 - fs * (1.0 - f)]
        .map(|part| (f64::from(v) * part).round().clamp(0.0, 255.0) as u8);
    match sector as u8 % 6 {
        0 => [v, t, p],
        1 => [q, v, p],
        2 => [p, v, t],
        3 => [p, q, v],
        4 => [t, p, v],
        _ => [v, p, q],
    }
}

/// A grey pixel has no hue: its saturation is 0, and any will do.
fn assert_is_pillows(pixel: [u8; 3]) {
    let [r, g, b] = pixel;
    let (hue, saturation, value) = hsv(r, g, b);
    let hue = if saturation == 0 { 0 } else { hue };
    let pillow = match to_hsv(pixel) {
        [_, 0, value] => [0, 0, value],
        coloured => coloured,
    };
    assert_eq!([hue, saturation, value], pillow, "{pixel:?}");
}

/// Two channels take all values while the third is 0 or 255: every range, every distance in it, every order.
#[test]
fn every_hue_and_saturation_is_pillows() {
    for third in [0, 255] {
        for (x, y) in (0..=255).flat_map(|x| (0..=255).map(move |y| (x, y))) {
            for [r, g, b] in [[x, y, third], [third, x, y], [y, third, x]] {
                assert_is_pillows([r, g, b]);
            }
        }
    }
    for (x, range) in (0..=255u8).flat_map(|x| (0..=255 - x).map(move |range| (x, range))) {
        for middle in [x, x + range / 3, x + range] {
            assert_is_pillows([x, middle, x + range]);
        }
    }
}

#[test]
fn every_colour_of_hsv_is_pillows() {
    for hue in 0..=255 {
        for (saturation, value) in (0..=255).flat_map(|s| (0..=255).map(move |v| (s, v))) {
            let ours = rgb(hue, saturation, value);
            let pillow = to_rgb([hue, saturation, value]);
            assert_eq!([ours.0, ours.1, ours.2], pillow, "{hue} {saturation} {value}");
        }
    }
}

#[test]
fn a_picture_is_turned_on_every_level() {
    let levels = || (0..=255u8).step_by(5);
    let colours: Vec<[u8; 3]> = levels()
        .flat_map(|r| levels().flat_map(move |g| levels().map(move |b| [r, g, b])))
        .collect();
    for (part, shift) in [(0.0, 0u8), (0.07, 17), (-0.1, 231), (0.5, 127)] {
        let turned: Vec<[u8; 3]> = colours
            .iter()
            .map(|colour| {
                let [h, s, v] = to_hsv(*colour);
                to_rgb([h.wrapping_add(shift), s, v])
            })
            .collect();
        for level in Level::available() {
            let mut planes: [Vec<u8>; 3] =
                std::array::from_fn(|channel| colours.iter().map(|colour| colour[channel]).collect());
            turn(level, planes.each_mut().map(Vec::as_mut_slice), part);
            for (channel, plane) in planes.iter().enumerate() {
                let expected = turned.iter().map(|colour| colour[channel]);
                assert!(plane.iter().copied().eq(expected), "{level:?}, turned by {part}");
            }
        }
    }
}
