//! What was counted since the coordinator started, for `/metrics`.

use std::time::Duration;

use m2t_coordinator_core::Notice;

/// Upper bounds of the regroup's histogram, in seconds.
pub(crate) const RECOVERY_BOUNDS: [f64; 9] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Counts that only rise.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tally {
    /// Steps committed, those that were done again counted again.
    pub(crate) n_steps: u64,
    /// Generations that ended.
    pub(crate) n_regroups: u64,
    /// Checkpoints that were written and verified.
    pub(crate) n_checkpoints: u64,
    /// Checkpoints that could not be written, or were damaged.
    pub(crate) n_failed_checkpoints: u64,
    /// Machines that were lost.
    pub(crate) n_lost_machines: u64,
    /// How many regroups took at most so long; the last, longer than all bounds.
    pub(crate) recoveries: [u64; RECOVERY_BOUNDS.len() + 1],
    /// Their durations together.
    pub(crate) recovering: Duration,
}

impl Tally {
    /// A step is committed.
    pub(super) fn step(&mut self) {
        self.n_steps += 1;
    }

    /// Something happened.
    pub(super) fn notice(&mut self, notice: &Notice) {
        match notice {
            Notice::Ended { .. } => self.n_regroups += 1,
            Notice::Checkpoint { .. } => self.n_checkpoints += 1,
            Notice::CheckpointFailed { .. } | Notice::Damaged { .. } => self.n_failed_checkpoints += 1,
            Notice::Lost { .. } => self.n_lost_machines += 1,
            Notice::Recovered { recovery, .. } => self.recovered(recovery.total()),
            _ => {}
        }
    }

    fn recovered(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = RECOVERY_BOUNDS.partition_point(|bound| *bound < seconds);
        self.recoveries[bucket] += 1;
        self.recovering += took;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_regroup_counts_in_the_first_bucket_that_holds_it() {
        let mut tally = Tally::default();
        for milliseconds in [100, 101, 900, 61_000] {
            tally.recovered(Duration::from_millis(milliseconds));
        }
        assert_eq!(tally.recoveries, [1, 1, 0, 1, 0, 0, 0, 0, 0, 1]);
        assert_eq!(tally.recovering, Duration::from_millis(62_101));
    }
}
