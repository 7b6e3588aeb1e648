//! In which format an export is written.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use safetensors::tensor::TensorView;
use serde_json::Value;

use super::Named;
use crate::pth;

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// safetensors: tensors and a few texts, which nothing can be run from.
    Safetensors,
    /// PyTorch's own, as `torch.save` writes a state dict: `torch.load(FILE, weights_only=True)`.
    Pth,
}

/// What the data of a safetensors file begin at a multiple of.
const ALIGNMENT: usize = 8;

/// Endings of names, and what they stand for.
const ENDINGS: [(&str, Format); 4] = [
    (".safetensors", Format::Safetensors),
    (".pth", Format::Pth),
    (".pt", Format::Pth),
    (".pth.tar", Format::Pth),
];

impl Format {
    /// By the ending of a file's name.
    pub fn by_ending(file: &Path) -> Option<Self> {
        let name = file.file_name()?.to_str()?;
        ENDINGS
            .iter()
            .find(|(ending, _)| name.ends_with(ending))
            .map(|(_, format)| *format)
    }

    /// Writes the tensors, in the order of a network, and what is said of them.
    pub(super) fn write(
        self,
        tensors: &[Named],
        about: &BTreeMap<String, String>,
        into: &mut File,
    ) -> io::Result<()> {
        match self {
            Self::Safetensors => {
                let views = tensors.iter().map(|(name, tensor)| {
                    let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes);
                    (name, view.expect("a tensor has as many bytes as its shape says"))
                });
                let about = about.clone().into_iter().collect();
                let file = safetensors::serialize(views, Some(about))
                    .expect("names are unique, and the header of a network is small");
                let (header, data) = ordered(&file)?;
                into.write_all(&header)?;
                into.write_all(data)
            }
            Self::Pth => {
                let about = serde_json::to_string_pretty(about)?;
                let mut into = BufWriter::with_capacity(1 << 20, into);
                pth::write(&mut into, "archive", tensors, &about)?;
                into.flush()
            }
        }
    }
}

/// A safetensors file with its description in the order of the names, which the library has in any order: equal exports are equal
/// files. And its data, whose places do not change.
fn ordered(file: &[u8]) -> io::Result<(Vec<u8>, &[u8])> {
    let (n, rest) = file.split_first_chunk().ok_or(io::ErrorKind::UnexpectedEof)?;
    let n = usize::try_from(u64::from_le_bytes(*n)).map_err(io::Error::other)?;
    let (json, data) = rest.split_at_checked(n).ok_or(io::ErrorKind::UnexpectedEof)?;
    let parts: BTreeMap<String, Value> = serde_json::from_slice(json)?;
    let mut json = serde_json::to_vec(&parts)?;
    json.resize(json.len().next_multiple_of(ALIGNMENT), b' ');
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.extend(json);
    Ok((header, data))
}
