//! Mutated pictures through the decoder: no crash, no hang, bounded memory. `M2T_MUTANTS` says how many.
//!
//! The allocator counts, so this is a program of its own with one test: another test's memory would count, too. A failure names
//! the mutant's number, which makes the same one again.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "a test prints what it measured")]
#![expect(
    clippy::print_stderr,
    reason = "what hangs is named before the process is ended"
)]

mod mutated {
    pub(crate) mod mutator;
    pub(crate) mod pictures;
}

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use m2t_data::decode;
use mutated::mutator::mutant;
use mutated::pictures::{jpegs, pngs};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The most that may be held while one picture is decoded.
const MOST: usize = 256 << 20;
/// The longest that one may take, on a machine that has much else to do.
const LONGEST: Duration = Duration::from_secs(30);

/// The mutant that is being decoded, and since when.
type Current = Arc<Mutex<(String, Instant)>>;

/// Ends the process when one mutant takes too long: nothing else ends a decoder that hangs.
fn watch(current: &Current) {
    let current = Arc::clone(current);
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_secs(1));
            let (name, since) = current.lock().unwrap().clone();
            if since.elapsed() > LONGEST {
                eprintln!("{name} hangs");
                std::process::abort();
            }
        }
    });
}

/// The hostile pictures, of which mutants are made, too; none after saying so where they are missing. In CI they must be there.
fn hostile() -> Vec<(String, Vec<u8>)> {
    let shared = std::env::var_os("M2T_SHARED").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")),
        PathBuf::from,
    );
    let folder = shared.join("fixtures/hostile_images");
    if !folder.is_dir() {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "{} is missing; set M2T_SHARED to the shared folder",
            folder.display()
        );
        println!("skipped: the hostile pictures, {} is missing", folder.display());
        return Vec::new();
    }
    let mut pictures: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.metadata().unwrap().len() < 100_000)
        .map(|entry| {
            (
                entry.file_name().display().to_string(),
                std::fs::read(entry.path()).unwrap(),
            )
        })
        .collect();
    pictures.sort();
    pictures
}

#[test]
fn mutants_neither_crash_nor_hang_nor_take_memory() {
    let n: u64 = std::env::var("M2T_MUTANTS").map_or(5_000, |n| n.parse().unwrap());
    let mut pictures = [jpegs(), pngs()].concat();
    for (name, bytes) in &pictures {
        assert!(decode(bytes).is_ok(), "{name}: {:?}", decode(bytes).err());
    }
    pictures.extend(hostile());
    let current = Arc::new(Mutex::new((String::new(), Instant::now())));
    watch(&current);
    let (mut n_decoded, mut n_panicked, mut most, mut longest) = (0, 0, (0, String::new()), Duration::ZERO);
    for number in 0..n {
        let (name, bytes) = mutant(&pictures, number);
        *current.lock().unwrap() = (name.clone(), Instant::now());
        let (before, began) = (MEMORY.current_usage(), Instant::now());
        MEMORY.reset_peak_usage();
        let result = decode(&bytes);
        let (peak, took) = (MEMORY.peak_usage().saturating_sub(before), began.elapsed());
        longest = longest.max(took);
        most = most.max((peak, name.clone()));
        assert!(
            peak <= MOST,
            "{name}, {} bytes, holds {peak}: {:?}",
            bytes.len(),
            result.map(|image| (image.width, image.height))
        );
        match result {
            Ok(image) => {
                n_decoded += 1;
                let size = image.width as usize * image.height as usize * 3;
                assert!(size > 0 && image.pixels.len() == size, "{name}");
            }
            Err(m2t_data::DecodeError::Panicked(_)) => n_panicked += 1,
            Err(_) => {}
        }
    }
    println!(
        "{n} mutants: {n_decoded} decode, {n_panicked} made a decoder panic; at most {} bytes ({}), {longest:?}",
        most.0, most.1
    );
    // It is no test if nothing decodes, or everything.
    assert!(n_decoded > n / 20 && n_decoded < n * 19 / 20);
}
