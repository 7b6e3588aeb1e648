//! What a device says of its training: the step it committed, the checkpoint it wrote.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::evaluation::Evaluation;
use crate::ids::{Rank, Step};
use crate::manifest::CheckpointName;
use crate::shard::Sample;

/// What one device says of one committed step. Loss and norm are sums over all ranks, so all devices say the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// The state's step after the commit.
    pub step: Step,
    /// Mean loss over all images of the step.
    pub loss: f64,
    /// Mean loss of each rank, in order of the ranks.
    pub loss_by_rank: Vec<f64>,
    /// L2 norm of the averaged gradient.
    pub gradient_norm: f64,
    /// From the end of the step before to the end of this one.
    pub duration: Duration,
    /// Of that, how long the device waited for data.
    pub data_wait: Duration,
    /// Where its loader's threads spent most of the time of this batch; only where the device waited for it, more than
    /// [`WAITS`] of the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bottleneck: Option<Stage>,
    /// Files of this device's ranks that could not be decoded and were replaced, in the order of their places.
    pub replaced: Vec<ReplacedFile>,
    /// Digest of the whole state after the commit, where this step's states are compared over all devices
    /// ([`Recipe::is_replica_check`](crate::Recipe::is_replica_check)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_digest: Option<String>,
    /// What this device's ranks consumed, where that is kept (`ledger = "full"`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<RankSamples>,
}

/// The share of a step up to which waiting for data is not worth a word.
pub const WAITS: f64 = 0.01;

/// What a device's loader does with an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Finds and reads its file: the storage.
    Read,
    /// Decodes it.
    Decode,
    /// Makes two views of it.
    Augment,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Decode => "decode",
            Self::Augment => "augment",
        })
    }
}

/// The samples of one rank in one step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankSamples {
    /// The rank.
    pub rank: Rank,
    /// Its samples, in their order in the batch.
    pub samples: Vec<Sample>,
}

/// A file that cannot be decoded, and the one taken in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplacedFile {
    /// Whose place it is; the augmentation stays keyed by it.
    pub sample: Sample,
    /// The next sample that decodes.
    pub by: Sample,
    /// The damaged file, below the data folder.
    pub path: String,
    /// Why it cannot be decoded.
    pub reason: String,
}

/// A checkpoint that is complete and verified on the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointReport {
    /// Its folder below `checkpoints/`.
    pub name: CheckpointName,
    /// The step of its state.
    pub step: Step,
    /// Digest of the whole state.
    pub state_digest: String,
    /// What it cost.
    #[serde(default)]
    pub cost: CheckpointCost,
}

/// What a checkpoint cost; zeros where whoever wrote it did not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointCost {
    /// How long training stood while the state was copied.
    pub stall: Duration,
    /// How long writing took beside training, to the last fsync.
    pub writing: Duration,
    /// Bytes of the state's file.
    pub n_bytes: u64,
}

impl CheckpointCost {
    /// In words for people, if it was said.
    pub fn told(self) -> Option<String> {
        let milliseconds = self.stall.as_secs_f64() * 1e3;
        let (megabytes, seconds) = (self.n_bytes as f64 / 1e6, self.writing.as_secs_f64());
        (self != Self::default()).then(|| {
            format!("training stood {milliseconds:.0} ms, {megabytes:.1} MB were written in {seconds:.2} s")
        })
    }
}

/// News of one device in one generation; the daemon hands them on as they come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "news", rename_all = "snake_case")]
pub enum News {
    /// The trainer lives and made ready what takes time; it is in no group and holds no state. Of no generation.
    Warm,
    /// The first device of the group made the meeting point of this generation.
    Rendezvous {
        /// What the others need to meet it.
        rendezvous: Rendezvous,
    },
    /// The state is loaded, the group stands: the next step can begin.
    Ready {
        /// The state's step.
        step: Step,
    },
    /// A step is committed.
    Stepped(StepReport),
    /// A checkpoint is written (first device only).
    Checkpointed(CheckpointReport),
    /// A checkpoint could not be written (first device only). Training goes on; the last one of a group is tried again
    /// until it is written, and this is said at each try.
    CheckpointFailed {
        /// Of which step.
        step: Step,
        /// What went wrong and what to do, in a sentence.
        reason: String,
    },
    /// The device waits for data, and reading these files takes long. Said again when they are others; none: they were read.
    SlowFiles {
        /// Below the data folder.
        files: Vec<String>,
    },
    /// All devices evaluate the state of this step (first device only). Said again and again while it lasts, which is no step.
    Evaluating {
        /// Of which step.
        step: Step,
        /// Rounds done.
        done: u64,
        /// Rounds in all.
        of: u64,
    },
    /// The devices found out together what an encoder is worth (first device only).
    Evaluated(Evaluation),
    /// They could not (first device only); training goes on.
    EvaluationFailed {
        /// Of which step.
        step: Step,
        /// What went wrong and what to do, in a sentence.
        reason: String,
    },
    /// The device left its group and keeps its state in memory; it waits for the next generation. Its last word in this one.
    Held {
        /// The step the state is at: that of its last commit.
        step: Step,
        /// Why, where the group broke under it and nobody had told it to: a peer is gone.
        broken: Option<String>,
    },
    /// The device drained: all devices stopped after this step, which is checkpointed.
    Stopped {
        /// The step all devices stopped at.
        step: Step,
    },
    /// The last step of the run is committed and checkpointed.
    Finished {
        /// The last step.
        step: Step,
        /// Digest of the final state.
        state_digest: String,
    },
    /// The trainer cannot go on in this generation, or is gone.
    Failed {
        /// Why, in a sentence.
        reason: String,
    },
}

/// The meeting point of a generation: `host:port` for Gloo, the 128-byte unique id for NCCL. Opaque to all but trainers.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rendezvous(pub Vec<u8>);

impl fmt::Debug for Rendezvous {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rendezvous({:?})", String::from_utf8_lossy(&self.0))
    }
}
