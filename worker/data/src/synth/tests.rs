//! The set is reproducible, laid out as promised, and hard for whoever looks only at pixels or colours.

use std::collections::BTreeMap;

use m2t_common::recipe::{self, written::Source};
use tempfile::TempDir;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;

use super::*;

fn small(dir: &Path) -> Synth {
    Synth {
        train_per_class: 3,
        val_per_class: 2,
        pixels: 24,
        ..Synth::new(dir)
    }
}

/// Every file below `dir` with its content.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(
                    path.strip_prefix(dir).unwrap().to_owned(),
                    fs::read(&path).unwrap(),
                );
            }
        }
    }
    found
}

fn decode(jpeg: &[u8]) -> (usize, Vec<u8>) {
    let mut decoder = JpegDecoder::new(ZCursor::new(jpeg));
    let rgb = decoder.decode().unwrap();
    let (width, height) = decoder.dimensions().unwrap();
    assert_eq!((width, rgb.len()), (height, 3 * width * height));
    (width, rgb)
}

#[test]
fn any_number_of_threads_writes_the_same_bytes() {
    let dirs: [TempDir; 3] = std::array::from_fn(|_| TempDir::new().unwrap());
    generate_on(&small(dirs[0].path()), 1).unwrap();
    generate_on(&small(dirs[1].path()), 5).unwrap();
    let other = Synth {
        seed: 1,
        ..small(dirs[2].path())
    };
    generate(&other).unwrap();
    let [one, five, other] = dirs.map(|dir| files(dir.path()));
    assert!(one == five);
    assert!(one.keys().eq(other.keys()));
    assert!(
        one.iter().all(|(path, jpeg)| other[path] != *jpeg),
        "a picture does not depend on the seed"
    );
}

#[test]
fn the_set_is_an_image_folder_of_different_pictures() {
    let dir = TempDir::new().unwrap();
    // A folder that is yet to be made, below others that are.
    let settings = Synth {
        classes: 4,
        ..small(&dir.path().join("new/set"))
    };
    let summary = generate(&settings).unwrap();
    let classes = vec!["berries", "bricks", "cracks", "grass"];
    assert_eq!(
        summary,
        Summary {
            classes: classes.clone(),
            train: 12,
            val: 8
        }
    );
    let files = files(&settings.dir);
    assert_eq!(files.len(), 20);
    for (split, n) in [("train", 3), ("val", 2)] {
        for class in &classes {
            for number in 0..n {
                let jpeg = &files[&PathBuf::from(format!("{split}/{class}/{number:05}.jpg"))];
                assert_eq!(decode(jpeg).0, 24);
            }
        }
    }
    let distinct: std::collections::BTreeSet<_> = files.values().collect();
    assert_eq!(distinct.len(), 20);
}

#[test]
fn folder_names_ascend_as_the_classes_do() {
    assert!(Material::ALL.map(Material::name).is_sorted());
}

#[test]
fn a_folder_that_holds_something_is_left_alone() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("mine"), "precious").unwrap();
    let error = generate(&small(dir.path())).unwrap_err();
    assert!(matches!(error, SynthError::NotEmpty { .. }), "{error}");
    assert_eq!(files(dir.path()).len(), 1);

    let file = dir.path().join("mine");
    let error = generate(&small(&file)).unwrap_err();
    assert!(
        matches!(&error, SynthError::Write { path, .. } if *path == file),
        "{error}"
    );
}

#[test]
fn settings_out_of_range_write_nothing() {
    let dir = TempDir::new().unwrap();
    let good = small(&dir.path().join("set"));
    for bad in [
        Synth {
            classes: 1,
            ..good.clone()
        },
        Synth {
            classes: MOST_CLASSES + 1,
            ..good.clone()
        },
        Synth {
            train_per_class: 0,
            ..good.clone()
        },
        Synth {
            val_per_class: 0,
            ..good.clone()
        },
        Synth {
            pixels: 15,
            ..good.clone()
        },
        Synth {
            pixels: 1025,
            ..good.clone()
        },
    ] {
        let error = generate(&bad).unwrap_err();
        assert!(matches!(error, SynthError::Setting { .. }), "{bad:?}: {error}");
        assert!(!bad.dir.exists());
    }
}

/// Pictures as points in some space, with their classes.
type Points = Vec<(Vec<f32>, usize)>;

