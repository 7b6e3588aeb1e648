//! `samples.jsonl`, the full ledger: a line a committed step, with the samples each rank consumed.
//!
//! The file is there exactly where it tells of the run from its first step on: an audit takes a step that is missing for a fault.
//! So it is not begun in the midst of a run, and one that is no longer kept is renamed.

use std::fs;
use std::path::Path;

use anyhow::Context;
use m2t_common::Step;
use m2t_common::ledger::{SAMPLES_FILE, SampleLine};
use m2t_common::recipe::LedgerDetail;

use super::lines::Lines;
use super::metrics::step_of;

/// The file, and how far it goes.
pub(super) struct Samples {
    lines: Lines,
    last: Step,
}

impl Samples {
    /// Opens it where `detail` asks for it. What is beyond `upto`, or was cut by a crash, is taken out.
    pub(super) fn open(folder: &Path, detail: LedgerDetail, upto: Step) -> anyhow::Result<Option<Self>> {
        let path = folder.join(SAMPLES_FILE);
        match (detail, path.exists()) {
            (LedgerDetail::Brief, false) => return Ok(None),
            (LedgerDetail::Brief, true) => {
                let aside = folder.join(format!("samples.until-{upto}.jsonl"));
                fs::rename(&path, &aside).with_context(|| format!("could not rename {}", path.display()))?;
                tracing::warn!(
                    "The samples that ranks consume are no longer kept, for the recipe says run.ledger = \"brief\"; those of before are in {}.",
                    aside.display()
                );
                return Ok(None);
            }
            (LedgerDetail::Full, false) if upto > Step(0) => {
                tracing::warn!(
                    "The samples that ranks consume are not kept: run.ledger = \"full\" counts from the beginning of a run, and this one is at step {upto}."
                );
                return Ok(None);
            }
            (LedgerDetail::Full, _) => {}
        }
        let mut lines = Lines::append(&path)?;
        lines.cut(|line| step_of(line).is_some_and(|step| step <= upto))?;
        let last = lines.last(step_of)?.unwrap_or_default();
        Ok(Some(Self { lines, last }))
    }

    /// The last step it tells of.
    pub(super) fn last(&self) -> Step {
        self.last
    }

    /// Adds a line.
    pub(super) fn add(&mut self, line: &SampleLine) -> anyhow::Result<()> {
        let mut text = serde_json::to_string(line).context("samples are plain data")?;
        text.push('\n');
        self.last = line.step;
        self.lines.add(&text)
    }

    /// Takes every step after `after` out. The file is large, and read only where it has any.
    pub(super) fn cut_back(&mut self, after: Step) -> anyhow::Result<()> {
        if self.last <= after {
            return Ok(());
        }
        self.last = after;
        self.lines
            .cut(|line| step_of(line).is_some_and(|step| step <= after))
    }

    /// Writes what is still kept in memory.
    pub(super) fn finish(&mut self) -> anyhow::Result<()> {
        self.lines.finish()
    }
}
