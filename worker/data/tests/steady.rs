//! The loader in steady state: it allocates nothing for an image, and its memory stays as it is.
//!
//! What is left is the JPEG library's: its decoder is made anew for each file and cannot be used again, and its rows are its own. How
//! often it allocates is told by the kind of file, and counted here ([`LIBRARY`]).
//!
//! The allocator counts, so this is a program of its own with one test: another test's memory would count, too.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "a test prints what it measured")]

use std::alloc::System;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use m2t_common::recipe::{Augment, AugmentOn};
use m2t_common::shard::{Draws, Sample, Shards};
use m2t_common::{Rank, Step};
use m2t_data::loader::Known;
use m2t_data::{Canvas, Decoder, Image, Index, Loader, LoaderSettings, ViewFormat, ViewKey, ViewParameters};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;

#[global_allocator]
static MEMORY: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const PIXELS: u32 = 32;
const N_FILES: u32 = 240;
/// Steps before anything is counted: every buffer has then met the largest picture.
const WARM_UP: u64 = 64;
const COUNTED: u64 = 100;

/// Kinds of JPEG, and how often zune-jpeg allocates for one: a list of the components; a row of blocks a component, and all its
/// blocks if it is progressive; and where colour is coarser, a row in between and four rows a component.
const LIBRARY: [(&str, ColorType, SamplingFactor, bool, usize); 6] = [
    ("grey", ColorType::Luma, SamplingFactor::F_1_1, false, 2),
    ("4:4:4", ColorType::Rgb, SamplingFactor::F_1_1, false, 4),
    ("4:2:2", ColorType::Rgb, SamplingFactor::F_2_1, false, 17),
    ("4:2:0", ColorType::Rgb, SamplingFactor::F_2_2, false, 17),
    (
        "progressive 4:4:4",
        ColorType::Rgb,
        SamplingFactor::F_1_1,
        true,
        7,
    ),
    (
        "progressive 4:2:0",
        ColorType::Rgb,
        SamplingFactor::F_2_2,
        true,
        20,
    ),
];

/// JPEGs of various sizes.
fn data_set(folder: &Path) -> Arc<Index> {
    std::fs::create_dir(folder.join("all")).unwrap();
    for number in 0..N_FILES {
        let (width, height) = (60 + number % 37, 48 + number % 23);
        let pixels: Vec<u8> = (0..width * height)
            .flat_map(|i| [i + number, i / width * 3, (i ^ number) * 5].map(|value| value as u8))
            .collect();
        let path = folder.join("all").join(format!("{number:04}.jpg"));
        let encoder = Encoder::new_file(path, 90).unwrap();
        let (width, height) = (u16::try_from(width).unwrap(), u16::try_from(height).unwrap());
        encoder.encode(&pixels, width, height, ColorType::Rgb).unwrap();
    }
    Arc::new(Index::read(folder).unwrap())
}

fn settings(index: &Arc<Index>, batch: u32) -> LoaderSettings {
    LoaderSettings {
        index: Arc::clone(index),
        augment: Augment::published(),
        shards: Shards {
            seed: 3,
            n_samples: u64::from(N_FILES),
            world: 1,
            batch_per_rank: batch,
        },
        ranks: vec![Rank(0)],
        pixels: PIXELS,
        format: ViewFormat::default(),
        augment_on: AugmentOn::Cpu,
        draws: Draws::default(),
        known: Known::default(),
        n_views: 2,
        first_step: Step(0),
        last_step: u64::MAX,
        threads: 2,
        ahead: 2,
        read_timeout: Duration::from_secs(60),
    }
}

fn allocations() -> usize {
    let stats = MEMORY.stats();
    stats.allocations + stats.reallocations
}

