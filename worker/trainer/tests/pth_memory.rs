//! Hostile `.pth` files: whatever is done to their bytes, no more memory is taken than a small multiple of what the file is long; and
//! of those that are made to take as much as they can, no more than a fixed measure.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Cursor, Write};

use m2t_common::random::Stream;
use m2t_trainer::pth::{self, Archive};
use m2t_trainer::state::snapshot::NamedBytes;
use peak_alloc::PeakAlloc;
use safetensors::Dtype;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Bytes that any file may take: the reader's own buffers.
const FIXED: usize = 1 << 20;
/// Bytes a byte of the file.
const A_BYTE: usize = 64;

fn file() -> Vec<u8> {
    let tensor = |shape: &[usize]| NamedBytes {
        dtype: Dtype::F32,
        shape: shape.to_vec(),
        bytes: vec![1; 4 * shape.iter().product::<usize>()],
    };
    let tensors: Vec<(String, NamedBytes)> = (0..6)
        .map(|i| (format!("layer{i}.weight"), tensor(&[4, 3, i])))
        .collect();
    let mut file = Cursor::new(Vec::new());
    pth::write(&mut file, "archive", &tensors, "{}").unwrap();
    file.into_inner()
}

/// Bytes that any pickle may take at its limits.
const LARGEST: usize = 64 << 20;

/// A pickle alone.
fn pickled(pickle: &[u8]) -> Vec<u8> {
    let mut file = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let plain = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    file.start_file("archive/data.pkl", plain).unwrap();
    file.write_all(pickle).unwrap();
    file.finish().unwrap().into_inner()
}

/// Reads it, and every tensor in it, one after the other.
fn look(bytes: Vec<u8>) {
    let limit = FIXED + A_BYTE * bytes.len();
    let most = peak(bytes);
    assert!(most <= limit, "{most} bytes");
}

/// The most memory that was taken.
fn peak(bytes: Vec<u8>) -> usize {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    if let Ok(archive) = Archive::parse(bytes) {
        for (_, value) in archive.root().entries().into_iter().flatten() {
            drop(value.tensor());
        }
    }
    MEMORY.peak_usage().saturating_sub(before)
}

#[test]
fn damaged_files_take_no_more_memory_than_a_small_multiple_of_their_length() {
    let whole = file();
    look(whole.clone());
    let mut stream = Stream::new("hostile", &[]);
    let mut draw = |n: usize| stream.uniform(0.0, n as f64) as usize;
    for _ in 0..30_000 {
        let mut bytes = whole.clone();
        for _ in 0..=draw(3) {
            // Wide numbers become large ones: lengths, counts, offsets.
            let at = draw(bytes.len() - 8);
            match draw(3) {
                0 => bytes[at..at + 4].fill(0xff),
                1 => bytes[at] = draw(256) as u8,
                _ => bytes[at + 1..at + 8].fill(0x7f),
            }
        }
        look(bytes);
    }
    for (beginning, repeated) in [
        // Lists, numbers, remembered things, things put on the stack again, dicts made of a list, marks.
        (b"\x80\x02".as_slice(), b"]".as_slice()),
        (b"\x80\x02", b"K\x01"),
        (b"\x80\x02N", b"\x85q\x00"),
        (b"\x80\x02Nq\x00", b"h\x00"),
        (
            b"\x80\x02](K\x01K\x02\x86K\x01K\x02\x86eq\x00",
            b"ccollections\nOrderedDict\nh\x00\x85R",
        ),
        (b"\x80\x02", b"("),
    ] {
        let pickle = [beginning, &repeated.repeat(3 << 20)].concat();
        let file = pickled(&pickle);
        let before = file.len();
        assert!(Archive::parse(file.clone()).is_err(), "it is refused at a limit");
        let most = peak(file);
        assert!(
            most <= before + LARGEST,
            "{most} bytes for {:?}",
            repeated.escape_ascii().to_string()
        );
    }
}
