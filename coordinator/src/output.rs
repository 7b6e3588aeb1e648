//! The output folder: the resolved recipe, metrics, log and events. The coordinator alone writes them.

mod lines;
mod metrics;
mod samples;
mod train_log;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use m2t_common::evaluation::{EVALUATIONS_FILE, EvaluationLine};
use m2t_common::ledger::{Account, LEDGER_FILE, SampleLine};
use m2t_common::recipe::LedgerDetail;
use m2t_common::{Recipe, Step};
use m2t_coordinator_core::CommittedStep;

use crate::chronicle::Told;
use crate::open::Refused;
use lines::Lines;
use samples::Samples;

/// An output folder that this process owns.
pub(crate) struct Output {
    folder: PathBuf,
    probe: String,
    metrics: Lines,
    train_log: Lines,
    events: Lines,
    evaluations: Lines,
    /// Where the recipe wants them kept.
    samples: Option<Samples>,
    /// Held locked for as long as this lives; the lock goes with the process, however it ends.
    _lock: File,
}

pub(crate) const METRICS: &str = "metrics.jsonl";
const TRAIN_LOG: &str = "train_log.txt";
pub(crate) const EVENTS: &str = "events.jsonl";

impl Output {
    /// Makes the folder where it is missing, and locks it against a second coordinator.
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).map_err(|e| {
            Refused::new(format!(
                "could not make the output folder {}: {e}; choose another with --output",
                folder.display()
            ))
        })?;
        let lock = append(&folder.join(".lock"))?;
        lock.try_lock().map_err(|e| {
            let folder = folder.display();
            Refused::new(match e {
                TryLockError::WouldBlock => format!(
                    "another coordinator works in the output folder {folder}; stop it or choose another with --output"
                ),
                TryLockError::Error(e) => {
                    format!("could not lock the output folder {folder}: {e}; choose another with --output")
                }
            })
        })?;
        Ok(Self {
            probe: write_probe(folder)?,
            metrics: Lines::append(&folder.join(METRICS))?,
            train_log: Lines::append(&folder.join(TRAIN_LOG))?,
            events: Lines::append(&folder.join(EVENTS))?,
            evaluations: Lines::append(&folder.join(EVALUATIONS_FILE))?,
            samples: None,
            folder: folder.to_owned(),
            _lock: lock,
        })
    }

    /// Where it is.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Content of the probe file.
    pub(crate) fn probe(&self) -> &str {
        &self.probe
    }

    /// Writes the resolved recipe.
    pub(crate) fn write_recipe(&self, recipe: &Recipe) -> anyhow::Result<()> {
        let mut json = serde_json::to_vec_pretty(recipe).context("a recipe is plain data")?;
        json.push(b'\n');
        replace(&self.folder.join("recipe.json"), &json)
    }

    /// Writes what counts so far. The journal holds it, too: where it cannot be written, the next time will do.
    pub(crate) fn write_ledger(&self, account: &Account) {
        let json = serde_json::to_vec(account).expect("a ledger is plain data");
        if let Err(error) = replace(&self.folder.join(LEDGER_FILE), &json) {
            tracing::warn!("The ledger is behind: {error:#}.");
        }
    }

    /// Adds a committed step to metrics and log.
    pub(crate) fn add_step(&mut self, step: &CommittedStep) -> anyhow::Result<()> {
        let line = metrics::line(step).context("a metric is plain data")?;
        self.metrics.add(&line)?;
        self.train_log.add(&train_log::line(step))
    }

    /// Keeps what ranks consume, or does not. Metrics and log tell of the steps up to `upto`. Returns the last step of which the
    /// samples need not be told any more.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub(crate) fn keep_samples(&mut self, detail: LedgerDetail, upto: Step) -> anyhow::Result<Step> {
        self.samples = Samples::open(&self.folder, detail, upto)?;
        Ok(self.samples.as_ref().map_or(upto, Samples::last))
    }

    /// Adds what was consumed in a committed step.
    pub(crate) fn add_samples(&mut self, line: &SampleLine) -> anyhow::Result<()> {
        self.samples.as_mut().map_or(Ok(()), |samples| samples.add(line))
    }

    /// Adds what an encoder is worth.
    pub(crate) fn add_evaluation(&mut self, evaluation: &EvaluationLine) -> anyhow::Result<()> {
        let mut line = serde_json::to_string(evaluation).context("a figure is plain data")?;
        line.push('\n');
        self.evaluations.add(&line)
    }

    /// What encoders were worth, oldest first. A line that a crash left in half is taken out.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub(crate) fn evaluations(&mut self) -> anyhow::Result<Vec<EvaluationLine>> {
        let read = |line: &str| serde_json::from_str::<EvaluationLine>(line).ok();
        self.evaluations.retain(|line| read(line).is_some())?;
        self.evaluations.all(read)
    }

    /// Takes every step after `after` out of metrics, log, evaluations and samples.
    pub(crate) fn cut_back(&mut self, after: Step) -> anyhow::Result<()> {
        if let Some(samples) = &mut self.samples {
            samples.cut_back(after)?;
        }
        self.evaluations
            .retain(|line| metrics::step_of(line).is_some_and(|step| step <= after))?;
        self.metrics
            .cut(|line| metrics::step_of(line).is_some_and(|step| step <= after))?;
        self.train_log
            .cut(|line| train_log::step_of(line).is_some_and(|step| step <= after))
    }

    /// The last step that metrics and log both tell of. What a crash left in half, or in one of the two only, is taken out; what is left
    /// where somebody took one of them away stays.
    ///
    /// # Errors
    /// When they cannot be read or written.
    pub(crate) fn last_step(&mut self) -> anyhow::Result<Step> {
        let in_metrics = self.metrics.last(metrics::step_of)?;
        let in_log = self.train_log.last(train_log::step_of)?;
        let both = match (in_metrics, in_log) {
            (Some(metrics), Some(log)) => metrics.min(log),
            // A crash leaves no more than one line too many.
            (Some(last), None) | (None, Some(last)) if last > Step(1) => {
                let gone = if in_log.is_none() { TRAIN_LOG } else { METRICS };
                tracing::warn!(
                    "{} tells of no step although {last} steps are done; it begins anew there, and an audit will miss what it said.",
                    self.folder.join(gone).display()
                );
                last
            }
            _ => Step(0),
        };
        self.cut_back(both)?;
        Ok(both)
    }

    /// Adds an event.
    pub(crate) fn add_event(&mut self, event: &Told) -> anyhow::Result<()> {
        let mut line = serde_json::to_string(event).context("an event is plain data")?;
        line.push('\n');
        self.events.add(&line)
    }

    /// Writes what is still kept in memory.
    ///
    /// # Errors
    /// When the disk is still full.
    pub(crate) fn finish(&mut self) -> anyhow::Result<()> {
        self.metrics.finish()?;
        self.train_log.finish()?;
        if let Some(samples) = &mut self.samples {
            samples.finish()?;
        }
        self.evaluations.finish()?;
        self.events.finish()
    }
}

