//! Against m2t-data's own views of the same pictures.

use m2t_common::recipe::Augment;
use m2t_common::shard::Sample;
use m2t_data::augment::STD;
use m2t_data::{Canvas, Image, ViewKey};

use super::*;

const SIDE: u32 = 61;
const N: u64 = 96;

/// Colours of every kind, smooth and not.
fn picture(number: u32) -> Image {
    let pixel = |x: u32, y: u32| [x * 3 + number * 31, y * 2 + number * 57, (x * y) / 9 + number];
    let pixels = (0..90u32).flat_map(|y| (0..120u32).flat_map(move |x| pixel(x, y)));
    Image {
        width: 120,
        height: 90,
        pixels: pixels.map(|value| value as u8).collect(),
    }
}

/// What the loader makes of each picture, whole and only cropped, and what was drawn.
fn views(change: impl Fn(&mut ViewParameters)) -> (Vec<f32>, Vec<u8>, Vec<ViewParameters>) {
    let mut canvas = Canvas::new(SIDE);
    let (mut whole, mut crops, mut drawn) = (Vec::new(), Vec::new(), Vec::new());
    for sample in 0..N {
        let image = picture(sample as u32);
        let key = ViewKey {
            seed: 4,
            epoch: 1,
            sample: Sample(sample),
            view: (sample % 2) as usize,
        };
        let mut view = ViewParameters::draw(&Augment::published(), (image.width, image.height), key);
        change(&mut view);
        let mut out = vec![0.0; 3 * (SIDE as usize).pow(2)];
        view.apply(&image, &mut canvas, &mut out);
        whole.extend(out);
        view.crop(&image, &mut canvas);
        crops.extend(canvas.planes());
        drawn.push(view);
    }
    (whole, crops, drawn)
}

/// The greatest difference in levels, and the share of values that differ.
fn difference(change: impl Fn(&mut ViewParameters)) -> (f64, f64) {
    let (whole, crops, drawn) = views(change);
    let side = i64::from(SIDE);
    let levels = Tensor::from_slice(&crops).view([-1, 3, side, side]);
    let ours = finish(&levels, &drawn);
    let theirs = Tensor::from_slice(&whole).view_as(&ours);
    let std = Tensor::from_slice(&STD).view([1, 3, 1, 1]);
    let levels = ((ours - theirs) * std * 255.0).abs();
    let share = levels.gt(0.5).to_kind(Kind::Double).mean(Kind::Double);
    (levels.max().double_value(&[]), share.double_value(&[]))
}

#[test]
fn all_but_the_blur_is_the_loaders_to_the_bit() {
    let (whole, crops, drawn) = views(|view| view.blur_sigma = None);
    let side = i64::from(SIDE);
    let ours = finish(&Tensor::from_slice(&crops).view([-1, 3, side, side]), &drawn);
    let theirs = Tensor::from_slice(&whole).view_as(&ours);
    assert!(drawn.iter().any(|view| view.solarize) && drawn.iter().any(|view| view.grayscale));
    assert!(ours.equal(&theirs));
}

#[test]
fn the_blur_rounds_seldom_another_way() {
    let (most, share) = difference(|view| {
        view.jitter.clear();
        view.solarize = false;
    });
    assert!(most < 1.5 && share < 1e-3, "{most} levels, {share} of all");
}

#[test]
fn whole_views_are_the_loaders() {
    // After a blur that rounded another way nothing is done that makes much of a level, but solarize at its threshold.
    let (_, share) = difference(|_| ());
    assert!(share < 1e-3, "{share} of all values differ");
}
