//! The one place of this crate that maps files: an index is read by every process of a machine and held once.
//!
//! Only files are mapped that are written once, under another name, and then never changed. Photographs are not:
//! whoever reads a mapped file that another shortens is killed (SIGBUS), while `read` tells an error that can be named.

#![expect(unsafe_code, reason = "mapping a file is unsafe; nothing else here is")]

use std::fs::File;
use std::io;
use std::ops::Deref;

use memmap2::Mmap;

/// A file's content, read-only.
#[derive(Debug)]
pub(crate) struct Mapped(Mmap);

impl Mapped {
    /// Maps the whole of a file, which stays mapped when `file` is closed.
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        // SAFETY: the bytes must not change while they are mapped. The files given here are whole when they get their
        // name and are replaced by a rename, which leaves the mapped one as it was; m2t opens none of them for writing.
        // The cache's files are also named by the machine, so that no other machine replaces one on a shared disk. A
        // user who writes into such a file by hand breaks this, as one does who writes into a running program.
        let map = unsafe { Mmap::map(file) }?;
        Ok(Self(map))
    }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
