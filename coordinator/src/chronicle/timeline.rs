//! The generations of a run in time: when each was formed, trained and ended, why, and how long the regroup to it took.

use std::collections::VecDeque;

use m2t_common::{Generation, Timestamp};
use serde::Serialize;

use super::told::{Told, Weight};

/// Generations kept, the newest.
const MOST: usize = 200;

/// One generation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Span {
    /// Its number.
    generation: Generation,
    /// When it was placed.
    formed: Timestamp,
    /// Where it started and on what, in a sentence.
    text: String,
    /// When all its devices were ready.
    trains: Option<Timestamp>,
    /// The regroup to it, once its first step was committed.
    regroup: Option<Regroup>,
    /// When it ended.
    ended: Option<Timestamp>,
    /// Why, in a sentence.
    why: Option<String>,
    /// Whether that was trouble.
    weight: Weight,
}

/// How a generation followed on the one before.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Regroup {
    /// From the end of the one before to the first step of this one.
    seconds: f64,
    /// The phases, in a sentence.
    text: String,
}

/// The newest generations, oldest first.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    spans: VecDeque<Span>,
    /// When the generation before the newest ended.
    last_end: Option<Timestamp>,
}

impl Timeline {
    /// Takes in what was told, if it is about a generation or the end of the run.
    pub(super) fn hear(&mut self, told: &Told) {
        match (told.kind.as_str(), told.generation) {
            ("generation_formed", Some(generation)) => self.formed(generation, told),
            ("generation_training", Some(generation)) => {
                if let Some(span) = self.span(generation) {
                    span.trains.get_or_insert(told.at);
                }
            }
            ("recovered", Some(generation)) => self.recovered(generation, told),
            ("generation_ended", Some(generation)) => {
                if let Some(span) = self.span(generation) {
                    end(span, told);
                    self.last_end = Some(told.at);
                }
            }
            ("run_finished" | "run_stopped" | "run_failed", _) => {
                if let Some(span) = self.spans.back_mut().filter(|span| span.ended.is_none()) {
                    end(span, told);
                }
            }
            _ => {}
        }
    }

    /// All of them.
    pub(super) fn spans(&self) -> impl Iterator<Item = &Span> {
        self.spans.iter()
    }

    fn formed(&mut self, generation: Generation, told: &Told) {
        if self.spans.len() == MOST {
            self.spans.pop_front();
        }
        self.spans.push_back(Span {
            generation,
            formed: told.at,
            text: told.text.clone(),
            trains: None,
            regroup: None,
            ended: None,
            why: None,
            weight: Weight::Usual,
        });
    }

    fn recovered(&mut self, generation: Generation, told: &Told) {
        let since = self.last_end;
        if let Some(span) = self.span(generation) {
            span.trains.get_or_insert(told.at);
            span.regroup = Some(Regroup {
                seconds: told.at.since(since.unwrap_or(span.formed)).as_secs_f64(),
                text: told.text.clone(),
            });
        }
    }

    fn span(&mut self, generation: Generation) -> Option<&mut Span> {
        self.spans
            .iter_mut()
            .rev()
            .find(|span| span.generation == generation)
    }
}

fn end(span: &mut Span, told: &Told) {
    span.ended = Some(told.at);
    span.why = Some(told.text.clone());
    span.weight = told.weight;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(at: u64, kind: &str, generation: u64) -> Told {
        Told {
            at: Timestamp(at),
            kind: kind.to_owned(),
            text: format!("{kind} {generation}"),
            weight: Weight::Trouble,
            generation: (generation > 0).then_some(Generation(generation)),
        }
    }

    #[test]
    fn a_regroup_lasts_from_the_end_of_one_generation_to_the_first_step_of_the_next() {
        let mut timeline = Timeline::default();
        for (at, kind, generation) in [
            (1_000, "generation_formed", 1),
            (1_400, "generation_training", 1),
            (9_000, "machine_lost", 0),
            (9_000, "generation_ended", 1),
            (9_100, "generation_formed", 2),
            (9_300, "generation_training", 2),
            (9_750, "recovered", 2),
            (20_000, "run_stopped", 0),
        ] {
            timeline.hear(&told(at, kind, generation));
        }
        let spans: Vec<&Span> = timeline.spans().collect();
        assert_eq!(spans.len(), 2);
        assert_eq!(
            (spans[0].trains, spans[0].ended),
            (Some(Timestamp(1_400)), Some(Timestamp(9_000)))
        );
        assert_eq!(spans[0].why.as_deref(), Some("generation_ended 1"));
        assert_eq!(
            spans[1].regroup.as_ref().map(|regroup| regroup.seconds),
            Some(0.75)
        );
        assert_eq!(spans[1].ended, Some(Timestamp(20_000)));
    }

    #[test]
    fn only_the_newest_are_kept_and_one_that_was_never_formed_is_passed_over() {
        let mut timeline = Timeline::default();
        timeline.hear(&told(1, "generation_ended", 7));
        for generation in 1..=MOST as u64 + 5 {
            timeline.hear(&told(generation, "generation_formed", generation));
        }
        assert_eq!(timeline.spans().count(), MOST);
        assert_eq!(
            timeline.spans().next().map(|span| span.generation),
            Some(Generation(6))
        );
    }
}
