//! How long a regroup took, phase by phase: told with the first step that is committed after it.

use std::fmt;
use std::time::Duration;

use m2t_common::Timestamp;

/// The phases of one regroup, one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// From the last committed step to the end of the generation: the time in which nobody knew, and part of a step.
    pub noticed: Duration,
    /// Until every survivor had left its group.
    pub aborted: Duration,
    /// Until the next generation was placed.
    pub placed: Duration,
    /// Until its meeting point was known.
    pub met: Duration,
    /// Until all its devices had the state and could step.
    pub state: Duration,
    /// Until its first step was committed.
    pub first_step: Duration,
}

impl Recovery {
    /// From the end of a generation to the first step of the next.
    pub fn total(&self) -> Duration {
        self.aborted + self.placed + self.met + self.state + self.first_step
    }
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |duration: Duration| duration.as_millis();
        write!(
            f,
            "{} ms ({} to abort, {} to place, {} to meet, {} for the state, {} for the step), after {} ms without a step",
            ms(self.total()),
            ms(self.aborted),
            ms(self.placed),
            ms(self.met),
            ms(self.state),
            ms(self.first_step),
            ms(self.noticed)
        )
    }
}

/// A regroup under way: when each phase was over. One that ends in another goes on as that one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marks {
    /// When a step was last committed.
    pub(crate) last_step: Timestamp,
    /// When the generation ended.
    pub(crate) ended: Timestamp,
    /// When the last survivor answered.
    pub(crate) aborted: Timestamp,
    /// When the next generation was placed.
    pub(crate) placed: Timestamp,
    /// When its meeting point was known.
    pub(crate) met: Timestamp,
    /// When all its devices were ready.
    pub(crate) ready: Timestamp,
}

impl Marks {
    /// A generation ended now.
    pub(crate) fn begin(last_step: Timestamp, ended: Timestamp) -> Self {
        Self {
            last_step,
            ended,
            aborted: ended,
            placed: ended,
            met: ended,
            ready: ended,
        }
    }

    /// The first step was committed now. A phase that was not seen, such as the meeting of a device alone, took no time.
    pub(crate) fn end(&self, now: Timestamp) -> Recovery {
        let aborted = self.aborted.max(self.ended);
        let placed = self.placed.max(aborted);
        let met = self.met.max(placed);
        let ready = self.ready.max(met);
        Recovery {
            noticed: self.ended.since(self.last_step),
            aborted: aborted.since(self.ended),
            placed: placed.since(aborted),
            met: met.since(placed),
            state: ready.since(met),
            first_step: now.since(ready),
        }
    }
}
