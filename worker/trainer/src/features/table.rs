//! The files that features are written to: one of safetensors, or NumPy's with texts beside it.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use m2t_data::Index;
use serde_json::json;

use super::npy;
use crate::export::PlaceError;
use crate::export::place;

/// What safetensors' own library takes as a description; a hundred million bytes.
const LARGEST_HEADER: usize = 100_000_000;
/// What the data of a safetensors file begin at a multiple of.
const ALIGNMENT: usize = 8;

/// The format of a file of features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// `features` and `labels`, with the names of classes and files in the metadata.
    Safetensors,
    /// The features alone; labels, classes and files in files beside it.
    Npy,
}

/// What is said of the features, and how long a row is.
pub(super) struct About {
    pub(super) about: Vec<(&'static str, String)>,
    pub(super) width: u64,
}

impl Format {
    pub(super) fn by_ending(file: &Path) -> Option<Self> {
        match file.extension()?.to_str()? {
            "safetensors" => Some(Self::Safetensors),
            "npy" => Some(Self::Npy),
            _ => None,
        }
    }

    /// All files that are written for this one.
    pub(super) fn files(self, to: &Path) -> Vec<PathBuf> {
        match self {
            Self::Safetensors => vec![to.to_owned()],
            Self::Npy => ["npy", "labels.npy", "classes.txt", "files.txt"]
                .map(|ending| to.with_extension(ending))
                .into(),
        }
    }

    /// Writes all that stands before the features.
    pub(super) fn begin(
        self,
        into: &mut File,
        about: &About,
        labels: &[i64],
        index: &Index,
    ) -> io::Result<()> {
        let n = labels.len() as u64;
        match self {
            Self::Npy => into.write_all(&npy::header("<f4", &[n, about.width])),
            Self::Safetensors => {
                into.write_all(&header(about, n, index)?)?;
                into.write_all(&bytes(labels))
            }
        }
    }

    /// Writes the files beside it.
    pub(super) fn put_beside(self, to: &Path, labels: &[i64], index: &Index) -> Result<(), PlaceError> {
        if self == Self::Safetensors {
            return Ok(());
        }
        let put = |ending: &str, content: &[u8]| {
            place::put(&to.with_extension(ending), |file| file.write_all(content))
        };
        let n = labels.len() as u64;
        put("labels.npy", &[npy::header("<i8", &[n]), bytes(labels)].concat())?;
        put(
            "classes.txt",
            lines(index.classes().map(str::to_owned)).as_bytes(),
        )?;
        put("files.txt", lines(files(index)).as_bytes())
    }
}

/// Labels stand before features: eight bytes wide, they begin at a multiple of eight.
fn header(about: &About, n: u64, index: &Index) -> io::Result<Vec<u8>> {
    let list = |names: Vec<String>| serde_json::to_string(&names);
    let mut metadata: serde_json::Map<String, serde_json::Value> = about
        .about
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone().into()))
        .collect();
    metadata.insert(
        "classes".to_owned(),
        list(index.classes().map(str::to_owned).collect())?.into(),
    );
    metadata.insert("files".to_owned(), list(files(index).collect())?.into());
    let (labels, features) = (8 * n, 4 * n * about.width);
    let mut json = serde_json::to_vec(&json!({
        "__metadata__": metadata,
        "labels": { "dtype": "I64", "shape": [n], "data_offsets": [0, labels] },
        "features": { "dtype": "F32", "shape": [n, about.width], "data_offsets": [labels, labels + features] },
    }))?;
    json.resize(json.len().next_multiple_of(ALIGNMENT), b' ');
    if json.len() > LARGEST_HEADER {
        let problem = "the names of so many files are more than safetensors takes; end the name in .npy";
        return Err(io::Error::other(problem));
    }
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.extend(json);
    Ok(header)
}

/// Paths below the data folder, in the order of the index.
fn files(index: &Index) -> impl Iterator<Item = String> {
    index
        .entries()
        .map(|entry| entry.path().to_string_lossy().into_owned())
}

fn lines(names: impl Iterator<Item = String>) -> String {
    names.map(|name| name + "\n").collect()
}

fn bytes(labels: &[i64]) -> Vec<u8> {
    labels.iter().flat_map(|label| label.to_le_bytes()).collect()
}
