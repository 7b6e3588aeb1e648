//! JSON lines between a daemon and its trainers, over a Unix socket, one connection a device.
//!
//! A trainer outlives generations: it keeps the data index and, while it can, the state. Down go [`ToTrainer::Prepare`] or at
//! once [`ToTrainer::Start`], which begins a generation; in it [`ToTrainer::Join`] when the meeting point is known, perhaps
//! [`ToTrainer::Boundary`]; [`ToTrainer::Hold`] ends it and leaves the trainer waiting for the next start. Lines of a generation that
//! is not the trainer's current one are dropped. Up go [`Said`]. A closed connection ends the trainer. A line is at most
//! [`MAX_LINE`] long. `m2t-trainer run FILE` takes the same `Start` from a file and trains without a daemon.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::ids::{DeviceId, Generation};
use crate::machine_link::{Boundary, StartFrom};
use crate::placement::Placement;
use crate::recipe::Recipe;
use crate::report::{News, Rendezvous};

/// Longest line, in bytes. A recipe and a placement of 1,024 devices fit many times.
pub const MAX_LINE: usize = 4 << 20;

/// From the daemon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum ToTrainer {
    /// Make ready: load what takes time, then say [`News::Warm`] and wait.
    Prepare(Box<Prepare>),
    /// Train in this generation. The state the trainer keeps, if any, is of use when the generation starts from a donor.
    Start(Box<Start>),
    /// Meet the group there. A group of one device needs none.
    Join {
        /// Of which group.
        generation: Generation,
        /// As the first device made it.
        rendezvous: Rendezvous,
    },
    /// What to do with the whole group at the next step boundary.
    Boundary {
        /// Of which group.
        generation: Generation,
        /// Never weaker than what was said before.
        boundary: Boundary,
    },
    /// The generation is over: leave its group at once, keep the state, say [`News::Held`] and wait.
    Hold {
        /// Which.
        generation: Generation,
    },
}

/// What a trainer says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Said {
    /// The generation it is in, or was last in; 0 before the first.
    pub generation: Generation,
    /// What happened.
    #[serde(flatten)]
    pub news: News,
}

/// What a trainer can make ready before it is in a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prepare {
    /// The whole recipe.
    pub recipe: Recipe,
    /// The data folder on this machine.
    pub data: PathBuf,
}

/// All that a trainer must know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// The generation it belongs to.
    pub generation: Generation,
    /// The device it drives.
    pub device: DeviceId,
    /// All devices of the generation.
    pub placement: Placement,
    /// The whole recipe.
    pub recipe: Recipe,
    /// The data folder on this machine.
    pub data: PathBuf,
    /// N of the data set that the run is bound to; another number is refused.
    pub n_samples: u64,
    /// The output folder; checkpoints go to `checkpoints/` below it.
    pub output: PathBuf,
    /// The state to start from.
    pub start_from: StartFrom,
    /// The address at which the other machines reach this one.
    pub address: IpAddr,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ids::Step;
    use crate::report::StepReport;

    #[test]
    fn what_a_trainer_says_is_one_flat_line() {
        let stepped = News::Stepped(StepReport {
            step: Step(4),
            loss: 0.1 + 0.2,
            loss_by_rank: vec![f64::MIN_POSITIVE, 3.9],
            gradient_norm: 1e-300,
            duration: Duration::from_nanos(1_234_567_891),
            data_wait: Duration::ZERO,
            bottleneck: None,
            replaced: vec![],
            state_digest: None,
            samples: vec![],
        });
        let held = News::Held {
            step: Step(u64::MAX),
            broken: None,
        };
        for news in [News::Warm, stepped, held] {
            let said = Said {
                generation: Generation(3),
                news,
            };
            let line = serde_json::to_string(&said).unwrap();
            assert!(line.starts_with(r#"{"generation":3,"news":""#), "{line}");
            assert_eq!(serde_json::from_str::<Said>(&line).unwrap(), said);
        }
    }
}
