//! How often a device's processes failed in a row, and how long the next one waits: not at all the first time, then half
//! a second, doubling to eight. It gives up on nobody; the coordinator counts, and may tell the machine to be idle.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(8);

/// Failures since a process last committed a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Restarts(u32);

impl Restarts {
    pub(super) fn count(&mut self) {
        self.0 = self.0.saturating_add(1);
    }

    pub(super) fn reset(&mut self) {
        self.0 = 0;
    }

    pub(super) fn is_any(self) -> bool {
        self.0 > 0
    }

    /// How long the next process waits.
    pub(super) fn delay(self) -> Duration {
        match self.0 {
            0 | 1 => Duration::ZERO,
            n => (FIRST * 2u32.saturating_pow((n - 2).min(16))).min(LONGEST),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_in_a_row_makes_the_next_wait_longer_up_to_a_bound() {
        let mut restarts = Restarts::default();
        for expected in [0, 0, 500, 1_000, 2_000, 4_000, 8_000, 8_000] {
            assert_eq!(restarts.delay(), Duration::from_millis(expected));
            restarts.count();
        }
        restarts.0 = u32::MAX;
        restarts.count();
        assert_eq!(restarts.delay(), LONGEST);
        restarts.reset();
        assert_eq!((restarts.delay(), restarts.is_any()), (Duration::ZERO, false));
    }
}
