//! An index in the making: classes and files in their order, then written as columns.

use super::{Bytes, CHECKED_FROM, Columns, HEADER, MAGIC, Stamp, Texts, VERSION};

/// How many sections there are; in this order.
pub(super) const SECTIONS: usize = 8;
pub(super) const ROOT: usize = 0;
pub(super) const CLASSES: usize = 1;
pub(super) const FIRSTS: usize = 2;
pub(super) const STARTS: usize = 3;
pub(super) const PATHS: usize = 4;
pub(super) const FOLDERS: usize = 5;
pub(super) const STAMPS: usize = 6;
pub(super) const SHARDS: usize = 7;

/// Bytes hashed at a time.
const HASHED_AT_ONCE: usize = 1 << 16;

/// What [`Columns`] are made of. The parts it leaves out depend on what the index is for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draft {
    /// Of a cached index: whose it is.
    pub(crate) root: Vec<u8>,
    /// When the walk began, in nanoseconds since 1970.
    pub(crate) walked_at: u64,
    /// Of a cached index: each folder that was walked.
    pub(crate) folders: Texts,
    /// The times of each.
    pub(crate) stamps: Vec<Stamp>,
    /// Of a pack: the first sample of each shard.
    pub(crate) shards: Vec<u64>,
    classes: Texts,
    /// First sample of each class.
    firsts: Vec<u64>,
    sizes: Vec<u64>,
    /// Below their classes.
    paths: Texts,
}

impl Draft {
    /// The next class; the files that follow are its.
    pub(crate) fn push_class(&mut self, name: &str) {
        self.classes.push(name.as_bytes());
        self.firsts.push(self.sizes.len() as u64);
    }

    /// The next file of the last class.
    pub(crate) fn push_file(&mut self, below: &[u8], size: u64) {
        self.paths.push(below);
        self.sizes.push(size);
    }

    /// The next files of the last class; their sizes are to be set through [`Self::sizes_mut`].
    pub(crate) fn push_files(&mut self, below: &Texts) {
        self.paths.append(below);
        self.sizes.resize(self.paths.len(), 0);
    }

    pub(crate) fn n_samples(&self) -> usize {
        self.sizes.len()
    }

    /// The sizes of all files.
    pub(crate) fn sizes_mut(&mut self) -> &mut Vec<u64> {
        &mut self.sizes
    }

    pub(crate) fn last_class(&self) -> Option<&[u8]> {
        let last = self.classes.len().checked_sub(1)?;
        Some(self.classes.get(last))
    }

    /// The last file of the last class, if it has one.
    pub(crate) fn last_of_class(&self) -> Option<&[u8]> {
        let last = self.sizes.len().checked_sub(1)?;
        (self.firsts.last().is_some_and(|first| *first <= last as u64)).then(|| self.paths.get(last))
    }

    /// The path of a file below its class.
    pub(crate) fn below(&self, sample: usize) -> &[u8] {
        self.paths.get(sample)
    }

    /// Each class with its samples.
    pub(crate) fn classes(&self) -> impl Iterator<Item = (&[u8], std::ops::Range<usize>)> {
        let ends = self.firsts.iter().skip(1).map(|end| *end as usize);
        let ends = ends.chain([self.sizes.len()]);
        let ranges = self
            .firsts
            .iter()
            .zip(ends)
            .map(|(first, end)| *first as usize..end);
        (0..self.classes.len())
            .map(|class| self.classes.get(class))
            .zip(ranges)
    }

    /// BLAKE3 over the classes' names and each file's relative path, class and size.
    fn fingerprint(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        let mut pending = Vec::with_capacity(2 * HASHED_AT_ONCE);
        let text = |pending: &mut Vec<u8>, length: usize, parts: &[&[u8]]| {
            pending.extend_from_slice(&(length as u64).to_le_bytes());
            for part in parts {
                pending.extend_from_slice(part);
            }
        };
        for (name, _) in self.classes() {
            text(&mut pending, name.len(), &[name]);
        }
        for (class, (name, samples)) in (0u32..).zip(self.classes()) {
            for sample in samples {
                let below = self.paths.get(sample);
                text(&mut pending, name.len() + 1 + below.len(), &[name, b"/", below]);
                text(&mut pending, 4, &[&class.to_le_bytes()]);
                text(&mut pending, 8, &[&self.sizes[sample].to_le_bytes()]);
                if pending.len() >= HASHED_AT_ONCE {
                    hasher.update(&pending);
                    pending.clear();
                }
            }
        }
        hasher.update(&pending);
        hasher.finalize().into()
    }

    /// The index.
    pub(crate) fn finish(&self) -> Columns {
        Columns::parse(Bytes::Owned(self.encode())).expect("what was just written is sound")
    }

    fn encode(&self) -> Vec<u8> {
        let lengths = [
            self.root.len(),
            self.classes.n_bytes(),
            8 * self.firsts.len(),
            8 * (self.sizes.len() + 1),
            self.paths.n_bytes(),
            self.folders.n_bytes(),
            32 * self.stamps.len(),
            8 * self.shards.len(),
        ];
        let mut out = Vec::with_capacity(HEADER + lengths.iter().sum::<usize>());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 32]);
        out.extend_from_slice(&self.fingerprint());
        out.extend_from_slice(&self.walked_at.to_le_bytes());
        out.extend(lengths.iter().flat_map(|length| (*length as u64).to_le_bytes()));
        out.extend_from_slice(&self.root);
        self.classes.write(&mut out);
        out.extend(self.firsts.iter().flat_map(|first| first.to_le_bytes()));
        let mut start = 0u64;
        out.extend_from_slice(&start.to_le_bytes());
        for size in &self.sizes {
            // No disk holds 2^64 bytes, but a damaged listing may say so.
            start = start.saturating_add(*size);
            out.extend_from_slice(&start.to_le_bytes());
        }
        self.paths.write(&mut out);
        self.folders.write(&mut out);
        out.extend(
            self.stamps
                .iter()
                .flat_map(|stamp| stamp.0)
                .flat_map(i64::to_le_bytes),
        );
        out.extend(self.shards.iter().flat_map(|first| first.to_le_bytes()));
        let checksum = blake3::hash(&out[CHECKED_FROM..]);
        out[16..CHECKED_FROM].copy_from_slice(checksum.as_bytes());
        out
    }
}

impl Columns {
    /// The same classes and files, to be given other additions.
    pub(crate) fn to_draft(&self) -> Draft {
        let mut draft = Draft::default();
        for class in 0..self.n_classes() {
            draft.push_class(self.class_name(class));
            for sample in self.of_class(class) {
                let entry = self.entry(sample);
                draft.push_file(entry.place().1, entry.size);
            }
        }
        draft
    }
}
