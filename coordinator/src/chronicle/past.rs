//! What the output folder tells of before the coordinator started: `metrics.jsonl` and `events.jsonl`, up to their lengths then.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde::de::DeserializeOwned;

use super::LOGGED;
use super::series::{Point, Series};
use super::told::Told;
use crate::output::{EVENTS, METRICS};

/// Events that are handed on: the newest. Enough for the log and for the timeline's generations.
const HANDED_ON: usize = 20 * LOGGED;

/// Files that were opened before anything new was written to them.
#[derive(Debug, Default)]
pub(crate) struct Past {
    metrics: Option<(File, u64)>,
    events: Option<(File, u64)>,
}

impl Past {
    /// Of an output folder. A file that is not there tells nothing.
    pub(super) fn of(folder: &Path) -> Self {
        let open = |name: &str| {
            let file = File::open(folder.join(name)).ok()?;
            let length = file.metadata().ok()?.len();
            Some((file, length))
        };
        Self {
            metrics: open(METRICS),
            events: open(EVENTS),
        }
    }

    /// The series of steps, and the newest events, oldest first.
    pub(super) fn read(self) -> (Series, VecDeque<Told>) {
        let mut series = Series::default();
        each_line(self.metrics, |point: Point| series.add(&point));
        let mut told = VecDeque::new();
        each_line(self.events, |event: Told| {
            if told.len() == HANDED_ON {
                told.pop_front();
            }
            told.push_back(event);
        });
        (series, told)
    }
}

/// Hands on every line that can be read as a `T`.
fn each_line<T: DeserializeOwned>(file: Option<(File, u64)>, mut take: impl FnMut(T)) {
    let Some((file, length)) = file else {
        return;
    };
    let mut lines = BufReader::new(file.take(length));
    let mut line = Vec::new();
    loop {
        line.clear();
        match lines.read_until(b'\n', &mut line) {
            Ok(0) => return,
            Ok(_) => {
                if let Ok(read) = serde_json::from_slice(&line) {
                    take(read);
                }
            }
            Err(error) => {
                tracing::warn!(
                    "What the run did before is shown in part, for it could not be read: {error}."
                );
                return;
            }
        }
    }
}
