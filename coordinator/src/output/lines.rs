//! A file that grows by lines, on a disk that may be full for a while.
//!
//! Why lines are kept when they cannot be written: a full disk is mended by an operator in a minute, and ending a run of
//! many machines for a line of its log would cost more than the line. What is kept is written, in order, once there is
//! room; a line that was written in half is completed.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Bytes kept at most: more than a day of steps.
const MOST_KEPT: usize = 64 << 20;

/// Bytes read at once from a file's end.
const BLOCK: u64 = 64 << 10;

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

    /// What `of` makes of the last line of which it makes something. However long the file is, only its end is read.
    pub(super) fn last<T>(&self, of: impl Fn(&str) -> Option<T>) -> anyhow::Result<Option<T>> {
        let found = File::open(&self.path).and_then(|file| last_line(&file, of));
        let found = found.with_context(|| format!("could not read {}", self.path.display()))?;
        Ok(found.map(|(made, _)| made))
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

    /// Keeps the lines up to the last that `keep` wants. Where that is all, only the file's end is read; else it is written anew, so that
    /// whoever reads along sees another file.
    pub(super) fn cut(&mut self, keep: impl Fn(&str) -> bool) -> anyhow::Result<()> {
        if !self.kept.is_empty() {
            return self.retain(keep);
        }
        let look = || -> io::Result<_> {
            let file = File::open(&self.path)?;
            let end = last_line(&file, |line| keep(line).then_some(()))?.map_or(0, |((), end)| end);
            let is_all = end == file.metadata()?.len();
            Ok((!is_all).then(|| file.take(end)))
        };
        let left = look().with_context(|| format!("could not read {}", self.path.display()))?;
        if let Some(mut left) = left {
            super::replace_by(&self.path, |anew| io::copy(&mut left, anew).map(drop))?;
            self.file = super::append(&self.path)?;
        }
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

/// The last whole line of which `of` makes something: what it makes, and where the line ends.
fn last_line<T>(file: &File, of: impl Fn(&str) -> Option<T>) -> io::Result<Option<(T, u64)>> {
    // What was not looked at yet is before `begin`, and `bytes`, which begin there and end with a line.
    let (mut begin, mut bytes) = (file.metadata()?.len(), Vec::new());
    loop {
        let end = bytes.iter().rposition(|byte| *byte == b'\n');
        bytes.truncate(end.map_or(0, |end| end + 1));
        let before = bytes.iter().rev().skip(1).position(|byte| *byte == b'\n');
        let line = before.map(|length| bytes.len() - 1 - length);
        let Some(line) = line.or_else(|| (begin == 0).then_some(0)) else {
            let n = begin.min(BLOCK);
            begin -= n;
            let mut longer = vec![0; n as usize];
            file.read_exact_at(&mut longer, begin)?;
            longer.append(&mut bytes);
            bytes = longer;
            continue;
        };
        if bytes.is_empty() {
            return Ok(None);
        }
        if let Some(made) = of(String::from_utf8_lossy(&bytes[line..]).trim_end()) {
            return Ok(Some((made, begin + bytes.len() as u64)));
        }
        bytes.truncate(line);
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

    /// A file of this text, and what it is as lines.
    fn lines_of(text: &str) -> (tempfile::TempDir, Lines) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        std::fs::write(&path, text).unwrap();
        let lines = Lines::append(&path).unwrap();
        (folder, lines)
    }

    #[test]
    fn the_last_line_is_found_in_files_of_any_length() {
        let number = |line: &str| line.split(' ').next()?.parse::<u64>().ok();
        for (text, expected) in [
            ("", None),
            ("1", None),
            ("\n", None),
            ("1\n", Some(1)),
            ("1\n2", Some(1)),
        ] {
            assert_eq!(lines_of(text).1.last(number).unwrap(), expected, "{text:?}");
        }
        // Lines shorter than a block, of about one, and of several; and a torn one, or others, after them.
        for length in [0, 10, BLOCK as usize - 3, 3 * BLOCK as usize] {
            let text: String = (1..=5).map(|i| format!("{i} {}\n", "x".repeat(length))).collect();
            for rest in ["", "6", "\n\nnone\n", &"y".repeat(2 * BLOCK as usize)] {
                let (_folder, lines) = lines_of(&(text.clone() + rest));
                let found = |below| lines.last(|line| number(line).filter(|n| *n < below)).unwrap();
                assert_eq!(
                    [9, 3, 1].map(found),
                    [Some(5), Some(2), None],
                    "{length} {rest:.9}"
                );
            }
        }
    }

    #[test]
    fn a_cut_writes_a_file_anew_only_where_it_takes_something_out() {
        use std::os::unix::fs::MetadataExt;
        let (folder, mut lines) = lines_of("1\n2\n3\n4");
        let path = folder.path().join("lines");
        let file = || {
            (
                std::fs::read_to_string(&path).unwrap(),
                std::fs::metadata(&path).unwrap().ino(),
            )
        };
        let (_, torn) = file();
        lines.cut(|_| true).unwrap();
        let (text, whole) = file();
        assert_eq!(text, "1\n2\n3\n");
        assert_ne!(whole, torn, "who reads along sees that it is another file");
        lines.cut(|line| line != "4").unwrap();
        assert_eq!(file(), (text, whole));
        lines.cut(|line| line == "2").unwrap();
        lines.add("5\n").unwrap();
        assert_eq!(file().0, "1\n2\n5\n");
        lines.cut(|_| false).unwrap();
        lines.add("6\n").unwrap();
        assert_eq!(file().0, "6\n");
    }
}
