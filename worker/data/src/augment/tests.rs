//! What is drawn against its distribution, and views of odd pictures.

mod pillow;

use std::collections::BTreeMap;

use super::resize::{Resizer, Stretch};
use super::*;
use crate::fixtures::gradient;
use crate::simd::Level;

fn key(sample: u64, view: usize) -> ViewKey {
    ViewKey {
        seed: 1,
        epoch: 2,
        sample: Sample(sample),
        view,
    }
}

/// 4,000 views of a picture of this size.
fn drawn(augment: &Augment, size: (u32, u32), view: usize) -> Vec<ViewParameters> {
    (0..4_000)
        .map(|sample| ViewParameters::draw(augment, size, key(sample, view)))
        .collect()
}

fn share(views: &[ViewParameters], is: impl Fn(&ViewParameters) -> bool) -> f64 {
    views.iter().filter(|view| is(view)).count() as f64 / views.len() as f64
}

#[test]
fn operations_are_drawn_with_their_probabilities() {
    for (view, blur, solarize) in [(0, 1.0, 0.0), (1, 0.1, 0.2)] {
        let views = drawn(&Augment::published(), (300, 200), view);
        let near = |is: fn(&ViewParameters) -> bool, p: f64| {
            let found = share(&views, is);
            assert!((found - p).abs() < 0.03, "view {view}: {found}, expected {p}");
        };
        near(|view| view.jitter.len() == 4, 0.8);
        near(|view| view.jitter.is_empty(), 0.2);
        near(
            |view| matches!(view.jitter.first(), Some(Jitter::Hue(_))),
            0.8 / 4.0,
        );
        near(|view| view.grayscale, 0.2);
        near(|view| view.flip, 0.5);
        near(|view| view.blur_sigma.is_some(), blur);
        near(|view| view.solarize, solarize);
        near(
            |view| view.blur_sigma.is_none_or(|sigma| (0.1..2.0).contains(&sigma)),
            1.0,
        );
    }
}

#[test]
fn factors_stay_in_their_ranges() {
    let mut extremes: BTreeMap<&str, [f64; 2]> = BTreeMap::new();
    for operation in drawn(&Augment::published(), (300, 200), 0)
        .iter()
        .flat_map(|view| &view.jitter)
    {
        let (name, value) = match *operation {
            Jitter::Brightness(value) => ("brightness", value),
            Jitter::Contrast(value) => ("contrast", value),
            Jitter::Saturation(value) => ("saturation", value),
            Jitter::Hue(value) => ("hue", value),
        };
        let [low, high] = extremes.entry(name).or_insert([value, value]);
        (*low, *high) = (low.min(value), high.max(value));
    }
    for (name, low, high) in [
        ("brightness", 0.6, 1.4),
        ("contrast", 0.6, 1.4),
        ("saturation", 0.8, 1.2),
        ("hue", -0.1, 0.1),
    ] {
        let found = extremes[name];
        assert!(found[0] >= low && found[1] <= high, "{name}: {found:?}");
        assert!(
            found[0] < low + 0.01 && found[1] > high - 0.01,
            "{name}: {found:?}"
        );
    }
}

#[test]
fn crops_have_the_area_and_ratio_asked_for() {
    let (width, height) = (500, 375);
    let boxes: Vec<_> = drawn(&Augment::published(), (width, height), 0)
        .iter()
        .map(|view| view.crop)
        .collect();
    for part in &boxes {
        assert!(
            part.left + part.width <= width && part.top + part.height <= height,
            "{part:?}"
        );
        let area = f64::from(part.width * part.height) / f64::from(width * height);
        let ratio = f64::from(part.width) / f64::from(part.height);
        assert!(
            (0.079..=1.0).contains(&area) && (0.74..1.35).contains(&ratio),
            "{part:?}"
        );
    }
    // A large crop fits less often: a simulation of the published code gives a mean of 0.4323.
    let mean_area = boxes
        .iter()
        .map(|part| f64::from(part.width * part.height))
        .sum::<f64>()
        / boxes.len() as f64
        / f64::from(width * height);
    assert!((0.415..0.45).contains(&mean_area), "{mean_area}");
    assert!(
        boxes.iter().any(|part| part.left == 0) && boxes.iter().any(|part| part.left + part.width == width)
    );
}

#[test]
fn pictures_too_thin_for_a_crop_give_their_centre() {
    let crop = |size| ViewParameters::draw(&Augment::published(), size, key(0, 0)).crop;
    let part = |top, left, height, width| CropBox {
        top,
        left,
        height,
        width,
    };
    assert_eq!(crop((2_000, 3)), part(0, 998, 3, 4));
    assert_eq!(crop((3, 2_000)), part(998, 0, 4, 3));
    assert_eq!(crop((1, 1)), part(0, 0, 1, 1));
}

