//! An index as one run of bytes, the same in memory and on disk: columns instead of an object a file.
//!
//! ```text
//! magic, version, BLAKE3 of all that follows, fingerprint, when it was walked, the sections' lengths; then the sections:
//!   root                              of a cached index: whose it is
//!   class names, first sample a class
//!   starts                            sample i's bytes are starts[i]..starts[i + 1] of all files laid end to end
//!   paths                             each below its class
//!   folders, stamps                   of a cached index: each folder that was walked, and its times then
//!   shards                            of a pack: the first sample of each
//! ```
//! Numbers are little-endian, 64 bits; a text table is the ends of its texts and then the texts. An image of ImageNet takes 38
//! bytes. Why starts and not sizes: a pack lays its files end to end, so the same column is where they lie.
//!
//! What [`Columns::parse`] accepted is sound: every accessor holds for every sample.

mod draft;
mod texts;

use std::ffi::OsStr;
use std::fmt;
use std::ops::{Deref, Range};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::mapped::Mapped;
pub(crate) use draft::Draft;
use draft::SECTIONS;
pub(crate) use texts::Texts;
use texts::{TextsRef, last_if_rising, number};

const MAGIC: [u8; 8] = *b"m2tindex";
/// Of this layout; another version's file is made anew.
const VERSION: u64 = 1;
/// Up to here stand the magic, the version and the checksum of what follows.
const CHECKED_FROM: usize = 8 + 8 + 32;
const HEADER: usize = CHECKED_FROM + 32 + 8 + 8 * SECTIONS;

/// Bytes in memory of this process, or of the machine.
#[derive(Debug)]
pub(crate) enum Bytes {
    Owned(Vec<u8>),
    Mapped(Mapped),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes,
            Self::Mapped(bytes) => bytes,
        }
    }
}

/// Bytes that are no index, and in what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unsound(&'static str);

/// An index.
pub(crate) struct Columns {
    bytes: Bytes,
    /// Where each section lies.
    sections: [Range<usize>; SECTIONS],
    n_samples: u64,
}

/// One image file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryRef<'a> {
    /// Which of the index's classes it belongs to.
    pub class: u32,
    /// The name of that class: the first folder of its path.
    pub class_name: &'a str,
    /// Its path below the class folder.
    pub below: &'a Path,
    /// Size in bytes.
    pub size: u64,
}

impl EntryRef<'_> {
    /// Path below the index's root.
    pub fn path(&self) -> std::path::PathBuf {
        Path::new(self.class_name).join(self.below)
    }

    /// What files are sorted by: the class, and then the bytes of the path.
    pub(crate) fn place(&self) -> (&str, &[u8]) {
        (self.class_name, self.below.as_os_str().as_bytes())
    }
}

/// The times of a folder when it was walked: of its content's and its own last change, each in seconds and nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(pub(crate) [i64; 4]);

impl Columns {
    /// Takes bytes for an index if they are one, to the last.
    pub(crate) fn parse(bytes: Bytes) -> Result<Self, Unsound> {
        if bytes.len() < HEADER {
            return Err(Unsound("it ends within its header"));
        }
        if bytes[..8] != MAGIC || number(&bytes, 1) != VERSION {
            return Err(Unsound("it is no index of this version of m2t"));
        }
        let mut sections = [const { 0..0 }; SECTIONS];
        let mut end = HEADER;
        for (section, length) in sections
            .iter_mut()
            .zip(bytes[HEADER - 8 * SECTIONS..].chunks_exact(8))
        {
            let start = end;
            let length = usize::try_from(number(length, 0)).ok();
            end = length
                .and_then(|length| start.checked_add(length))
                .filter(|end| *end <= bytes.len())
                .ok_or(Unsound("it ends too early"))?;
            *section = start..end;
        }
        if end != bytes.len() {
            return Err(Unsound("it goes on after its end"));
        }
        if *blake3::hash(&bytes[CHECKED_FROM..]).as_bytes() != bytes[16..CHECKED_FROM] {
            return Err(Unsound("its checksum is another"));
        }
        let mut columns = Self {
            bytes,
            sections,
            n_samples: 0,
        };
        columns.n_samples = columns
            .validate()
            .ok_or(Unsound("its columns contradict each other"))?;
        Ok(columns)
    }