/// Top-1 of the majority among the five nearest neighbours (Euclidean).
fn accuracy(train: &Points, val: &Points) -> f64 {
    let distance = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
    let right = val.iter().filter(|(point, class)| {
        let mut near: Vec<_> = train
            .iter()
            .map(|(other, label)| (distance(point, other), *label))
            .collect();
        near.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut votes = [0; MOST_CLASSES as usize];
        // Ties go to the class met first, the nearest.
        near[..5].iter().for_each(|(_, label)| votes[*label] += 1);
        let most = votes.iter().max().unwrap();
        near.iter().find(|(_, label)| votes[*label] == *most).unwrap().1 == *class
    });
    right.count() as f64 / val.len() as f64
}

fn raw(_side: usize, rgb: &[u8]) -> Vec<f32> {
    rgb.iter().map(|&v| f32::from(v) / 255.0).collect()
}

/// Shares of 64 colours.
fn colours(_side: usize, rgb: &[u8]) -> Vec<f32> {
    let mut histogram = vec![0.0; 64];
    for pixel in rgb.chunks_exact(3) {
        let bin = pixel.iter().fold(0, |bin, v| 4 * bin + usize::from(v / 64));
        histogram[bin] += 3.0 / rgb.len() as f32;
    }
    histogram
}

/// Shares of local binary patterns by their number of ups, of changes and of the longest run, around circles of three
/// sizes: structure without colour, contrast, direction or polarity.
fn structure(side: usize, rgb: &[u8]) -> Vec<f32> {
    let grey: Vec<i32> = rgb
        .chunks_exact(3)
        .map(|p| p.iter().map(|&v| i32::from(v)).sum())
        .collect();
    let mut histogram = vec![0.0; 3 * 5 * 5];
    for (ring, radius) in [1.0f32, 2.0, 3.5].into_iter().enumerate() {
        let offsets: Vec<(isize, isize)> = (0..8)
            .map(|i| (i as f32 * std::f32::consts::TAU / 8.0).sin_cos())
            .map(|(sin, cos)| ((radius * cos).round() as isize, (radius * sin).round() as isize))
            .collect();
        for y in 4..side - 4 {
            for x in 4..side - 4 {
                let here = grey[y * side + x];
                let up = |&(dx, dy): &(isize, isize)| {
                    grey[y.wrapping_add_signed(dy) * side + x.wrapping_add_signed(dx)] > here
                };
                let ups: Vec<bool> = offsets.iter().map(up).collect();
                let count = ups.iter().filter(|&&u| u).count();
                let changes = (0..8).filter(|&i| ups[i] != ups[(i + 1) % 8]).count() / 2;
                histogram[(ring * 5 + count.min(8 - count)) * 5 + changes] += 1.0;
            }
        }
    }
    let n = ((side - 8) * (side - 8)) as f32;
    histogram.iter().map(|h| (h / n).sqrt()).collect()
}

#[test]
fn pixels_and_colours_say_little_of_the_class_and_structure_much() {
    let dir = TempDir::new().unwrap();
    let settings = Synth {
        train_per_class: 60,
        val_per_class: 30,
        pixels: 48,
        ..Synth::new(dir.path())
    };
    generate(&settings).unwrap();
    let files = files(dir.path());
    let points = |split: &str, see: fn(usize, &[u8]) -> Vec<f32>| -> Points {
        let class_of = |path: &Path| {
            let name = path.parent().unwrap().file_name().unwrap();
            Material::ALL.iter().position(|m| m.name() == name).unwrap()
        };
        let chosen = files.iter().filter(|(path, _)| path.starts_with(split));
        chosen
            .map(|(path, jpeg)| {
                let (side, rgb) = decode(jpeg);
                (see(side, &rgb), class_of(path))
            })
            .collect()
    };
    let top1 = |see| accuracy(&points("train", see), &points("val", see));
    let (raw, colours, structure) = (top1(raw), top1(colours), top1(structure));
    // Chance is .10. Colours say a little, as materials differ in lightness.
    assert!(raw < 0.2, "raw pixels give the class away: {raw}");
    assert!(colours < 0.25, "colours give the class away: {colours}");
    assert!(structure > 0.7, "hardly a class is to be seen: {structure}");
}

#[test]
fn the_demo_trains_on_it() {
    let toml = include_str!("../../../../deploy/config/demo.toml");
    let recipe = recipe::resolve(Source::Experiment { name: "demo", toml }, &[], None).unwrap();
    let set = Synth::new("unused");
    let n_samples = u64::from(set.classes * set.train_per_class);
    let plan = recipe.plan(n_samples).unwrap();
    assert!(recipe.training.pixels <= set.pixels);
    assert_eq!((plan.shards.world, plan.shards.batch_per_rank), (4, 16));
    assert_eq!(plan.schedule.warmup_steps, plan.shards.steps_per_epoch());
}
