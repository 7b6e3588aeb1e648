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

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use m2t_common::machine_link::DataFacts;

use crate::beside;
use crate::index::{Columns, Draft, EntryRef, Index};
pub use difference::{Difference, Differences};

/// The first line.
const HEADER: &str = "m2t data listing 1";

/// What an index holds, without where it is.
#[derive(Clone, Debug)]
pub struct Listing(Arc<Columns>);

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
    let beside = beside::create(folder, ".listing-")?;
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
    let mut files = index.entries().peekable();
    for (number, class) in (0u32..).zip(index.classes()) {
        writeln!(out, "class {}", escape(class.as_bytes()))?;
        while let Some(entry) = files.next_if(|entry| entry.class == number) {
            writeln!(
                out,
                "{} {}",
                entry.size,
                escape(entry.below.as_os_str().as_bytes())
            )?;
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
    let mut reading = Draft::default();
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
            take(&mut reading, text).map_err(|what| ListingError::Line {
                path: path.to_owned(),
                line: number,
                what,
            })?;
        }
    }
    Ok(Listing(Arc::new(reading.finish())))
}

impl Listing {
    /// The listing of an index.
    pub fn of(index: &Index) -> Self {
        Self(Arc::clone(index.columns()))
    }

    /// N and the fingerprint; those of the index it was made of.
    pub fn facts(&self) -> DataFacts {
        self.0.facts()
    }

    /// Names of the class folders, sorted.
    pub fn classes(&self) -> impl Iterator<Item = &str> {
        (0..self.0.n_classes()).map(|class| self.0.class_name(class))
    }

    /// The files, sorted by class and then by the bytes of their path.
    pub fn entries(&self) -> impl Iterator<Item = EntryRef<'_>> {
        (0..self.0.n_samples()).map(|sample| self.0.entry(sample))
    }
}

/// Takes in a line after the first; on a refusal, what the line is.
fn take(reading: &mut Draft, line: &[u8]) -> Result<(), &'static str> {
    if let Some(name) = line.strip_prefix(b"class ") {
        let name = unescape(name).and_then(|name| String::from_utf8(name).ok());
        let name = name.ok_or("no class name")?;
        if reading.last_class().is_some_and(|last| last >= name.as_bytes()) {
            return Err("a class out of order");
        }
        reading.push_class(&name);
        return Ok(());
    }
    if reading.last_class().is_none() {
        return Err("a file without a class");
    }
    let mut parts = line.splitn(2, |&byte| byte == b' ');
    let size = parts
        .next()
        .and_then(|size| std::str::from_utf8(size).ok()?.parse().ok());
    let size = size.ok_or("no file's size and path")?;
    let below = parts.next().and_then(unescape).ok_or("no file's size and path")?;
    if reading.last_of_class().is_some_and(|last| *last >= *below) {
        return Err("a file out of order");
    }
    reading.push_file(&below, size);
    Ok(())
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
