//! `metrics.jsonl`, followed: each committed step with the moment at which its line was seen.
//!
//! The file has no times of its own, and a resume replaces it by a shorter one; a line is known by its generation and step,
//! so one that was read before is no news.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use serde::Deserialize;

#[derive(Deserialize)]
struct Key {
    step: u64,
    generation: u64,
}

/// A completed step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// The state's step after it.
    pub(crate) step: u64,
    /// When its line was seen.
    pub(crate) at: Instant,
}

/// All steps seen so far.
pub(crate) struct Steps {
    path: PathBuf,
    inode: u64,
    read: u64,
    /// By generation and step.
    seen: BTreeMap<(u64, u64), Instant>,
}

impl Steps {
    /// Follows a file that need not be there yet.
    pub(crate) fn follow(path: PathBuf) -> Self {
        Self {
            path,
            inode: 0,
            read: 0,
            seen: BTreeMap::new(),
        }
    }

    /// Reads what is new.
    pub(crate) fn look(&mut self) -> Result<()> {
        let cannot = || format!("cannot read {}", self.path.display());
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).with_context(cannot),
        };
        let facts = file.metadata().with_context(cannot)?;
        if facts.ino() != self.inode || facts.len() < self.read {
            (self.inode, self.read) = (facts.ino(), 0);
        }
        if facts.len() == self.read {
            return Ok(());
        }
        let mut new = Vec::new();
        file.seek(SeekFrom::Start(self.read)).with_context(cannot)?;
        file.read_to_end(&mut new).with_context(cannot)?;
        let now = Instant::now();
        // The last line may still be half written; it is read again.
        let whole = new
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |end| end + 1);
        for line in new[..whole]
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            let key: Key = serde_json::from_slice(line)
                .with_context(|| format!("{} has a line that is no step", self.path.display()))?;
            self.seen.entry((key.generation, key.step)).or_insert(now);
        }
        self.read += whole as u64;
        Ok(())
    }

    /// When each step since then was seen, in order.
    pub(crate) fn since(&self, moment: Instant) -> Vec<Instant> {
        let seen = self.seen.values().copied();
        seen.filter(|at| *at >= moment).collect()
    }

    /// The first step of any generation after this one.
    pub(crate) fn first_after(&self, generation: u64) -> Option<Seen> {
        let (&(_, step), &at) = self.seen.range((generation + 1, 0)..).next()?;
        Some(Seen { step, at })
    }

    /// The highest step that was ever committed in this generation or one before it; 0 before the first.
    pub(crate) fn last_up_to(&self, generation: u64) -> u64 {
        let until = self.seen.range(..=(generation, u64::MAX));
        until.map(|((_, step), _)| *step).max().unwrap_or(0)
    }

    /// The newest completed step.
    pub(crate) fn last(&self) -> Option<Seen> {
        let (&(_, step), &at) = self.seen.last_key_value()?;
        Some(Seen { step, at })
    }

    /// How many steps were completed in one generation and again in a later one.
    pub(crate) fn done_again(&self) -> u64 {
        let (mut highest, mut again) = (0, 0);
        for &(_, step) in self.seen.keys() {
            again += u64::from(step <= highest);
            highest = highest.max(step);
        }
        again
    }

    /// When the steps of a generation came.
    pub(crate) fn stamps_of(&self, generation: u64) -> Vec<Instant> {
        let of = self.seen.range((generation, 0)..=(generation, u64::MAX));
        of.map(|(_, at)| *at).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::*;

    fn line(step: u64, generation: u64) -> String {
        format!(r#"{{"step":{step},"loss":1.5,"generation":{generation}}}"#) + "\n"
    }

    #[test]
    fn a_file_cut_back_and_written_anew_tells_the_first_step_after_and_what_was_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut steps = Steps::follow(path.clone());
        steps.look().unwrap();
        fs::write(&path, line(1, 1) + &line(2, 1) + r#"{"step":3,"gen"#).unwrap();
        steps.look().unwrap();
        assert_eq!(steps.stamps_of(1).len(), 2, "half a line is none");
        let first_seen = steps.stamps_of(1)[0];
        fs::write(&path, line(1, 1) + &line(2, 1) + &line(3, 1)).unwrap();
        steps.look().unwrap();
        assert!(steps.first_after(1).is_none());
        let beside = folder.path().join("new");
        fs::write(&beside, line(1, 1)).unwrap();
        fs::rename(&beside, &path).unwrap();
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(line(2, 2).as_bytes()).unwrap();
        steps.look().unwrap();
        assert_eq!(steps.first_after(1).unwrap().step, 2);
        assert_eq!(steps.last_up_to(1), 3, "what was cut back counts as done");
        assert_eq!(steps.done_again(), 1);
        assert_eq!(steps.last().unwrap().step, 2);
        assert_eq!(steps.stamps_of(1)[0], first_seen, "read again is no news");
    }
}