/// Writes a text nobody else has: a machine that reads it in its output folder sees this folder. It stays the same when the
/// coordinator is started again, so that machines need not look at their folders again.
fn write_probe(folder: &Path) -> anyhow::Result<String> {
    if let Ok(probe) = fs::read_to_string(folder.join(".probe"))
        && blake3::Hash::from_hex(&probe).is_ok()
    {
        return Ok(probe);
    }
    let moment = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    let seed = format!(
        "{} {} {}",
        folder.display(),
        std::process::id(),
        moment.as_nanos()
    );
    let probe = blake3::hash(seed.as_bytes()).to_hex().to_string();
    replace(&folder.join(".probe"), probe.as_bytes())?;
    Ok(probe)
}

fn append(path: &Path) -> anyhow::Result<File> {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    Ok(opened.map_err(|e| {
        Refused::new(format!(
            "could not write {}: {e}; check its permissions",
            path.display()
        ))
    })?)
}

/// Replaces a file whole: readers see the old content or the new.
fn replace(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    replace_by(path, |anew| anew.write_all(content))
}

/// As [`replace`], by what `write` writes.
fn replace_by(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> anyhow::Result<()> {
    let beside = path.with_extension("new");
    let put_there = || -> io::Result<()> {
        let mut file = File::create(&beside)?;
        write(&mut file)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    put_there().with_context(|| {
        format!(
            "could not write {}; look whether the disk is full",
            path.display()
        )
    })
}

/// Drops the lines that `keep` refuses, among them one that was cut by a crash, from the file and from what is to follow it.
fn keep_lines(path: &Path, more: &[u8], keep: impl Fn(&str) -> bool) -> anyhow::Result<()> {
    let mut bytes = fs::read(path).with_context(|| format!("could not read {}", path.display()))?;
    let n_on_disk = bytes.len();
    bytes.extend_from_slice(more);
    let text = String::from_utf8_lossy(&bytes);
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let kept: String = whole.filter(|line| keep(line.trim_end())).collect();
    if kept.as_bytes() != &bytes[..n_on_disk] {
        replace(path, kept.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
