//! Each operation against Pillow's and torchvision's pixels: they are the same.

#![expect(clippy::print_stdout, reason = "a test prints what it measured")]

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::super::*;
use crate::fixtures::shared;

/// One picture of `fixtures/augment`: made from another by one operation.
#[derive(Deserialize)]
struct Case {
    file: String,
    from: String,
    #[serde(flatten)]
    operation: Operation,
}

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
enum Operation {
    ResizedCrop(BoxWritten),
    Brightness { factor: f64 },
    Contrast { factor: f64 },
    Saturation { factor: f64 },
    Hue { factor: f64 },
    GaussianBlur { sigma: f64 },
    Grayscale,
    Solarize { threshold: u8 },
    HorizontalFlip,
    Chain(Chain),
}

#[derive(Deserialize)]
struct BoxWritten {
    top: u32,
    left: u32,
    height: u32,
    width: u32,
}

#[derive(Deserialize)]
struct Chain {
    #[serde(flatten)]
    crop: BoxWritten,
    order: Vec<String>,
    brightness: f64,
    contrast: f64,
    saturation: f64,
    hue: f64,
    sigma: f64,
    grayscale: bool,
    flip: bool,
}

impl From<BoxWritten> for CropBox {
    fn from(written: BoxWritten) -> Self {
        let BoxWritten {
            top,
            left,
            height,
            width,
        } = written;
        Self {
            top,
            left,
            height,
            width,
        }
    }
}

impl From<Chain> for ViewParameters {
    fn from(chain: Chain) -> Self {
        let jitter = |name: &String| match name.as_str() {
            "brightness" => Jitter::Brightness(chain.brightness),
            "contrast" => Jitter::Contrast(chain.contrast),
            "saturation" => Jitter::Saturation(chain.saturation),
            "hue" => Jitter::Hue(chain.hue),
            other => panic!("no operation {other}"),
        };
        Self {
            jitter: chain.order.iter().map(jitter).collect(),
            crop: chain.crop.into(),
            blur_sigma: Some(chain.sigma),
            grayscale: chain.grayscale,
            flip: chain.flip,
            solarize: false,
        }
    }
}

fn whole(image: &Image) -> CropBox {
    CropBox {
        top: 0,
        left: 0,
        height: image.height,
        width: image.width,
    }
}

impl Operation {
    fn perform(self, image: &Image, canvas: &mut Canvas) {
        canvas.resized_crop(image, whole(image));
        match self {
            Self::ResizedCrop(part) => canvas.resized_crop(image, part.into()),
            Self::Brightness { factor } => canvas.jitter(Jitter::Brightness(factor)),
            Self::Contrast { factor } => canvas.jitter(Jitter::Contrast(factor)),
            Self::Saturation { factor } => canvas.jitter(Jitter::Saturation(factor)),
            Self::Hue { factor } => canvas.jitter(Jitter::Hue(factor)),
            Self::GaussianBlur { sigma } => canvas.gaussian_blur(sigma),
            Self::Grayscale => canvas.grayscale(),
            Self::Solarize { threshold } => canvas.solarize(threshold),
            Self::HorizontalFlip => canvas.flip(),
            Self::Chain(chain) => ViewParameters::from(chain).render(image, canvas),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::ResizedCrop(_) => "resized_crop",
            Self::Brightness { .. } => "brightness",
            Self::Contrast { .. } => "contrast",
            Self::Saturation { .. } => "saturation",
            Self::Hue { .. } => "hue",
            Self::GaussianBlur { .. } => "gaussian_blur",
            Self::Grayscale => "grayscale",
            Self::Solarize { .. } => "solarize",
            Self::HorizontalFlip => "horizontal_flip",
            Self::Chain(_) => "chain",
        }
    }
}

/// The worst picture of an operation: mean and greatest difference in levels, share of values more than 3 apart.
#[derive(Default)]
struct Worst {
    n: u32,
    mean: f64,
    max: u8,
    far: f64,
}

fn load(folder: &Path, name: &str) -> Image {
    crate::decode(&std::fs::read(folder.join(name)).unwrap()).unwrap()
}

#[test]
fn operations_are_pillows() {
    let Some(folder) = shared("fixtures/augment") else {
        return;
    };
    let index = std::fs::read(folder.join("index.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_slice(&index).unwrap();
    assert!(!cases.is_empty());
    let mut worst: BTreeMap<&str, Worst> = BTreeMap::new();
    let mut failed = Vec::new();
    for case in cases {
        let (from, expected) = (load(&folder, &case.from), load(&folder, &case.file));
        let mut canvas = Canvas::new(expected.width);
        let name = case.operation.name();
        case.operation.perform(&from, &mut canvas);
        let n = expected.pixels.len() as f64;
        let made = canvas.interleaved();
        let differences = made.iter().zip(&expected.pixels).map(|(a, b)| a.abs_diff(*b));
        let mean = differences.clone().map(f64::from).sum::<f64>() / n;
        let far = differences.clone().filter(|d| *d > 3).count() as f64 / n;
        let max = differences.max().unwrap();
        if max > 0 {
            failed.push(format!(
                "{}: mean {mean:.4}, max {max}, {far:.5} beyond 3",
                case.file
            ));
        }
        let worst = worst.entry(name).or_default();
        worst.n += 1;
        worst.mean = worst.mean.max(mean);
        worst.max = worst.max.max(max);
        worst.far = worst.far.max(far);
    }
    for (name, Worst { n, mean, max, far }) in worst {
        println!("{name:16} {n:2} pictures: worst mean {mean:.5}, max {max}, beyond 3 levels {far:.6}");
    }
    assert!(failed.is_empty(), "{failed:#?}");
}
