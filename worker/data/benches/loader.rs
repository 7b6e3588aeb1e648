//! What the loader does to an image, without reading it: decode, two views, normalised. One thread, seconds of CPU time.
//!
//! `loader DIR [LIMIT [RUNS]]`, as the published pipeline's measurement beside which it stands: the first LIMIT files of DIR by
//! name (300), read beforehand, and gone through RUNS times (3) after one that does not count. Prints a line of JSON; `cargo xtask bench loader` asks.
//!
//! `loader --like-imagenet DIR OUT` makes files of ImageNet's size and weight first: [`mosaics`].

#![expect(clippy::print_stdout, reason = "the result is a line of output")]

#[path = "loader/mosaics.rs"]
mod mosaics;

use std::collections::BTreeMap;
use std::path::Path;

use m2t_common::recipe::Augment;
use m2t_common::shard::Sample;
use m2t_data::augment::Part;
use m2t_data::{Canvas, Decoder, Image, Index, ViewKey, ViewParameters};
use rustix::time::{ClockId, clock_gettime};

/// Side of a view.
const PIXELS: u32 = 224;
/// As many as the published measurement takes.
const LIMIT: u64 = 300;
const RUNS: u64 = 3;

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |word: Option<&&str>, default: u64| {
        word.map_or(default, |word| word.parse().expect("LIMIT and RUNS are numbers"))
    };
    match words[..] {
        ["--like-imagenet", dir, out] => mosaics::make(Path::new(dir), Path::new(out), LIMIT),
        [dir, ref rest @ ..] => {
            let files = read(Path::new(dir), number(rest.first(), LIMIT) as usize);
            println!("{}", measure(&files, number(rest.get(1), RUNS)));
        }
        // `cargo test` and `cargo bench` without arguments only see that it builds.
        [] => println!("usage: loader DIR [LIMIT [RUNS]] | loader --like-imagenet DIR OUT"),
    }
}

fn read(dir: &Path, limit: usize) -> Vec<Vec<u8>> {
    let index = Index::read(dir).expect("DIR is a folder of class folders");
    let paths = (0..index.n_samples()).map(|sample| index.locate(Sample(sample)));
    paths
        .take(limit)
        .map(|path| std::fs::read(path).expect("a file that was listed"))
        .collect()
}

/// Nanoseconds of CPU time of this thread.
fn now() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    (time.tv_sec as u64) * 1_000_000_000 + time.tv_nsec as u64
}

fn measure(files: &[Vec<u8>], runs: u64) -> serde_json::Value {
    let augment = Augment::published();
    let (mut decoder, mut image) = (Decoder::default(), Image::default());
    let mut canvas = Canvas::new(PIXELS);
    let mut out = vec![0.0; 3 * (PIXELS as usize).pow(2)];
    let mut rates = Vec::new();
    let mut stages: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut pixels, mut bytes) = (0, 0);
    for pass in 0..=runs {
        stages.clear();
        (pixels, bytes) = (0, 0);
        let start = now();
        for (sample, file) in (0..).zip(files) {
            let mut last = now();
            let mut lap = |stage| {
                let now = now();
                *stages.entry(stage).or_default() += now - last;
                last = now;
            };
            decoder.decode(file, &mut image).expect("a picture");
            lap("decode");
            pixels += u64::from(image.width) * u64::from(image.height);
            bytes += file.len() as u64;
            for view in 0..2 {
                let key = ViewKey {
                    seed: pass,
                    epoch: 0,
                    sample: Sample(sample),
                    view,
                };
                ViewParameters::draw(&augment, (image.width, image.height), key).render_watched(
                    &image,
                    &mut canvas,
                    |part| {
                        lap(match part {
                            Part::Crop => "crop",
                            Part::Jitter => "jitter",
                            Part::Blur => "blur",
                            Part::Rest => "rest",
                        });
                    },
                );
                canvas.write_normalized(&mut out);
                lap("normalize");
            }
        }
        rates.push(files.len() as f64 * 1e9 / (now() - start) as f64);
    }
    let mut last = rates.split_off(1);
    last.sort_by(f64::total_cmp);
    let milliseconds: BTreeMap<&str, f64> = stages
        .into_iter()
        .map(|(stage, time)| (stage, time as f64 / 1e6 / files.len() as f64))
        .collect();
    serde_json::json!({
        "images_per_second": last[last.len() / 2],
        "runs": last.len(),
        "images": files.len(),
        "milliseconds_per_image": milliseconds,
        "pixels_per_image": pixels / files.len() as u64,
        "bits_per_pixel": 8.0 * bytes as f64 / pixels as f64,
    })
}
