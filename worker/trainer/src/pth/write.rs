//! Writes named tensors as `torch.save` writes a state dict, and nothing that `torch.load(weights_only=True)` would refuse.
//!
//! The zip's records stand as PyTorch orders them, stored plainly, the bytes of each tensor at a multiple of 64. Equal tensors make
//! equal files: no time and no name of a machine is in them. What the file says of itself is a record `m2t.json` that PyTorch
//! passes over.

use std::io::{self, Seek, Write};

use safetensors::Dtype;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::opcode as op;
use crate::state::snapshot::NamedBytes;

/// Where the bytes of a record begin: at a multiple of this.
const ALIGNMENT: u16 = 64;
/// By which PyTorch marks the padding before a record: "FB".
const PADDING: u16 = u16::from_le_bytes(*b"FB");
/// Of the container, as PyTorch counts.
const CONTAINER_VERSION: &[u8] = b"3\n";
const FORMAT_VERSION: &[u8] = b"1";
/// What a file of ours says of itself.
pub(super) const ABOUT: &str = "m2t.json";
/// Digits of the record that tells one file from another.
const ID_DIGITS: usize = 40;

/// Writes the tensors, in this order, as an `OrderedDict`. `name` is the folder of all records, `about` becomes `m2t.json`.
///
/// # Errors
/// Those of the disk.
pub fn write(
    into: impl Write + Seek,
    name: &str,
    tensors: &[(String, NamedBytes)],
    about: &str,
) -> io::Result<()> {
    let mut file = Records {
        zip: ZipWriter::new(into),
        name,
        hasher: blake3::Hasher::new(),
    };
    file.record("data.pkl", &pickle(tensors))?;
    file.record(".format_version", FORMAT_VERSION)?;
    file.record(".storage_alignment", ALIGNMENT.to_string().as_bytes())?;
    file.record("byteorder", b"little")?;
    for (i, (_, tensor)) in tensors.iter().enumerate() {
        file.record(&format!("data/{i}"), &tensor.bytes)?;
    }
    file.record(ABOUT, about.as_bytes())?;
    file.record("version", CONTAINER_VERSION)?;
    let id = id(&file.hasher);
    file.record(".data/serialization_id", id.as_bytes())?;
    file.zip.finish().map_err(io::Error::other)?.flush()
}

/// A zip in the making.
struct Records<'n, W: Write + Seek> {
    zip: ZipWriter<W>,
    name: &'n str,
    /// Over all that was written.
    hasher: blake3::Hasher,
}

impl<W: Write + Seek> Records<'_, W> {
    fn record(&mut self, what: &str, bytes: &[u8]) -> io::Result<()> {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .with_alignment_and_header_id(ALIGNMENT, PADDING)
            .large_file(u32::try_from(bytes.len()).is_err());
        let path = format!("{}/{what}", self.name);
        self.zip.start_file(path, options).map_err(io::Error::other)?;
        self.hasher.update(what.as_bytes()).update(bytes);
        self.zip.write_all(bytes)
    }
}

/// Decimal digits, as PyTorch's own are, that differ where files differ.
fn id(hasher: &blake3::Hasher) -> String {
    let mut digits = vec![0; ID_DIGITS];
    hasher.finalize_xof().fill(&mut digits);
    digits.iter().map(|byte| char::from(b'0' + byte % 10)).collect()
}

/// The pickle of an `OrderedDict` of tensors. Tensor i lies in the storage whose key is i, from its first element on.
fn pickle(tensors: &[(String, NamedBytes)]) -> Vec<u8> {
    let mut pickle = Pickle(vec![op::PROTO, op::PROTOCOL]);
    pickle.empty_ordered_dict();
    pickle.0.push(op::MARK);
    for (i, (name, tensor)) in tensors.iter().enumerate() {
        pickle.text(name);
        pickle.tensor(i, tensor);
    }
    pickle.0.extend([op::SET_ITEMS, op::STOP]);
    pickle.0
}

/// A pickle in the making. It remembers nothing: what is said twice is written twice.
struct Pickle(Vec<u8>);

impl Pickle {
    fn text(&mut self, text: &str) {
        self.0.push(op::BIN_UNICODE);
        let n = u32::try_from(text.len()).expect("names are short");
        self.0.extend(n.to_le_bytes());
        self.0.extend(text.as_bytes());
    }

    /// A count. Up to four bytes as an integer, which is signed, else as one of eight.
    fn count(&mut self, count: usize) {
        match i32::try_from(count) {
            Ok(count) => {
                self.0.push(op::BIN_INT);
                self.0.extend(count.to_le_bytes());
            }
            Err(_) => {
                self.0.extend([op::LONG_1, 8]);
                self.0.extend((count as u64).to_le_bytes());
            }
        }
    }

    fn global(&mut self, module: &str, name: &str) {
        self.0.push(op::GLOBAL);
        for line in [module, name] {
            self.0.extend(line.as_bytes());
            self.0.push(b'\n');
        }
    }

    fn empty_ordered_dict(&mut self) {
        self.global("collections", "OrderedDict");
        self.0.extend([op::EMPTY_TUPLE, op::REDUCE]);
    }

    fn counts(&mut self, counts: &[usize]) {
        self.0.push(op::MARK);
        for &count in counts {
            self.count(count);
        }
        self.0.push(op::TUPLE);
    }

    /// `torch._utils._rebuild_tensor_v2(storage, 0, shape, stride, False, OrderedDict())`
    fn tensor(&mut self, i: usize, tensor: &NamedBytes) {
        self.global("torch._utils", "_rebuild_tensor_v2");
        self.0.push(op::MARK);
        self.0.push(op::MARK);
        self.text("storage");
        self.global("torch", storage_class(tensor.dtype));
        self.text(&i.to_string());
        self.text("cpu");
        self.count(tensor.shape.iter().product());
        self.0.extend([op::TUPLE, op::BIN_PERSISTENT_ID]);
        self.count(0);
        self.counts(&tensor.shape);
        self.counts(&strides(&tensor.shape));
        self.0.push(op::NEW_FALSE);
        self.empty_ordered_dict();
        self.0.extend([op::TUPLE, op::REDUCE]);
    }
}

/// Of elements in row-major order.
fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides: Vec<usize> = shape
        .iter()
        .rev()
        .scan(1, |stride, &side| {
            Some(std::mem::replace(stride, *stride * side.max(1)))
        })
        .collect();
    strides.reverse();
    strides
}

/// The class of a storage of what a state holds.
fn storage_class(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F32 => "FloatStorage",
        Dtype::F64 => "DoubleStorage",
        Dtype::I64 => "LongStorage",
        other => unreachable!("no state holds tensors of {other}"),
    }
}
