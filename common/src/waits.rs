//! Every wait of a run, derived from one knob: the heartbeat timeout.
//!
//! The waits form a ladder: whoever knows more acts first, and a longer wait is there only for when the shorter ones did not
//! come about. A collective's own timeout is the last: nobody should ever see it. [`Waits::check`] proves the order for the
//! timeout at hand, and the status shows the ladder.

use std::time::Duration;

/// The waits of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    timeout: Duration,
}

/// Two steps of the ladder in the wrong order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "with a heartbeat timeout of {timeout:?} the wait \"{lower}\" is longer than \"{upper}\"; choose another run.heartbeat_timeout"
)]
pub struct Disorder {
    /// The knob.
    pub timeout: Duration,
    /// What should be shorter.
    pub lower: &'static str,
    /// What should be longer.
    pub upper: &'static str,
}

impl Waits {
    /// Those that follow from a heartbeat timeout.
    pub fn of(heartbeat_timeout: Duration) -> Self {
        Self {
            timeout: heartbeat_timeout,
        }
    }

    /// A machine gives a sign of life at least so often.
    pub fn sign_of_life(self) -> Duration {
        self.timeout / 3
    }

    /// Silence, or an absence, after which a machine is lost.
    pub fn lost(self) -> Duration {
        self.timeout
    }

    /// How long a device's part of a group may take to let go of the hardware once it was aborted; past it only the end of the process does.
    pub fn parting(self) -> Duration {
        self.timeout + Duration::from_secs(1)
    }

    /// How long a coordinator that was started again waits for the machines of its generation: their daemons try to connect at
    /// least once a second.
    pub fn recovery(self) -> Duration {
        self.timeout * 2 + Duration::from_secs(1)
    }

    /// How long trainers take at most to connect with each other. They come one by one, each when it has its state.
    pub fn connecting(self) -> Duration {
        (self.timeout * 3).max(Duration::from_secs(10))
    }

    /// How long a trainer may take to leave its group where steps are not measured yet: it looks up between the passes of a step.
    pub fn answer(self) -> Duration {
        (self.timeout * 10).max(Duration::from_secs(10))
    }

    /// The shortest deadline of a step; long steps have a longer one. A checkpoint on a slow disk holds up a step.
    pub fn step(self) -> Duration {
        self.answer()
    }

    /// How long trainers may take to come up, or to finish a step and checkpoint it when they drain; and a step as long as few
    /// were measured. Long, because whoever dies is known at once.
    pub fn patience(self) -> Duration {
        (self.timeout * 40).max(Duration::from_secs(120))
    }

    /// How long a daemon that was asked to stop waits for the drain: as long as the coordinator, and to hear how it ended.
    pub fn drained(self) -> Duration {
        self.patience() + self.timeout
    }

    /// After which a collective gives up by itself. The last line.
    pub fn collective(self) -> Duration {
        (self.patience() * 2).max(Duration::from_secs(300))
    }

    /// All of them, the shortest first.
    pub fn ladder(self) -> [(&'static str, Duration); 10] {
        [
            ("sign of life", self.sign_of_life()),
            ("machine lost", self.lost()),
            ("device let go", self.parting()),
            ("coordinator back", self.recovery()),
            ("trainers connect", self.connecting()),
            ("trainer answers", self.answer()),
            ("step", self.step()),
            ("come up or drain", self.patience()),
            ("daemon leaves", self.drained()),
            ("collective", self.collective()),
        ]
    }

    /// Whether each wait is at least as long as the one before.
    ///
    /// # Errors
    /// The first two that are not.
    pub fn check(self) -> Result<(), Disorder> {
        match out_of_order(&self.ladder()) {
            Some((lower, upper)) => Err(Disorder {
                timeout: self.timeout,
                lower,
                upper,
            }),
            None => Ok(()),
        }
    }
}

/// The first two waits of which the first is the longer.
fn out_of_order(ladder: &[(&'static str, Duration)]) -> Option<(&'static str, &'static str)> {
    let wrong = ladder.windows(2).find(|pair| pair[0].1 > pair[1].1);
    wrong.map(|pair| (pair[0].0, pair[1].0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_ladder_is_in_order_for_every_timeout_a_recipe_may_name(milliseconds in 100u64..=3_600_000) {
            Waits::of(Duration::from_millis(milliseconds)).check().unwrap();
        }
    }

    #[test]
    fn two_waits_in_the_wrong_order_are_named() {
        let mut ladder = Waits::of(Duration::from_secs(3)).ladder();
        assert_eq!(out_of_order(&ladder), None);
        ladder[2].1 = Duration::from_millis(2_999);
        assert_eq!(out_of_order(&ladder), Some(("machine lost", "device let go")));
    }
}