fn bytes_in_use() -> usize {
    let stats = MEMORY.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// Allocations of the whole process over `COUNTED` batches of a loader that is warm.
fn of_the_loader(index: &Arc<Index>, batch: u32) -> usize {
    let whole = |n_steps| {
        let settings = LoaderSettings {
            last_step: n_steps,
            // Every buffer of the one thread has met the same pictures in the same order.
            threads: 1,
            ..settings(index, batch)
        };
        let before = allocations();
        let mut loader = Loader::start(settings).unwrap();
        for _ in 0..n_steps {
            loader.next().unwrap();
        }
        drop(loader);
        allocations() - before
    };
    whole(WARM_UP + COUNTED) - whole(WARM_UP)
}

/// Allocations of decoding and of drawing the views of the same images, nothing else done.
fn by_hand(index: &Index, batch: u32) -> [usize; 2] {
    let LoaderSettings { shards, augment, .. } = settings(&Arc::new(index.clone()), batch);
    let files: Vec<_> = index
        .entries()
        .enumerate()
        .map(|(sample, _)| std::fs::read(index.locate(Sample(sample as u64))).unwrap())
        .collect();
    let mut canvases = [Canvas::new(PIXELS), Canvas::new(PIXELS)];
    let (mut decoder, mut image) = (Decoder::default(), Image::default());
    let mut counts = [0; 2];
    for step in (0..WARM_UP + COUNTED).map(Step) {
        let (epoch, samples) = shards.samples(step, Rank(0));
        for sample in samples {
            let mut before = allocations();
            decoder.decode(&files[sample.0 as usize], &mut image).unwrap();
            let decoding = allocations() - before;
            before = allocations();
            draw(&image, (epoch, sample), &augment, &mut canvases);
            if step.0 >= WARM_UP {
                counts[0] += decoding;
                counts[1] += allocations() - before;
            }
        }
    }
    counts
}

fn draw(image: &Image, (epoch, sample): (u64, Sample), augment: &Augment, canvases: &mut [Canvas; 2]) {
    for (view, canvas) in canvases.iter_mut().enumerate() {
        let key = ViewKey {
            seed: 3,
            epoch,
            sample,
            view,
        };
        ViewParameters::draw(augment, (image.width, image.height), key).render(image, canvas);
    }
}

/// What the loader itself allocates for each counted batch of this size, and what decoding and drawing do an image.
fn for_each_batch(index: &Arc<Index>, batch: u32) -> f64 {
    let [decoding, drawing] = by_hand(index, batch);
    let all = of_the_loader(index, batch);
    let n_images = COUNTED * u64::from(batch);
    // The files are of kind 4:4:4.
    assert_eq!((decoding as u64, drawing), (4 * n_images, 0));
    let own = (all as f64 - (decoding + drawing) as f64) / COUNTED as f64;
    println!(
        "batches of {batch}: {decoding} allocations in decoding {n_images} images, {drawing} in drawing; {own} a batch in the loader"
    );
    own
}

/// Allocations of zune-jpeg alone.
fn of_the_library(file: &[u8], pixels: &mut [u8]) -> usize {
    let before = allocations();
    JpegDecoder::new(ZCursor::new(file)).decode_into(pixels).unwrap();
    allocations() - before
}

/// Decoding allocates as often as the library does by itself.
fn decoding_allocates_nothing_of_its_own() {
    let (width, height) = (500, 375);
    let (mut decoder, mut image) = (Decoder::default(), Image::default());
    for (kind, color, sampling, is_progressive, expected) in LIBRARY {
        let mut file = Vec::new();
        let mut encoder = Encoder::new(&mut file, 90);
        encoder.set_sampling_factor(sampling);
        encoder.set_progressive(is_progressive);
        let n_channels = if color == ColorType::Luma { 1 } else { 3 };
        let values: Vec<u8> = (0..n_channels * usize::from(width) * usize::from(height))
            .map(|i| ((i / 3) ^ (i / 700)) as u8)
            .collect();
        encoder.encode(&values, width, height, color).unwrap();
        decoder.decode(&file, &mut image).unwrap();
        let before = allocations();
        decoder.decode(&file, &mut image).unwrap();
        let all = allocations() - before;
        let library = of_the_library(&file, &mut image.pixels);
        println!("{kind}: {all} allocations, {library} of them the library's");
        assert_eq!((all, library), (expected, expected), "{kind}");
    }
}

/// Images for the memory to be flat over.
fn n_images() -> u64 {
    let asked = std::env::var("M2T_IMAGES").ok();
    asked.map_or(10_000, |asked| asked.parse().unwrap())
}

/// Pages of this process that are in memory, in bytes.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// The most that is in use, and resident, at the end of any of `n` batches.
fn most_in_use(loader: &mut Loader, n: u64) -> [usize; 2] {
    (0..n).fold([0; 2], |[used, resides], _| {
        let batch = loader.next().unwrap();
        let most = [used.max(bytes_in_use()), resides.max(resident())];
        drop(batch);
        most
    })
}

#[test]
fn the_steady_state_allocates_nothing_for_an_image_and_memory_is_flat() {
    decoding_allocates_nothing_of_its_own();
    let folder = tempfile::tempdir().unwrap();
    let index = data_set(folder.path());
    let [few, many] = [8, 24].map(|batch| for_each_batch(&index, batch));
    assert!(few < 10.0, "{few} allocations a batch");
    assert_eq!(few, many, "allocations of a batch do not grow with its images");

    let mut loader = Loader::start(settings(&index, 24)).unwrap();
    let n = n_images() / 24;
    let [used, resides] = most_in_use(&mut loader, n / 4);
    most_in_use(&mut loader, n / 2);
    let [used_later, resides_later] = most_in_use(&mut loader, n / 4);
    println!("{n} batches: {used} then {used_later} bytes in use, {resides} then {resides_later} resident");
    assert!(used_later < used + (256 << 10), "{used} bytes, then {used_later}");
    assert!(
        resides_later < resides + (8 << 20),
        "{resides} bytes, then {resides_later}"
    );
}
