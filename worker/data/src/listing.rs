//! A data folder's listing on disk, and how two listings differ: what a run is bound to, so that a machine whose data
//! differ can be told the first file that does.
//!
//! ```text
//! m2t data listing 1
//! class n01440764
//! 13697 n01440764_10026.JPEG
//! ```
//! Gzip'ed lines in the order of the index; a file's path is below its class. A backslash, a control character or a
//! byte that is not UTF-8 is written `\xHH`, so that any path survives. Contents are not looked at: two folders with
//! equal listings number the same samples, which is what [`Index::facts`] tells in one line.

mod difference;

use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use m2t_common::machine_link::DataFacts;

use crate::index::{self, Entry, Index};
pub use difference::{Difference, Differences};

/// The first line.
const HEADER: &str = "m2t data listing 1";

/// What an index holds, without where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Names of the class folders, sorted.
    pub classes: Vec<String>,
    /// The files, sorted by class and then by the bytes of their path.
    pub files: Vec<Entry>,
}

/// A file that is no listing.
#[derive(Debug, thiserror::Error)]
pub enum ListingError {
    /// It cannot be read, or its compressed data are damaged or end too early.
    #[error("the data listing {} cannot be read; restore it, or remove it to have it written again", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is another kind of file, or that of another version.
    #[error("{} is no data listing of this version of m2t; remove it to have it written again", .0.display())]
    Header(PathBuf),
    /// A line says what no listing says.
    #[error(
        "line {line} of the data listing {} is {what}; restore it, or remove it to have it written again",
        path.display()
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: u64,
        /// What it is.
        what: &'static str,
    },
}

/// Writes the listing of `index`: beside `to` first, then renamed, so that a listing is whole or not there.
pub fn write(index: &Index, to: &Path) -> io::Result<()> {
    let folder = match to.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    // A temporary file is private by default; a listing is for every machine, as far as the umask allows.
    let beside = tempfile::Builder::new()
        .prefix(".listing-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)?;
    let mut out = GzEncoder::new(BufWriter::new(beside), Compression::fast());
    write_lines(index, &mut out)?;
    let beside = out
        .finish()?
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    beside.as_file().sync_all()?;
    beside.persist(to)?;
    File::open(folder)?.sync_all()
}

fn write_lines(index: &Index, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{HEADER}")?;
    let mut files = index.files.iter().peekable();
    for (number, class) in (0u32..).zip(&index.classes) {
        writeln!(out, "class {}", escape(class.as_bytes()))?;
        while let Some(entry) = files.next_if(|entry| entry.class == number) {
            let below = entry
                .path
                .strip_prefix(class)
                .expect("a file lies below its class");
            writeln!(out, "{} {}", entry.size, escape(below.as_os_str().as_bytes()))?;
        }
    }
    Ok(())
}

/// Reads a listing that [`write()`] wrote.
pub fn read(path: &Path) -> Result<Listing, ListingError> {
    let error = |source| ListingError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(error)?;
    let mut lines = BufReader::new(GzDecoder::new(BufReader::new(file)));
    let mut line = Vec::new();
    let mut reading = Listing {
        classes: Vec::new(),
        files: Vec::new(),
    };
    for number in 1.. {
        line.clear();
        match lines.read_until(b'\n', &mut line) {
            Ok(0) if number > 1 => break,
            Ok(_) => {}
            // What is not compressed at all is another kind of file.
            Err(_) if number == 1 => return Err(ListingError::Header(path.to_owned())),
            Err(source) => return Err(error(source)),
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        if number == 1 {
            if text != HEADER.as_bytes() {
                return Err(ListingError::Header(path.to_owned()));
            }
        } else {
            reading.take(text).map_err(|what| ListingError::Line {
                path: path.to_owned(),
                line: number,
                what,
            })?;
        }
    }
    Ok(reading)
}

impl Listing {
    /// The listing of an index.
    pub fn of(index: &Index) -> Self {
        Self {
            classes: index.classes.clone(),
            files: index.files.clone(),
        }
    }

    /// N and the fingerprint; those of the index it was made of.
    pub fn facts(&self) -> DataFacts {
        index::facts(&self.classes, &self.files)
    }

    /// What the files are sorted by.
    fn place<'a>(&'a self, entry: &'a Entry) -> (&'a str, &'a [u8]) {
        (&self.classes[entry.class as usize], index::bytes(&entry.path))
    }

    /// Takes in a line after the first; on a refusal, what the line is.
    fn take(&mut self, line: &[u8]) -> Result<(), &'static str> {
        if let Some(name) = line.strip_prefix(b"class ") {
            let name = unescape(name).and_then(|name| String::from_utf8(name).ok());
            let name = name.ok_or("no class name")?;
            if self.classes.last().is_some_and(|last| *last >= name) {
                return Err("a class out of order");
            }
            self.classes.push(name);
            return Ok(());
        }
        let class = self.classes.last().ok_or("a file without a class")?;
        let mut parts = line.splitn(2, |&byte| byte == b' ');
        let size = parts
            .next()
            .and_then(|size| std::str::from_utf8(size).ok()?.parse().ok());
        let size = size.ok_or("no file's size and path")?;
        let below = parts.next().and_then(unescape).ok_or("no file's size and path")?;
        let path = Path::new(class).join(OsString::from_vec(below));
        let class = u32::try_from(self.classes.len() - 1).map_err(|_| "one class too many")?;
        let entry = Entry { path, class, size };
        if self
            .files
            .last()
            .is_some_and(|last| self.place(last) >= self.place(&entry))
        {
            return Err("a file out of order");
        }
        self.files.push(entry);
        Ok(())
    }
}

/// Text of one line without a line break, from which [`unescape`] gets the bytes back.
fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            if char == '\\' || char.is_control() {
                let mut utf8 = [0; 4];
                escape_each(char.encode_utf8(&mut utf8).as_bytes(), &mut text);
            } else {
                text.push(char);
            }
        }
        escape_each(chunk.invalid(), &mut text);
    }
    text
}

fn escape_each(bytes: &[u8], text: &mut String) {
    text.extend(bytes.iter().map(|byte| format!("\\x{byte:02x}")));
}

/// The bytes that [`escape`] wrote, or nothing where no escape of its own follows a backslash.
fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.iter().position(|&byte| byte == b'\\') {
        bytes.extend_from_slice(&rest[..at]);
        let digits = rest.get(at + 1..at + 4)?.strip_prefix(b"x")?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = &rest[at + 4..];
    }
    bytes.extend_from_slice(rest);
    Some(bytes)
}

#[cfg(test)]
mod tests;
