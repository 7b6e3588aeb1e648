//! Turning the hue through Pillow's 8-bit HSV, as torchvision's `adjust_hue` does.
//!
//! The arithmetic mixes float32 and float64 exactly where Pillow's C does, because the results are truncated.

/// Turns the hue of every pixel by `turn` of a full turn, truncated towards zero to 1/255.
pub(super) fn turn(picture: &mut [u8], turn: f64) {
    let shift = (turn * 255.0) as i32 as u8;
    let mut previous = ([0; 3], [0; 3]);
    for pixel in picture.chunks_exact_mut(3) {
        let rgb = [pixel[0], pixel[1], pixel[2]];
        // Neighbours are often equal, in flat regions and in grey pictures.
        if rgb != previous.0 {
            let [h, s, v] = to_hsv(rgb);
            previous = (rgb, to_rgb([h.wrapping_add(shift), s, v]));
        }
        pixel.copy_from_slice(&previous.1);
    }
}

fn to_hsv([r, g, b]: [u8; 3]) -> [u8; 3] {
    let (max, min) = (r.max(g).max(b), r.min(g).min(b));
    if max == min {
        return [0, 0, max];
    }
    let range = f32::from(max - min);
    let saturation = range / f32::from(max);
    let [rc, gc, bc] = [r, g, b].map(|channel| f32::from(max - channel) / range);
    let sector = if r == max {
        bc - gc
    } else if g == max {
        (2.0 + f64::from(rc) - f64::from(bc)) as f32
    } else {
        (4.0 + f64::from(gc) - f64::from(rc)) as f32
    };
    // Between 5/6 and 11/6, so this is the remainder by 1.
    let turned = f64::from(sector) / 6.0 + 1.0;
    let hue = (if turned >= 1.0 { turned - 1.0 } else { turned }) as f32;
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
    let six = f64::from(h) * 6.0 / 255.0;
    let sector = six as u8;
    let f = f64::from((six - f64::from(sector)) as f32);
    let fs = f64::from((f64::from(s) / 255.0) as f32);
    // Halves away from zero, as C's round; the values are between 0 and 255.
    let level = |part: f64| (f64::from(v) * part + 0.5) as u8;
    let (p, q, t) = (level(1.0 - fs), level(1.0 - fs * f), level(1.0 - fs * (1.0 - f)));
    match sector % 6 {
        0 => [v, t, p],
        1 => [q, v, p],
        2 => [p, v, t],
        3 => [p, q, v],
        4 => [t, p, v],
        _ => [v, p, q],
    }
}
