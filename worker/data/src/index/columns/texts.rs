//! Many short byte strings in two columns: where each ends, and all of them in a row.

/// Texts being gathered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Texts {
    ends: Vec<u64>,
    blob: Vec<u8>,
}

impl Texts {
    pub(crate) fn push(&mut self, text: &[u8]) {
        self.blob.extend_from_slice(text);
        self.ends.push(self.blob.len() as u64);
    }

    pub(crate) fn append(&mut self, more: &Self) {
        let base = self.blob.len() as u64;
        self.blob.extend_from_slice(&more.blob);
        self.ends.extend(more.ends.iter().map(|end| base + end));
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn get(&self, i: usize) -> &[u8] {
        let start = i.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.blob[start as usize..self.ends[i] as usize]
    }

    /// The length of [`Self::write`]'s bytes.
    pub(crate) fn n_bytes(&self) -> usize {
        8 + 8 * self.ends.len() + self.blob.len()
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.ends.len() as u64).to_le_bytes());
        out.extend(self.ends.iter().flat_map(|end| end.to_le_bytes()));
        out.extend_from_slice(&self.blob);
    }
}

/// Texts as they were written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TextsRef<'a> {
    ends: &'a [u8],
    blob: &'a [u8],
}

impl<'a> TextsRef<'a> {
    /// The texts of a section, if it can be read as such. Whether the ends rise is left to [`Self::is_rising`].
    pub(crate) fn parse(section: &'a [u8]) -> Option<Self> {
        let n = usize::try_from(number(section.get(..8)?, 0)).ok()?;
        let (ends, blob) = section[8..].split_at_checked(n.checked_mul(8)?)?;
        Some(Self { ends, blob })
    }

    /// Whether each text ends where the next begins, and the last with the section.
    pub(crate) fn is_rising(self) -> bool {
        last_if_rising(self.ends) == Some(self.blob.len() as u64)
    }

    pub(crate) fn len(self) -> u64 {
        self.ends.len() as u64 / 8
    }

    pub(crate) fn get(self, i: u64) -> &'a [u8] {
        let i = usize::try_from(i).expect("it lies in memory");
        let start = i.checked_sub(1).map_or(0, |before| number(self.ends, before));
        &self.blob[start as usize..number(self.ends, i) as usize]
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        (0..self.len()).map(move |i| self.get(i))
    }
}

/// The last number of a column whose numbers never fall, 0 of an empty one.
pub(crate) fn last_if_rising(column: &[u8]) -> Option<u64> {
    let mut numbers = column.chunks_exact(8).map(|bytes| number(bytes, 0));
    numbers.try_fold(0, |last, next| (last <= next).then_some(next))
}

/// The `i`th number of a column.
pub(crate) fn number(column: &[u8], i: usize) -> u64 {
    let bytes = column[8 * i..8 * i + 8]
        .try_into()
        .expect("eight bytes are eight");
    u64::from_le_bytes(bytes)
}
