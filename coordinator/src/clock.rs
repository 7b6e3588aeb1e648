//! Time for the core: monotonic, so that a clock that is set counts nobody as lost.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use m2t_common::Timestamp;

/// Unix time at the start, and what has passed since then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    unix_at_start: Duration,
    start: Instant,
}

impl Clock {
    /// A clock that starts now.
    pub(crate) fn start() -> Self {
        Self {
            unix_at_start: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            start: Instant::now(),
        }
    }

    /// The present.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(0).after(self.unix_at_start + self.start.elapsed())
    }

    /// How long until `moment`; zero when it has passed.
    pub(crate) fn until(&self, moment: Timestamp) -> Duration {
        moment.since(self.now())
    }
}