    /// N, if every column is what the accessors rely on.
    fn validate(&self) -> Option<u64> {
        let classes = TextsRef::parse(self.section(draft::CLASSES))?;
        let paths = TextsRef::parse(self.section(draft::PATHS))?;
        let folders = TextsRef::parse(self.section(draft::FOLDERS))?;
        if ![classes, paths, folders].into_iter().all(TextsRef::is_rising) {
            return None;
        }
        let n_samples = paths.len();
        let rising = |section, up_to: Option<u64>| {
            let column = self.section(section);
            let is_within = |last| up_to.is_none_or(|up_to| last <= up_to);
            column.len().is_multiple_of(8) && last_if_rising(column).is_some_and(is_within)
        };
        let starts = self.section(draft::STARTS);
        let firsts = self.section(draft::FIRSTS);
        let shards = self.section(draft::SHARDS);
        let sound = u32::try_from(classes.len()).is_ok()
            && classes.iter().all(|name| std::str::from_utf8(name).is_ok())
            && firsts.len() as u64 == classes.len() * 8
            && (classes.len() > 0 || n_samples == 0)
            && (n_samples == 0 || number(firsts, 0) == 0)
            && rising(draft::FIRSTS, Some(n_samples))
            && starts.len() as u64 == (n_samples + 1) * 8
            && number(starts, 0) == 0
            && rising(draft::STARTS, None)
            && rising(draft::SHARDS, Some(n_samples))
            && (shards.is_empty() || number(shards, 0) == 0)
            && self.section(draft::STAMPS).len() as u64 == folders.len() * 32;
        sound.then_some(n_samples)
    }

    fn section(&self, number: usize) -> &[u8] {
        &self.bytes[self.sections[number].clone()]
    }

    fn texts(&self, section: usize) -> TextsRef<'_> {
        TextsRef::parse(self.section(section)).expect("it was parsed before")
    }

    /// The whole, as it is on disk.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        let bytes = &self.bytes[CHECKED_FROM..CHECKED_FROM + 32];
        bytes.try_into().expect("it is 32 bytes")
    }

    /// When the walk began, in nanoseconds since 1970; 0 if there was none.
    pub(crate) fn walked_at(&self) -> u64 {
        number(&self.bytes, CHECKED_FROM / 8 + 4)
    }

    pub(crate) fn root(&self) -> &Path {
        path(self.section(draft::ROOT))
    }

    pub(crate) fn n_samples(&self) -> u64 {
        self.n_samples
    }

    pub(crate) fn n_classes(&self) -> u32 {
        u32::try_from(self.section(draft::FIRSTS).len() / 8).expect("as parsed")
    }

    pub(crate) fn class_name(&self, class: u32) -> &str {
        std::str::from_utf8(self.texts(draft::CLASSES).get(class.into())).expect("as parsed")
    }

    /// The samples of a class.
    pub(crate) fn of_class(&self, class: u32) -> Range<u64> {
        self.samples_of(draft::FIRSTS, class as usize)
    }

    /// From the first sample of a part to that of the next, or to the last.
    fn samples_of(&self, firsts: usize, part: usize) -> Range<u64> {
        let firsts = self.section(firsts);
        let next = part + 1;
        let end = if 8 * next < firsts.len() {
            number(firsts, next)
        } else {
            self.n_samples
        };
        number(firsts, part)..end
    }

    pub(crate) fn entry(&self, sample: u64) -> EntryRef<'_> {
        let firsts = self.section(draft::FIRSTS);
        let class = last_at_most(firsts, sample);
        let class = u32::try_from(class).expect("as parsed");
        EntryRef {
            class,
            class_name: self.class_name(class),
            below: path(self.texts(draft::PATHS).get(sample)),
            size: self.start(sample + 1) - self.start(sample),
        }
    }

    /// Where a sample's bytes begin if all files lie end to end; of N, how many bytes there are.
    pub(crate) fn start(&self, sample: u64) -> u64 {
        number(
            self.section(draft::STARTS),
            usize::try_from(sample).expect("it lies in memory"),
        )
    }

    pub(crate) fn n_shards(&self) -> usize {
        self.section(draft::SHARDS).len() / 8
    }

    /// The samples of a shard.
    pub(crate) fn shard(&self, shard: usize) -> Range<u64> {
        self.samples_of(draft::SHARDS, shard)
    }

    /// Which shard a sample lies in; of an index with shards.
    pub(crate) fn shard_of(&self, sample: u64) -> usize {
        last_at_most(self.section(draft::SHARDS), sample)
    }

    /// Each folder that was walked, with its times then.
    pub(crate) fn folders(&self) -> impl Iterator<Item = (&Path, Stamp)> {
        let folders = self.texts(draft::FOLDERS);
        let stamps = self.section(draft::STAMPS).chunks_exact(32);
        (0..folders.len()).zip(stamps).map(move |(folder, stamp)| {
            let stamp = [0, 1, 2, 3].map(|i| number(stamp, i).cast_signed());
            (path(folders.get(folder)), Stamp(stamp))
        })
    }
}

/// The place of the last number of a rising column that is at most `value`; the first is 0.
fn last_at_most(column: &[u8], value: u64) -> usize {
    let (mut low, mut high) = (0, column.len() / 8);
    while low + 1 < high {
        let middle = usize::midpoint(low, high);
        if number(column, middle) <= value {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

impl fmt::Debug for Columns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n_bytes = self.bytes.len();
        f.debug_struct("Columns")
            .field("n_samples", &self.n_samples)
            .field("n_bytes", &n_bytes)
            .finish_non_exhaustive()
    }
}
