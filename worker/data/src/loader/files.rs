//! From a sample's number to a decoded picture: reading with retries, and replacing what cannot be decoded.
//!
//! Two kinds of trouble, kept apart. *Reading* fails because of a disk, a network or a missing file: that may pass, so
//! it is tried again, and then it is an error; replacing would make the result depend on the weather. *Decoding* fails
//! because of the file's bytes, for every machine alike: the next sample that decodes takes the place.

use std::fmt;
use std::io::{self, ErrorKind};
#[cfg(test)]
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use m2t_common::shard::Sample;

use super::stages::{StageTimes, timed};
use super::watch::Watch;
use super::window::Claim;
use super::{LoadError, Replacement};
use crate::decode::{DecodeError, Decoder, Image};
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

/// What a thread works with, kept from image to image.
pub(super) struct Desk {
    bytes: Vec<u8>,
    decoder: Decoder,
    /// The picture that was found last.
    pub(super) image: Image,
    /// How long finding it took.
    pub(super) times: StageTimes,
    /// How often reading was found slow meanwhile.
    pub(super) n_slow: usize,
    claim: Option<Claim>,
    watch: Arc<Watch>,
}

impl Desk {
    pub(super) fn new(watch: Arc<Watch>) -> Self {
        Self {
            bytes: Vec::new(),
            decoder: Decoder::default(),
            image: Image::default(),
            times: StageTimes::default(),
            n_slow: 0,
            claim: None,
            watch,
        }
    }

    /// Before each image of a batch.
    pub(super) fn begin(&mut self, claim: Claim) {
        self.times = StageTimes::default();
        self.claim = Some(claim);
    }
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

    /// Puts the sample's picture on the desk, or that of the next sample that decodes; after the last sample comes the first.
    pub(super) fn find(
        &self,
        index: &Index,
        sample: Sample,
        desk: &mut Desk,
    ) -> Result<Option<Replacement>, LoadError> {
        let n = index.n_samples();
        let Err(error) = self.decode(index, sample, desk)? else {
            return Ok(None);
        };
        let (reason, path) = (error.with_causes(), index.entry(sample).path());
        let tried = n.min(MOST_DAMAGED_IN_A_ROW);
        for offset in 1..tried {
            let by = Sample((sample.0 + offset) % n);
            if self.decode(index, by, desk)?.is_ok() {
                return Ok(Some(Replacement {
                    sample,
                    by,
                    path,
                    reason,
                }));
            }
        }
        Err(LoadError::NothingDecodes {
            first: index.locate(sample),
            reason,
            tried,
        })
    }

    /// Puts the sample's own picture on the desk.
    pub(super) fn decode(
        &self,
        index: &Index,
        sample: Sample,
        desk: &mut Desk,
    ) -> Result<Result<(), DecodeError>, LoadError> {
        self.read(index, sample, desk)?;
        let Desk {
            bytes,
            decoder,
            image,
            times,
            ..
        } = desk;
        Ok(timed(&mut times.decode, || decoder.decode(bytes, image)))
    }

    fn read(&self, index: &Index, sample: Sample, desk: &mut Desk) -> Result<(), LoadError> {
        let mut pauses = self.pauses.iter();
        loop {
            desk.watch.begin(sample, desk.claim);
            let bytes = &mut desk.bytes;
            let result = timed(&mut desk.times.read, || (self.read)(index, sample, bytes));
            desk.n_slow += usize::from(desk.watch.end());
            let Err(source) = result else {
                return Ok(());
            };
            let path = || index.locate(sample);
            if source.kind() == ErrorKind::NotFound {
                return Err(LoadError::Missing(path()));
            }
            let changed = source.get_ref().and_then(|error| error.downcast_ref());
            if let Some(&ChangedSize { indexed, found }) = changed {
                return Err(LoadError::Changed {
                    path: path(),
                    indexed,
                    found,
                });
            }
            match pauses.next() {
                Some(pause) if may_pass(source.kind()) => std::thread::sleep(*pause),
                _ => return Err(LoadError::Read { path: path(), source }),
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
