//! Files of PyTorch: read back as written, read in both forms, and refused in a sentence, without a panic and without much memory,
//! whatever is done to their bytes. That PyTorch itself takes what is written, and that what it writes is read, is tests/export.rs
//! and tests/import.rs.

mod damaged;
mod made;

use std::io::Cursor;

use safetensors::Dtype;

use super::*;
use crate::state::snapshot::NamedBytes;
use made::Made;

/// A tensor whose bytes tell where they are from.
fn tensor(dtype: Dtype, shape: &[usize]) -> NamedBytes {
    let n = shape.iter().product::<usize>() * dtype.bitsize() / 8;
    NamedBytes {
        dtype,
        shape: shape.to_vec(),
        bytes: (0..n).map(|i| (i % 251) as u8).collect(),
    }
}

fn tensors() -> Vec<(String, NamedBytes)> {
    [
        ("conv1.weight", tensor(Dtype::F32, &[4, 3, 2, 2])),
        ("bn1.running_var", tensor(Dtype::F64, &[5])),
        ("bn1.num_batches_tracked", tensor(Dtype::I64, &[])),
        ("empty", tensor(Dtype::F32, &[0, 3])),
        ("größe", tensor(Dtype::F32, &[1])),
    ]
    .map(|(name, tensor)| (name.to_owned(), tensor))
    .into()
}

fn written() -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    write(&mut file, "encoder", &tensors(), "{}").unwrap();
    file.into_inner()
}

fn read(archive: &Archive) -> Vec<(String, NamedBytes)> {
    let entries = archive.root().entries().unwrap();
    entries
        .map(|(name, value)| (name.text().unwrap().to_owned(), value.tensor().unwrap()))
        .collect()
}

fn problem(bytes: Vec<u8>) -> Problem {
    Archive::parse(bytes).expect_err("it is refused")
}

#[test]
fn what_is_written_is_read_and_equal_tensors_make_equal_files() {
    let file = written();
    assert_eq!(file, written());
    assert_eq!(read(&Archive::parse(file).unwrap()), tensors());
}

#[test]
fn the_bytes_of_each_tensor_begin_at_a_multiple_of_64() {
    let archive = Archive::parse(written()).unwrap();
    let begins: Vec<usize> = archive.storages.iter().map(|range| range.start % 64).collect();
    assert_eq!(begins, vec![0; tensors().len()]);
}

#[test]
fn the_stream_of_before_torch_1_6_is_read_with_strides_and_what_is_beside_the_tensors() {
    let archive = Archive::parse(Made::default().stream()).unwrap();
    let root = archive.root();
    assert_eq!(root.get("start_epoch").and_then(Node::number), Some(300));
    let model = root.get("model").unwrap();
    let expected = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let plain = model.get("plain").unwrap().tensor().unwrap();
    assert_eq!(
        (plain.shape, plain.bytes),
        (vec![2, 3], expected(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]))
    );
    // The same storage turned, and a part of it.
    let turned = model.get("turned").unwrap().tensor().unwrap();
    assert_eq!(
        (turned.shape, turned.bytes),
        (vec![3, 2], expected(&[0.0, 3.0, 1.0, 4.0, 2.0, 5.0]))
    );
    let part = model.get("part").unwrap().tensor().unwrap();
    assert_eq!((part.shape, part.bytes), (vec![2], expected(&[2.0, 5.0])));
    assert!(model.get("none").is_none());
    let buffer = root
        .get("optimizer")
        .unwrap()
        .get("state")
        .unwrap()
        .get_number(0)
        .unwrap();
    assert!(buffer.get("momentum_buffer").unwrap().is_tensor());
    assert_eq!(buffer.get("momentum_buffer").unwrap().shape(), Some(vec![2, 3]));
}

#[test]
fn what_a_state_dict_needs_not_is_refused_by_its_name_and_never_run() {
    let mark = std::env::temp_dir().join(format!("m2t-pth-{}", std::process::id()));
    let command = format!("touch {}", mark.display());
    for module in [
        "os",
        "posix",
        "nt",
        "subprocess",
        "builtins",
        "__builtin__",
        "torch",
        "numpy.core.multiarray",
    ] {
        let evil = Made {
            call: Some((module, "system", command.clone())),
            ..Made::default()
        };
        assert_eq!(
            problem(evil.stream()),
            Problem::Global(format!("{module}.system"))
        );
    }
    let class = Made {
        call: Some(("argparse", "Namespace", String::new())),
        ..Made::default()
    };
    let said = problem(class.stream()).to_string();
    assert_eq!(
        said,
        "its pickle asks for argparse.Namespace, which is not run; save a dict of tensors, texts and numbers alone"
    );
    assert!(!mark.exists());
}

#[test]
fn tensors_beyond_their_storage_are_refused() {
    for (offset, shape, stride) in [
        (1, vec![2, 3], vec![3, 1]),
        (0, vec![7], vec![1]),
        (0, vec![2, 3], vec![4, 1]),
        (6, vec![1], vec![1]),
        // As many as one likes out of one.
        (0, vec![i32::MAX], vec![0]),
        (0, vec![i32::MAX; 4], vec![1, 1, 1, 1]),
        (i32::MAX, vec![1], vec![1]),
    ] {
        let made = Made {
            tensor: (offset, shape.clone(), stride),
            ..Made::default()
        };
        assert!(
            matches!(problem(made.stream()), Problem::Beyond { .. }),
            "{shape:?}"
        );
    }
    for (offset, shape, stride) in [
        (-1, vec![1], vec![1]),
        (0, vec![-1], vec![1]),
        (0, vec![1], vec![]),
        (0, vec![1; 9], vec![1; 9]),
    ] {
        let made = Made {
            tensor: (offset, shape.clone(), stride),
            ..Made::default()
        };
        assert!(
            matches!(problem(made.stream()), Problem::Nonsense(_)),
            "{shape:?}"
        );
    }
}

#[test]
fn what_is_no_file_of_torch_save_is_said_to_be_what_it_is() {
    let tar = [vec![0; 257], b"ustar".to_vec(), vec![0; 300]].concat();
    for (bytes, expected) in [
        (Vec::new(), Problem::NotPyTorch),
        (b"hello".to_vec(), Problem::NotPyTorch),
        (b"\x80\x02}.".to_vec(), Problem::PlainPickle),
        (tar, Problem::Tar),
        (
            zip(&[("a/data.pkl", b"\x80\x02}."), ("a/constants.pkl", b"\x80\x02).")]),
            Problem::TorchScript,
        ),
        (
            zip(&[("a/b.txt", b"hello")]),
            Problem::NoRecord("data.pkl".to_owned()),
        ),
        (
            zip(&[("a/data.pkl", b"\x80\x02}."), ("a/byteorder", b"big")]),
            Problem::ByteOrder,
        ),
        (zip(&[("a/data.pkl", b"\x80\x04}.")]), Problem::Protocol(4)),
        (zip(&[("a/data.pkl", b"\x80\x02}")]), Problem::Cut),
        (zip(&[("a/data.pkl", b"\x80\x02\x8f.")]), Problem::Opcode(0x8f)),
        (
            zip(&[("a/data.pkl", b"\x80\x02h\x07.")]),
            Problem::Nonsense("it recalls what it never remembered"),
        ),
    ] {
        assert_eq!(problem(bytes), expected);
    }
}

fn zip(records: &[(&str, &[u8])]) -> Vec<u8> {
    use std::io::Write;
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in records {
        let plain =
            zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        zip.start_file(*name, plain).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}
