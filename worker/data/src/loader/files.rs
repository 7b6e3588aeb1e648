//! From a sample's number to a decoded picture: reading with retries, and replacing what cannot be decoded.
//!
//! Two kinds of trouble, kept apart. *Reading* fails because of a disk, a network or a missing file: that may pass, so
//! it is tried again, and then it is an error; replacing would make the result depend on the weather. *Decoding* fails
//! because of the file's bytes, for every machine alike: the next sample that decodes takes the place.

use std::fmt;
use std::io::{self, ErrorKind};
#[cfg(test)]
use std::path::Path;
use std::time::Duration;

use m2t_common::shard::Sample;

use super::{LoadError, Replacement};
use crate::decode::{DecodeError, Image, decode};
use crate::index::{ChangedSize, Index};

/// More damaged files in a row than this are no accident.
const MOST_DAMAGED_IN_A_ROW: u64 = 1_000;

/// Pauses before reading again what could not be read.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(500),
];

/// Reads a sample's whole file, in place of what the buffer held.
type ReadFile = dyn Fn(&Index, Sample, &mut Vec<u8>) -> io::Result<()> + Send + Sync;

/// Access to the files of an index.
pub(super) struct Files {
    read: Box<ReadFile>,
    pauses: [Duration; PAUSES.len()],
}

/// The picture for a sample's place.
pub(super) struct Found {
    pub(super) image: Image,
    /// Set when it is not the sample's own.
    pub(super) replaced: Option<Replacement>,
}

impl Files {
    pub(super) fn on_disk() -> Self {
        Self {
            read: Box::new(Index::read_file),
            pauses: PAUSES,
        }
    }

    /// Files that are read by `read`, again without a pause.
    #[cfg(test)]
    pub(super) fn read_by(
        read: impl Fn(&Path, &mut Vec<u8>) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self {
            read: Box::new(move |index, sample, bytes| read(&index.locate(sample), bytes)),
            pauses: [Duration::ZERO; PAUSES.len()],
        }
    }

    /// The sample's picture, or that of the next sample that decodes; after the last sample comes the first.
    pub(super) fn find(
        &self,
        index: &Index,
        sample: Sample,
        bytes: &mut Vec<u8>,
    ) -> Result<Found, LoadError> {
        let n = index.n_samples();
        let path = |sample: Sample| index.entry(sample).path();
        let reason = match self.decode(index, sample, bytes)? {
            Ok(image) => {
                return Ok(Found {
                    image,
                    replaced: None,
                });
            }
            Err(error) => error.with_causes(),
        };
        let tried = n.min(MOST_DAMAGED_IN_A_ROW);
        for offset in 1..tried {
            let by = Sample((sample.0 + offset) % n);
            if let Ok(image) = self.decode(index, by, bytes)? {
                let replaced = Some(Replacement {
                    sample,
                    by,
                    path: path(sample),
                    reason,
                });
                return Ok(Found { image, replaced });
            }
        }
        Err(LoadError::NothingDecodes {
            first: index.locate(sample),
            reason,
            tried,
        })
    }

    /// The sample's own picture.
    pub(super) fn decode(
        &self,
        index: &Index,
        sample: Sample,
        bytes: &mut Vec<u8>,
    ) -> Result<Result<Image, DecodeError>, LoadError> {
        self.read(index, sample, bytes)?;
        Ok(decode(bytes))
    }

    fn read(&self, index: &Index, sample: Sample, bytes: &mut Vec<u8>) -> Result<(), LoadError> {
        let mut pauses = self.pauses.iter();
        loop {
            let source = match (self.read)(index, sample, bytes) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if source.kind() == ErrorKind::NotFound {
                return Err(LoadError::Missing(index.locate(sample)));
            }
            let changed = source.get_ref().and_then(|error| error.downcast_ref());
            if let Some(&ChangedSize { indexed, found }) = changed {
                let path = index.locate(sample);
                return Err(LoadError::Changed { path, indexed, found });
            }
            match pauses.next() {
                Some(pause) if may_pass(source.kind()) => std::thread::sleep(*pause),
                _ => {
                    let path = index.locate(sample);
                    return Err(LoadError::Read { path, source });
                }
            }
        }
    }
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files")
            .field("pauses", &self.pauses)
            .finish_non_exhaustive()
    }
}

/// Everything may, but what the path itself rules out: EIO, for one, has no kind of its own.
fn may_pass(kind: ErrorKind) -> bool {
    !matches!(
        kind,
        ErrorKind::PermissionDenied
            | ErrorKind::IsADirectory
            | ErrorKind::NotADirectory
            | ErrorKind::InvalidInput
            | ErrorKind::InvalidFilename
    )
}
