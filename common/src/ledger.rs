//! The sample ledger: which generation did which steps, and the proof that every position of every epoch counted once.
//!
//! The ledger is a list of spans. A span says that a generation, with its placement, did the steps from one to another;
//! from that, recipe and size of the data set it follows which positions of which epoch each device computed. The audit
//! does not take anybody's word for it: it lays the spans out step by step and position by position, and counts.
//!
//! Why spans and not steps: between two checkpoints nothing changes but the step, so a run of a week is a few thousand
//! lines. Steps that a generation did beyond what the next one started from are cut: they were done again, and count once.

mod samples;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{Generation, Rank, Step};
use crate::placement::Placement;
use crate::report::ReplacedFile;
use crate::shard::{Permutation, Sample, Shards};
pub use samples::{SAMPLES_FILE, SampleAudit, SampleCheck, SampleFault, SampleLine};

/// Steps that one generation did and that count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Which generation.
    pub generation: Generation,
    /// Which device hosted which ranks.
    pub placement: Placement,
    /// The state's step before the first of them.
    pub from: Step,
    /// The state's step after the last of them.
    pub upto: Step,
}

/// All spans of a run, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ledger {
    /// Without a gap or an overlap, if all is well.
    pub spans: Vec<Span>,
}

impl Ledger {
    /// The step up to which it reaches.
    pub fn end(&self) -> Step {
        self.spans.last().map_or(Step(0), |span| span.upto)
    }

    /// A generation stands at `upto`, and that counts. Steps that counted before are not counted again.
    pub fn extend(&mut self, generation: Generation, placement: &Placement, upto: Step) {
        let from = self.end();
        if upto <= from {
            return;
        }
        match self.spans.last_mut() {
            Some(last) if last.generation == generation => last.upto = upto,
            _ => self.spans.push(Span {
                generation,
                placement: placement.clone(),
                from,
                upto,
            }),
        }
    }

    /// Takes out every step after `after`: they are done again.
    pub fn cut(&mut self, after: Step) {
        self.spans.retain(|span| span.from < after);
        if let Some(last) = self.spans.last_mut() {
            last.upto = last.upto.min(after);
        }
    }
}

/// `ledger.json` in the output folder: all that an audit needs besides the recipe. A copy of what the journal holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// N; 0 before the data set is known.
    pub n_samples: u64,
    /// Which generation did which steps.
    pub ledger: Ledger,
    /// Files that cannot be decoded, and what was taken in their places, as far as they were met.
    pub replaced: Vec<ReplacedFile>,
}

/// Its file name.
pub const LEDGER_FILE: &str = "ledger.json";

/// What an audit found to be true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// Steps that count.
    pub steps: u64,
    /// Epochs of which every position counted exactly once.
    pub whole_epochs: u64,
    /// Positions of the epoch that is under way, each once.
    pub positions_of_last_epoch: u64,
    /// Positions an epoch has, ⌊N/B⌋·B; the last N mod B are dropped, as published.
    pub positions_per_epoch: u64,
    /// Generations that did steps that count.
    pub generations: u64,
}

/// What is wrong with a ledger.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Fault {
    #[error("steps {from} to {upto} are missing: no generation did them")]
    Gap { from: Step, upto: Step },
    #[error("step {step} counts twice, the second time in generation {generation}")]
    Twice { step: Step, generation: Generation },
    #[error("generation {generation} goes from step {from} back to step {upto}")]
    Backwards {
        generation: Generation,
        from: Step,
        upto: Step,
    },
    #[error("generation {generation} comes after a later one")]
    Order { generation: Generation },
    #[error("in generation {generation}, rank {rank} of {world} is hosted by {hosts} devices and not by one")]
    Hosts {
        generation: Generation,
        rank: Rank,
        world: u32,
        hosts: usize,
    },
    #[error("position {position} of epoch {epoch} counted {times} times and not once")]
    Position { epoch: u64, position: u64, times: u8 },
    #[error("sample {} has two places in epoch {epoch}", .sample.0)]
    Sample { epoch: u64, sample: Sample },
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} steps by {} generations: {} whole epochs, each of their {} positions exactly once",
            self.steps, self.generations, self.whole_epochs, self.positions_per_epoch
        )?;
        if self.positions_of_last_epoch > 0 {
            write!(
                f,
                ", and {} positions of the next, each once",
                self.positions_of_last_epoch
            )?;
        }
        Ok(())
    }
}

