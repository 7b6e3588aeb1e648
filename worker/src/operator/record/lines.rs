//! Files of a JSON object a line, read one line at a time. A line that cannot be read is counted and skipped.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::marker::PhantomData;
use std::path::Path;

use serde::de::DeserializeOwned;

/// No line of ours is longer: one of metrics holds a number a rank.
const LONGEST: u64 = 16 << 20;

/// Which lines were of no use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Lines that were read.
    pub n_read: u64,
    /// Lines that are no such object.
    pub n_damaged: u64,
    /// The number of the first of these, from 1.
    pub first_damaged: Option<u64>,
    /// Whether the file ends within a line.
    pub is_cut: bool,
    /// Lines of a step that is not after the one before.
    pub n_out_of_order: u64,
}

impl Tally {
    /// Sentences about the lines of `file` that were of no use.
    pub fn told(&self, file: &str) -> Vec<String> {
        let mut told = Vec::new();
        if let Some(first) = self.first_damaged {
            let lines = counted(self.n_damaged, "damaged line");
            told.push(format!(
                "{file}: {lines} skipped, the first is line {first} of the file."
            ));
        }
        if self.is_cut {
            told.push(format!(
                "{file}: the last line is not whole and was skipped; the run writes it now, or was ended while it did."
            ));
        }
        if self.n_out_of_order > 0 {
            let lines = counted(self.n_out_of_order, "line");
            told.push(format!(
                "{file}: {lines} skipped, of a step that is not after the one before."
            ));
        }
        told
    }
}

fn counted(n: u64, what: &str) -> String {
    if n == 1 {
        format!("1 {what} was")
    } else {
        format!("{n} {what}s were")
    }
}

/// The objects of a file, in order.
pub struct Lines<T> {
    file: BufReader<File>,
    line: Vec<u8>,
    /// What was of no use so far.
    pub tally: Tally,
    number: u64,
    of: PhantomData<T>,
}

impl<T: DeserializeOwned> Lines<T> {
    /// Opens the file; there need not be one.
    ///
    /// # Errors
    /// When there is one and it cannot be opened.
    pub fn open(path: &Path) -> io::Result<Option<Self>> {
        match File::open(path) {
            Ok(file) => Ok(Some(Self {
                file: BufReader::with_capacity(1 << 16, file),
                line: Vec::new(),
                tally: Tally::default(),
                number: 0,
                of: PhantomData,
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The next object, or none at the end. Asked again later, it goes on with what was written since.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&mut self) -> io::Result<Option<T>> {
        loop {
            let is_whole = self.read_line()?;
            if self.line.is_empty() {
                self.tally.is_cut = false;
                return Ok(None);
            }
            let parsed = serde_json::from_slice(&self.line);
            // A whole object is one, also where its end of line is still to come.
            if !is_whole && parsed.is_err() && self.line.len() < LONGEST as usize {
                self.tally.is_cut = true;
                return Ok(None);
            }
            self.number += 1;
            let is_blank = self.line.trim_ascii().is_empty();
            self.line.clear();
            if !is_whole && parsed.is_err() {
                self.file.skip_until(b'\n')?;
            }
            match parsed {
                Ok(object) => {
                    self.tally.n_read += 1;
                    return Ok(Some(object));
                }
                Err(_) if is_blank => {}
                Err(_) => {
                    self.tally.n_damaged += 1;
                    self.tally.first_damaged.get_or_insert(self.number);
                }
            }
        }
    }

    /// Reads on to the end of the line, where it is there already. What is there of it is kept.
    fn read_line(&mut self) -> io::Result<bool> {
        let room = LONGEST.saturating_sub(self.line.len() as u64);
        self.file.by_ref().take(room).read_until(b'\n', &mut self.line)?;
        Ok(self.line.ends_with(b"\n"))
    }
}
