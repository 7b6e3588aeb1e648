//! Where a loader's time goes: how long its threads were at each stage.

use std::ops::AddAssign;
use std::time::{Duration, Instant};

use m2t_common::report::Stage;

/// The time of all threads together, stage by stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageTimes {
    /// Finding and reading files: the storage.
    pub read: Duration,
    /// Decoding them.
    pub decode: Duration,
    /// Making two views.
    pub augment: Duration,
    /// Writing the views into the batch.
    pub write: Duration,
}

impl StageTimes {
    /// The stage that took longest. Writing counts as making the views: what helps is the same.
    pub fn bottleneck(&self) -> Stage {
        let augment = self.augment + self.write;
        if self.read >= self.decode.max(augment) {
            Stage::Read
        } else if self.decode >= augment {
            Stage::Decode
        } else {
            Stage::Augment
        }
    }
}

impl AddAssign for StageTimes {
    fn add_assign(&mut self, other: Self) {
        self.read += other.read;
        self.decode += other.decode;
        self.augment += other.augment;
        self.write += other.write;
    }
}

/// Adds the time that `work` takes to `sum`.
pub(super) fn timed<T>(sum: &mut Duration, work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let result = work();
    *sum += began.elapsed();
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bottleneck_is_the_stage_that_took_longest() {
        let times = |read, decode, augment, write| {
            let [read, decode, augment, write] = [read, decode, augment, write].map(Duration::from_millis);
            StageTimes {
                read,
                decode,
                augment,
                write,
            }
        };
        assert_eq!(times(5, 4, 3, 1).bottleneck(), Stage::Read);
        assert_eq!(times(3, 5, 3, 1).bottleneck(), Stage::Decode);
        assert_eq!(times(3, 5, 3, 3).bottleneck(), Stage::Augment);
        let mut sum = times(1, 2, 3, 4);
        sum += times(1, 1, 1, 1);
        assert_eq!(sum, times(2, 3, 4, 5));
    }
}
