//! Which samples each rank consumed, where the recipe wants them kept: said by the devices with their steps, written once a step is
//! committed and all ranks were told of, in order.
//!
//! A device that is lost may take the word of its last step along. Once its generation is over nobody will say it any more, and the
//! step's line is written with that place empty.

use std::collections::BTreeMap;

use m2t_common::ledger::SampleLine;
use m2t_common::recipe::LedgerDetail;
use m2t_common::report::RankSamples;
use m2t_common::shard::Sample;
use m2t_common::{Rank, Step};

use crate::{Core, Effect};

/// Steps kept while the word of an earlier one is missing: as many as daemons keep to repeat.
const MOST_KEPT: usize = 4_096;

/// What was said and is not written yet.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    /// The last step that was written.
    written: Step,
    /// By step and rank.
    said: BTreeMap<Step, BTreeMap<Rank, Vec<Sample>>>,
}

impl Samples {
    /// The file holds every step up to `written`.
    pub(crate) fn recall(&mut self, written: Step) {
        self.written = written;
    }

    /// Forgets every step after `after`: they are done again.
    fn cut(&mut self, after: Step) {
        self.written = self.written.min(after);
        self.said.retain(|&step, _| step <= after);
    }
}

impl Core {
    /// A device says what its ranks consumed in the step that led to `step`.
    pub(crate) fn consumed(&mut self, step: Step, of_ranks: Vec<RankSamples>) {
        let training = &self.settings.recipe.training;
        if !self.keeps_samples() || step <= self.samples.written {
            return;
        }
        let said = self.samples.said.entry(step).or_default();
        for RankSamples { rank, samples } in of_ranks {
            if rank.0 < training.world {
                said.entry(rank).or_insert(samples);
            }
        }
    }

    /// Writes the committed steps of which every rank is known.
    pub(crate) fn settle_samples(&mut self, effects: &mut Vec<Effect>) {
        let world = self.settings.recipe.training.world as usize;
        while self.samples.written < self.published {
            let next = self.samples.written.next();
            let said = self.samples.said.get(&next);
            let is_whole = said.is_some_and(|said| said.len() >= world);
            if !is_whole && self.samples.said.len() < MOST_KEPT {
                return;
            }
            self.write_samples(next, effects);
        }
    }

    /// The generation is over: writes what is known of the steps up to `upto`, and forgets those after it.
    pub(crate) fn close_samples(&mut self, upto: Step, effects: &mut Vec<Effect>) {
        while self.keeps_samples() && self.samples.written < upto.min(self.published) {
            self.write_samples(self.samples.written.next(), effects);
        }
        self.samples.cut(upto);
    }

    fn write_samples(&mut self, step: Step, effects: &mut Vec<Effect>) {
        let mut said = self.samples.said.remove(&step).unwrap_or_default();
        self.samples.written = step;
        let Some(plan) = &self.plan else {
            return;
        };
        let ranks = (0..self.settings.recipe.training.world).map(Rank);
        effects.push(Effect::Samples(SampleLine {
            step,
            epoch: plan.shards.epoch(Step(step.0.saturating_sub(1))),
            ranks: ranks.map(|rank| said.remove(&rank)).collect(),
        }));
    }

    fn keeps_samples(&self) -> bool {
        self.settings.recipe.run.ledger == LedgerDetail::Full
    }
}
