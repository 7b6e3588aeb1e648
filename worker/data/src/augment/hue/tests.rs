//! The tables against Pillow's formula, written down as its C does it, pixel by pixel.

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

#[test]
fn the_tables_hold_pillows_formula() {
    let levels = || (0..=255u8).step_by(3);
    for (part, shift) in [(0.0, 0u8), (0.07, 17), (-0.1, 231), (0.5, 127)] {
        for (r, g) in levels().flat_map(|r| levels().map(move |g| (r, g))) {
            let mut row: Vec<u8> = levels().flat_map(|b| [r, g, b]).collect();
            let expected: Vec<u8> = row
                .chunks(3)
                .flat_map(|pixel| {
                    let [h, s, v] = to_hsv([pixel[0], pixel[1], pixel[2]]);
                    to_rgb([h.wrapping_add(shift), s, v])
                })
                .collect();
            turn(&mut row, part);
            assert_eq!(row, expected, "red {r}, green {g}, turned by {part}");
        }
    }
}
