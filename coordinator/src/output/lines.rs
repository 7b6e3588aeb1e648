//! A file that grows by lines, on a disk that may be full for a while.
//!
//! Why lines are kept when they cannot be written: a full disk is mended by an operator in a minute, and ending a run of
//! many machines for a line of its log would cost more than the line. What is kept is written, in order, once there is
//! room; a line that was written in half is completed.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Bytes kept at most: more than a day of steps.
const MOST_KEPT: usize = 64 << 20;

/// A file that grows by lines.
pub(super) struct Lines {
    path: PathBuf,
    file: File,
    /// What is not written yet.
    kept: Vec<u8>,
}

impl Lines {
    /// Appends to the file at `path`.
    pub(super) fn append(path: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            file: super::append(path)?,
            kept: Vec::new(),
        })
    }

    /// Adds a line, which ends with its end of line.
    ///
    /// # Errors
    /// When it cannot be written for another reason than a full disk, or more is kept than memory should hold.
    pub(super) fn add(&mut self, line: &str) -> anyhow::Result<()> {
        let was_behind = !self.kept.is_empty();
        self.kept.extend_from_slice(line.as_bytes());
        match (self.catch_up(), was_behind) {
            (Ok(()), false) => Ok(()),
            (Ok(()), true) => {
                tracing::info!(
                    "{} can be written again; nothing of it is lost.",
                    self.path.display()
                );
                Ok(())
            }
            (Err(error), _) if !is_full(&error) || self.kept.len() > MOST_KEPT => Err(self.told(error)),
            (Err(_), true) => Ok(()),
            (Err(error), false) => {
                tracing::error!(
                    "{} cannot be written: {error}; training goes on and its lines are kept in memory: make room there.",
                    self.path.display()
                );
                Ok(())
            }
        }
    }

    /// Writes what is kept, at the end.
    ///
    /// # Errors
    /// When there is still no room.
    pub(super) fn finish(&mut self) -> anyhow::Result<()> {
        self.catch_up().map_err(|error| self.told(error))
    }

    /// What `of` makes of the last line of which it makes something.
    pub(super) fn last<T>(&self, of: impl Fn(&str) -> Option<T>) -> anyhow::Result<Option<T>> {
        let bytes =
            std::fs::read(&self.path).with_context(|| format!("could not read {}", self.path.display()))?;
        let text = String::from_utf8_lossy(&bytes);
        let mut whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        Ok(std::iter::from_fn(|| whole.next_back()).find_map(|line| of(line.trim_end())))
    }

    /// What `of` makes of each line of the file, the first first.
    pub(super) fn all<T>(&self, of: impl Fn(&str) -> Option<T>) -> anyhow::Result<Vec<T>> {
        let text = std::fs::read_to_string(&self.path)
            .with_context(|| format!("could not read {}", self.path.display()))?;
        Ok(text.lines().filter_map(of).collect())
    }

    /// Keeps only the lines that `keep` wants, of those written and not yet written.
    pub(super) fn retain(&mut self, keep: impl Fn(&str) -> bool) -> anyhow::Result<()> {
        let kept = std::mem::take(&mut self.kept);
        super::keep_lines(&self.path, &kept, keep)?;
        self.file = super::append(&self.path)?;
        Ok(())
    }

    fn catch_up(&mut self) -> io::Result<()> {
        while !self.kept.is_empty() {
            match self.file.write(&self.kept) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n_written) => drop(self.kept.drain(..n_written)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn told(&self, error: io::Error) -> anyhow::Error {
        let advice = format!(
            "could not write {}; make room or make it writable, then give the same command again",
            self.path.display()
        );
        Err::<(), _>(error).context(advice).expect_err("it is an error")
    }
}

/// Whether the disk has no room, which may pass.
fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::WriteZero
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_full_disk_does_not_take_is_kept_and_written_when_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let mut lines = Lines::append(Path::new("/dev/full")).unwrap();
        lines.add("one\n").unwrap();
        lines.add("two\n").unwrap();
        assert!(
            lines
                .finish()
                .unwrap_err()
                .to_string()
                .contains("/dev/full; make room"),
            "at the end it counts"
        );
        lines.file = super::super::append(&path).unwrap();
        lines.path.clone_from(&path);
        lines.add("three\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\nthree\n");
        lines.finish().unwrap();
    }

    #[test]
    fn a_cut_reaches_what_is_only_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let mut lines = Lines::append(&path).unwrap();
        lines.add("1\n").unwrap();
        lines.file = File::options().append(true).open("/dev/full").unwrap();
        lines.add("2\n").unwrap();
        lines.add("3\n").unwrap();
        lines.retain(|line| line != "3").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1\n2\n");
    }
}