#[test]
fn a_view_depends_on_each_part_of_its_key_and_nothing_else() {
    let draw = |key| ViewParameters::draw(&Augment::published(), (300, 200), key);
    let base = draw(key(17, 0));
    assert_eq!(base, draw(key(17, 0)));
    for other in [
        ViewKey {
            seed: 9,
            ..key(17, 0)
        },
        ViewKey {
            epoch: 9,
            ..key(17, 0)
        },
        key(18, 0),
        key(17, 1),
    ] {
        assert_ne!(base.crop, draw(other).crop, "{other:?}");
    }
    // Another picture in its place: the same colours.
    let replaced = ViewParameters::draw(&Augment::published(), (90, 40), key(17, 0));
    assert_eq!(
        ViewParameters {
            crop: base.crop,
            ..replaced
        },
        base
    );
}

#[test]
fn an_operation_without_range_is_left_out() {
    let augment = Augment {
        hue: 0.0,
        saturation: 0.0,
        jitter_p: 1.0,
        ..Augment::published()
    };
    let view = ViewParameters::draw(&augment, (300, 200), key(0, 0));
    assert_eq!(view.jitter.len(), 2, "{view:?}");
}

#[test]
fn views_are_normalised_channel_by_channel() {
    let image = Image {
        width: 2,
        height: 2,
        pixels: [255, 0, 51].repeat(4),
    };
    let mut out = [0.0; 12];
    center_view(&image, &mut Canvas::new(2), &mut out);
    let expected = [(1.0 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225];
    for (plane, expected) in out.chunks(4).zip(expected) {
        assert!(
            plane.iter().all(|value: &f32| (value - expected).abs() < 1e-6),
            "{out:?}"
        );
    }
}

#[test]
fn the_centre_view_is_the_resized_picture_cut() {
    // 56 pixels: the shorter side becomes 64, the longer 96; then 4 and 20 are cut off at each end.
    let image = Image {
        width: 150,
        height: 100,
        pixels: gradient(150, 100, 0),
    };
    let mut canvas = Canvas::new(56);
    canvas.resized_center(&image);
    let whole = |old, new| Stretch {
        from: 0..old,
        to: new,
        kept: 0..new,
    };
    let mut planes = [0; 3].map(|_| vec![0; 96 * 64]);
    Resizer::default().resize(
        Level::best(),
        &image,
        [&whole(150, 96), &whole(100, 64)],
        planes.each_mut().map(Vec::as_mut_slice),
    );
    for (row, line) in canvas.planes().chunks(56).enumerate() {
        let (plane, row) = (&planes[row / 56], row % 56);
        let first = (row + 4) * 96 + 20;
        assert_eq!(line, &plane[first..first + 56], "row {row}");
    }
}

#[test]
fn pictures_of_any_size_give_a_view() {
    for (width, height) in [(1, 1), (1, 900), (900, 1), (2, 3), (31, 7)] {
        let image = Image {
            width,
            height,
            pixels: gradient(width, height, 1),
        };
        for pixels in [1, 2, 8] {
            let mut canvas = Canvas::new(pixels);
            let mut out = vec![f32::NAN; 3 * (pixels as usize).pow(2)];
            center_view(&image, &mut canvas, &mut out);
            assert!(out.iter().all(|value| value.is_finite()));
            for sample in 0..20 {
                let view = ViewParameters::draw(&Augment::published(), (width, height), key(sample, 1));
                view.apply(&image, &mut canvas, &mut out);
            }
        }
    }
}

/// Odd sides leave loops with a remainder.
#[test]
fn every_level_of_instructions_makes_the_same_bits() {
    let image = Image {
        width: 150,
        height: 101,
        pixels: gradient(150, 101, 5),
    };
    for pixels in [57, 224] {
        let mut expected: Vec<Vec<f32>> = Vec::new();
        for level in Level::available() {
            let mut canvas = Canvas::with_level(pixels, level);
            let views = (0..60).map(|sample| {
                let view = (sample % 2) as usize;
                let parameters = ViewParameters::draw(&Augment::published(), (150, 101), key(sample, view));
                let mut out = vec![f32::NAN; 3 * (pixels as usize).pow(2)];
                parameters.apply(&image, &mut canvas, &mut out);
                out
            });
            let views: Vec<Vec<f32>> = views.collect();
            if expected.is_empty() {
                expected = views;
            } else {
                assert!(views == expected, "{level:?}, {pixels} pixels");
            }
        }
    }
}
