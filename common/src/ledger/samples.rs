//! The full ledger: which samples each rank consumed in each committed step, as the trainers said, and the comparison with the plan.
//!
//! The plan is made anew from recipe and size of the data set; nothing that was said is taken for it. Where a device was lost with
//! its last words, what its ranks consumed in that step is not known: such a place is empty, and counted.

use serde::{Deserialize, Serialize};

use crate::ids::{Rank, Step};
use crate::shard::{Sample, Shards};

/// Its file name in the output folder.
pub const SAMPLES_FILE: &str = "samples.jsonl";

/// One line: what was consumed in a committed step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleLine {
    /// The state's step after the commit: the first is 1.
    pub step: Step,
    /// The epoch, from 0.
    pub epoch: u64,
    /// The samples of each rank, in order of the ranks; none where a device was lost before it said so.
    pub ranks: Vec<Option<Vec<Sample>>>,
}

/// What the comparison found to be true.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SampleAudit {
    /// Steps compared, sample by sample.
    pub steps: u64,
    /// Places in them of which nobody told.
    pub untold: u64,
}

/// Where lines and plan differ first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum SampleFault {
    #[error("the samples of step {step} are missing")]
    Missing { step: Step },
    #[error("the samples of step {step} are there twice")]
    Doubled { step: Step },
    #[error("step {step} is of epoch {expected} and its samples are said to be of epoch {found}")]
    Epoch { step: Step, found: u64, expected: u64 },
    #[error("step {step} has samples of {found} ranks and not of {world}")]
    Ranks { step: Step, found: usize, world: u32 },
    #[error("in step {step} rank {rank} consumed {found} samples and not {expected}")]
    Count {
        step: Step,
        rank: Rank,
        found: usize,
        expected: usize,
    },
    #[error(
        "in step {step} rank {rank} consumed sample {} at position {position} of its batch, and the plan has sample {} there",
        .found.0, .expected.0
    )]
    Sample {
        step: Step,
        rank: Rank,
        position: usize,
        found: Sample,
        expected: Sample,
    },
}

/// Compares lines, which come in the order of the file, with the plan: every step up to `upto` once, and each sample in its place.
#[derive(Debug)]
pub struct SampleCheck<'a> {
    shards: &'a Shards,
    audit: SampleAudit,
}

impl<'a> SampleCheck<'a> {
    /// Nothing was compared yet.
    pub fn new(shards: &'a Shards) -> Self {
        Self {
            shards,
            audit: SampleAudit::default(),
        }
    }

    /// Compares the next line.
    ///
    /// # Errors
    /// The first difference.
    pub fn line(&mut self, line: &SampleLine) -> Result<(), SampleFault> {
        let (step, before) = (line.step, Step(self.audit.steps));
        if step <= before {
            return Err(SampleFault::Doubled { step });
        }
        if step > before.next() {
            return Err(SampleFault::Missing { step: before.next() });
        }
        let (found, world) = (line.ranks.len(), self.shards.world);
        if found != world as usize {
            return Err(SampleFault::Ranks { step, found, world });
        }
        let (found, expected) = (line.epoch, self.shards.epoch(before));
        if found != expected {
            return Err(SampleFault::Epoch {
                step,
                found,
                expected,
            });
        }
        for (rank, samples) in (0..).map(Rank).zip(&line.ranks) {
            match samples {
                Some(samples) => self.of_rank(step, rank, samples)?,
                None => self.audit.untold += 1,
            }
        }
        self.audit.steps = step.0;
        Ok(())
    }

    /// That every step up to `upto` was there.
    ///
    /// # Errors
    /// The first that was not.
    pub fn end(self, upto: Step) -> Result<SampleAudit, SampleFault> {
        let step = Step(self.audit.steps);
        if step < upto {
            return Err(SampleFault::Missing { step: step.next() });
        }
        Ok(self.audit)
    }

    fn of_rank(&self, step: Step, rank: Rank, samples: &[Sample]) -> Result<(), SampleFault> {
        let (_, plan) = self.shards.samples(Step(step.0 - 1), rank);
        if samples.len() != plan.len() {
            return Err(SampleFault::Count {
                step,
                rank,
                found: samples.len(),
                expected: plan.len(),
            });
        }
        let mut pairs = samples.iter().zip(&plan).enumerate();
        match pairs.find(|(_, (found, expected))| found != expected) {
            None => Ok(()),
            Some((position, (&found, &expected))) => Err(SampleFault::Sample {
                step,
                rank,
                position,
                found,
                expected,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2 ranks of 2 images on 9: two steps an epoch.
    const SHARDS: Shards = Shards {
        seed: 3,
        n_samples: 9,
        world: 2,
        batch_per_rank: 2,
    };

    fn plan() -> Vec<SampleLine> {
        let line = |step: u64| {
            let of = |rank| Some(SHARDS.samples(Step(step), Rank(rank)).1);
            SampleLine {
                step: Step(step + 1),
                epoch: step / 2,
                ranks: vec![of(0), of(1)],
            }
        };
        (0..5).map(line).collect()
    }

    fn check(lines: &[SampleLine]) -> Result<SampleAudit, SampleFault> {
        let mut check = SampleCheck::new(&SHARDS);
        for line in lines {
            check.line(line)?;
        }
        check.end(Step(5))
    }

    #[test]
    fn what_follows_the_plan_is_clean_and_what_nobody_told_is_counted() {
        let mut lines = plan();
        assert_eq!(check(&lines), Ok(SampleAudit { steps: 5, untold: 0 }));
        lines[2].ranks[1] = None;
        assert_eq!(check(&lines), Ok(SampleAudit { steps: 5, untold: 1 }));
    }

    #[test]
    fn each_difference_is_named_by_step_rank_and_position() {
        type Spoil = fn(&mut Vec<SampleLine>);
        let spoils: [(Spoil, &str); 7] = [
            (|lines| drop(lines.remove(0)), "samples of step 1 are missing"),
            (|lines| drop(lines.pop()), "samples of step 5 are missing"),
            (
                |lines| lines.insert(3, lines[1].clone()),
                "samples of step 2 are there twice",
            ),
            (|lines| lines[2].epoch = 0, "step 3 is of epoch 1"),
            (
                |lines| drop(lines[1].ranks.pop()),
                "step 2 has samples of 1 ranks",
            ),
            (
                |lines| lines[1].ranks[1].as_mut().unwrap().truncate(1),
                "in step 2 rank 1 consumed 1 samples and not 2",
            ),
            (
                |lines| lines[3].ranks[0].as_mut().unwrap().swap(0, 1),
                "in step 4 rank 0 consumed sample",
            ),
        ];
        for (spoil, expected) in spoils {
            let mut lines = plan();
            spoil(&mut lines);
            let said = check(&lines).unwrap_err().to_string();
            assert!(said.contains(expected), "{said}, and not {expected}");
        }
    }
}