/// Proves that every position of each epoch counted exactly once, as far as the ledger reaches.
///
/// # Errors
/// The first fault.
pub fn audit(ledger: &Ledger, shards: &Shards) -> Result<Audit, Fault> {
    let mut at = Step(0);
    let mut newest = Generation(0);
    let mut epoch = Epoch::new(shards, 0);
    let mut whole_epochs = 0;
    for span in &ledger.spans {
        check_span(span, at, newest, shards.world)?;
        (at, newest) = (span.upto, span.generation);
        for step in (span.from.0..span.upto.0).map(Step) {
            if shards.epoch(step) > epoch.number {
                epoch.check(shards.steps_per_epoch() * shards.global_batch())?;
                whole_epochs += 1;
                epoch = Epoch::new(shards, shards.epoch(step));
            }
            let first = shards.step_in_epoch(step) * shards.global_batch();
            for &rank in span.placement.devices.iter().flat_map(|placed| &placed.ranks) {
                for position in shards.positions_in_batch(rank) {
                    epoch.count(first + position)?;
                }
            }
        }
    }
    let positions_per_epoch = shards.steps_per_epoch() * shards.global_batch();
    let done_in_epoch = (at.0 - epoch.number * shards.steps_per_epoch()) * shards.global_batch();
    epoch.check(done_in_epoch)?;
    let is_whole = done_in_epoch == positions_per_epoch;
    Ok(Audit {
        steps: at.0,
        whole_epochs: whole_epochs + u64::from(is_whole),
        positions_of_last_epoch: if is_whole { 0 } else { done_in_epoch },
        positions_per_epoch,
        generations: ledger.spans.len() as u64,
    })
}

/// A span follows the one before, and its placement hosts each rank once.
fn check_span(span: &Span, at: Step, newest: Generation, world: u32) -> Result<(), Fault> {
    let Span {
        generation,
        from,
        upto,
        ..
    } = *span;
    if upto < from {
        return Err(Fault::Backwards {
            generation,
            from,
            upto,
        });
    }
    if from > at {
        return Err(Fault::Gap { from: at, upto: from });
    }
    if from < at {
        return Err(Fault::Twice {
            step: from.next(),
            generation,
        });
    }
    if generation <= newest {
        return Err(Fault::Order { generation });
    }
    for rank in (0..world).map(Rank) {
        let ranks = span.placement.devices.iter().flat_map(|placed| &placed.ranks);
        let hosts = ranks.filter(|&&hosted| hosted == rank).count();
        if hosts != 1 {
            return Err(Fault::Hosts {
                generation,
                rank,
                world,
                hosts,
            });
        }
    }
    Ok(())
}

/// One epoch, counted position by position.
struct Epoch {
    number: u64,
    permutation: Permutation,
    /// How often each position counted.
    times: Vec<u8>,
    /// Which samples had a place.
    seen: Vec<bool>,
}

impl Epoch {
    fn new(shards: &Shards, number: u64) -> Self {
        let n = usize::try_from(shards.n_samples).expect("a data set fits in memory");
        Self {
            number,
            permutation: Permutation::new(shards.n_samples, shards.seed, number),
            times: vec![0; n],
            seen: vec![false; n],
        }
    }

    fn count(&mut self, position: u64) -> Result<(), Fault> {
        let sample = self.permutation.at(position);
        self.times[position as usize] += 1;
        let times = self.times[position as usize];
        if times > 1 {
            let epoch = self.number;
            return Err(Fault::Position {
                epoch,
                position,
                times,
            });
        }
        if std::mem::replace(&mut self.seen[sample as usize], true) {
            let (epoch, sample) = (self.number, Sample(sample));
            return Err(Fault::Sample { epoch, sample });
        }
        Ok(())
    }

    /// The first `done` positions counted once, the others not at all.
    fn check(&self, done: u64) -> Result<(), Fault> {
        for (position, &times) in (0..).zip(&self.times) {
            let expected = u8::from(position < done);
            if times != expected {
                let epoch = self.number;
                return Err(Fault::Position {
                    epoch,
                    position,
                    times,
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
