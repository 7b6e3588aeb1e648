//! PyTorch's own files, `.pth`: written so that `torch.load(weights_only=True)` takes them, and read without running anything.
//!
//! Such a file is a pickle, a little program that builds objects, and beside it the bytes of the tensors. What Python's own `pickle`
//! reads may call any function there is. Here a pickle is run by a machine of our own (`machine`) that knows only what a state
//! dict needs: numbers, texts, lists, dicts, and tensors laid over storages. Whatever else a file asks for is refused by its
//! name; there is nothing it could be given. Sizes, counts and places are checked before anything is made for them, so that a
//! damaged or hostile file costs no more memory than a small multiple of its own length, and 64 MiB.
//!
//! Both forms are read: the zip that PyTorch writes since 1.6, and the stream it wrote before, which the published implementation's
//! checkpoints are in (`container`). Written is the zip.
//!
//! Why an unpickler of our own: a crate that builds general values from pickles has no notion of persistent ids, by which a pickle
//! refers to the tensors' bytes, and would have to be held back from everything else.

mod container;
mod graph;
mod machine;
mod opcode;
mod place;
mod problem;
mod write;

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

pub use graph::Node;
pub use problem::Problem;
pub use write::write;

use container::{Parsed, Storages};
use graph::Graph;

/// A `.pth` file in memory, looked through and found sound.
#[derive(Debug)]
pub struct Archive {
    bytes: Vec<u8>,
    graph: Graph,
    storages: Storages,
    about: Option<Range<usize>>,
}

/// A `.pth` file that is not taken.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum PthError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is not taken", path.display())]
    Refused { path: PathBuf, source: Problem },
}

/// Whether bytes begin like a file of PyTorch, in either form, or like another that may be taken for one.
pub fn is_like_pth(bytes: &[u8]) -> bool {
    container::recognise(bytes).is_some()
}

impl Archive {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, is cut or damaged, or holds what is no state dict; by the name of what it asks for.
    pub fn open(path: &Path) -> Result<Self, PthError> {
        let bytes = fs::read(path).map_err(|source| PthError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(bytes).map_err(|source| PthError::Refused {
            path: path.to_owned(),
            source,
        })
    }

    /// As [`Archive::open`], of bytes.
    ///
    /// # Errors
    /// As there.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, Problem> {
        let Parsed {
            graph,
            storages,
            about,
        } = container::parse(&bytes)?;
        Ok(Self {
            bytes,
            graph,
            storages,
            about,
        })
    }

    /// What an export of ours says of itself: the record `m2t.json`, if there is one.
    pub fn about(&self) -> Option<&[u8]> {
        self.about.clone().map(|range| &self.bytes[range])
    }

    /// What was saved: the argument of `torch.save`.
    pub fn root(&self) -> Node<'_> {
        Node::root(self)
    }
}

#[cfg(test)]
mod tests;
