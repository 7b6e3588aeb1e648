//! News of devices: `report.proto` and `m2t_common::report`.

use std::time::Duration;

use m2t_common::manifest::CheckpointName;
use m2t_common::report::{
    CheckpointCost, CheckpointReport, News, RankSamples, Rendezvous, ReplacedFile, Stage, StepReport,
};
use m2t_common::shard::Sample;
use m2t_common::{Rank, Step};

use super::{duration_from_wire, duration_to_wire};
use crate::error::{WireError, invalid, required};
use crate::wire;

impl From<News> for wire::News {
    fn from(news: News) -> Self {
        use wire::news::News as Wire;
        let news = match news {
            News::Warm => Wire::Warm(wire::DeviceWarm {}),
            News::Held { step, broken } => Wire::Held(wire::DeviceHeld { step: step.0, broken }),
            News::Rendezvous { rendezvous } => Wire::Rendezvous(rendezvous.into()),
            News::Ready { step } => Wire::Ready(wire::DeviceReady { step: step.0 }),
            News::Stepped(report) => Wire::Stepped(report.into()),
            News::Checkpointed(report) => Wire::Checkpointed(report.into()),
            News::Stopped { step } => Wire::Stopped(wire::DeviceStopped { step: step.0 }),
            News::Finished { step, state_digest } => Wire::Finished(wire::DeviceFinished {
                step: step.0,
                state_digest,
            }),
            News::CheckpointFailed { step, reason } => {
                Wire::CheckpointFailed(wire::CheckpointFailed { step: step.0, reason })
            }
            News::SlowFiles { files } => Wire::SlowFiles(wire::SlowFiles { files }),
            News::Failed { reason } => Wire::Failed(wire::DeviceFailed { reason }),
            News::Evaluating { step, done, of } => Wire::Evaluating(wire::Evaluating {
                step: step.0,
                done,
                of,
            }),
            News::Evaluated(evaluation) => Wire::Evaluated(evaluation.into()),
            News::EvaluationFailed { step, reason } => {
                Wire::EvaluationFailed(wire::EvaluationFailed { step: step.0, reason })
            }
        };
        Self { news: Some(news) }
    }
}

impl TryFrom<wire::News> for News {
    type Error = WireError;

    fn try_from(news: wire::News) -> Result<Self, WireError> {
        use wire::news::News as Wire;
        Ok(match required(news.news, "News.news")? {
            Wire::Warm(wire::DeviceWarm {}) => Self::Warm,
            Wire::Held(held) => Self::Held {
                step: Step(held.step),
                broken: held.broken,
            },
            Wire::Rendezvous(rendezvous) => Self::Rendezvous {
                rendezvous: rendezvous.into(),
            },
            Wire::Ready(ready) => Self::Ready {
                step: Step(ready.step),
            },
            Wire::Stepped(report) => Self::Stepped(report.try_into()?),
            Wire::Checkpointed(report) => Self::Checkpointed(report.try_into()?),
            Wire::Stopped(stopped) => Self::Stopped {
                step: Step(stopped.step),
            },
            Wire::Finished(finished) => Self::Finished {
                step: Step(finished.step),
                state_digest: finished.state_digest,
            },
            Wire::CheckpointFailed(failed) => Self::CheckpointFailed {
                step: Step(failed.step),
                reason: failed.reason,
            },
            Wire::SlowFiles(wire::SlowFiles { files }) => Self::SlowFiles { files },
            Wire::Failed(failed) => Self::Failed {
                reason: failed.reason,
            },
            Wire::Evaluating(evaluating) => Self::Evaluating {
                step: Step(evaluating.step),
                done: evaluating.done,
                of: evaluating.of,
            },
            Wire::Evaluated(evaluation) => Self::Evaluated(evaluation.try_into()?),
            Wire::EvaluationFailed(failed) => Self::EvaluationFailed {
                step: Step(failed.step),
                reason: failed.reason,
            },
        })
    }
}

impl From<Rendezvous> for wire::Rendezvous {
    fn from(rendezvous: Rendezvous) -> Self {
        Self { blob: rendezvous.0 }
    }
}

impl From<wire::Rendezvous> for Rendezvous {
    fn from(rendezvous: wire::Rendezvous) -> Self {
        Self(rendezvous.blob)
    }
}

impl From<StepReport> for wire::StepReport {
    fn from(report: StepReport) -> Self {
        Self {
            step: report.step.0,
            loss: report.loss,
            loss_by_rank: report.loss_by_rank,
            gradient_norm: report.gradient_norm,
            duration: Some(duration_to_wire(report.duration)),
            data_wait: Some(duration_to_wire(report.data_wait)),
            replaced: report.replaced.into_iter().map(Into::into).collect(),
            state_digest: report.state_digest,
            samples: report.samples.into_iter().map(Into::into).collect(),
            bottleneck: stage_to_wire(report.bottleneck),
        }
    }
}

impl TryFrom<wire::StepReport> for StepReport {
    type Error = WireError;

    fn try_from(report: wire::StepReport) -> Result<Self, WireError> {
        Ok(Self {
            bottleneck: stage_from_wire(report.bottleneck()),
            step: Step(report.step),
            loss: report.loss,
            loss_by_rank: report.loss_by_rank,
            gradient_norm: report.gradient_norm,
            duration: duration_from_wire(report.duration, "StepReport.duration")?,
            data_wait: duration_from_wire(report.data_wait, "StepReport.data_wait")?,
            replaced: report.replaced.into_iter().map(Into::into).collect(),
            state_digest: report.state_digest,
            samples: report.samples.into_iter().map(Into::into).collect(),
        })
    }
}

pub(super) fn stage_to_wire(stage: Option<Stage>) -> i32 {
    let stage = match stage {
        None => wire::LoaderStage::Unspecified,
        Some(Stage::Read) => wire::LoaderStage::Read,
        Some(Stage::Decode) => wire::LoaderStage::Decode,
        Some(Stage::Augment) => wire::LoaderStage::Augment,
    };
    stage.into()
}

pub(super) fn stage_from_wire(stage: wire::LoaderStage) -> Option<Stage> {
    match stage {
        wire::LoaderStage::Unspecified => None,
        wire::LoaderStage::Read => Some(Stage::Read),
        wire::LoaderStage::Decode => Some(Stage::Decode),
        wire::LoaderStage::Augment => Some(Stage::Augment),
    }
}

impl From<RankSamples> for wire::RankSamples {
    fn from(of_rank: RankSamples) -> Self {
        Self {
            rank: of_rank.rank.0,
            samples: of_rank.samples.into_iter().map(|sample| sample.0).collect(),
        }
    }
}

impl From<wire::RankSamples> for RankSamples {
    fn from(of_rank: wire::RankSamples) -> Self {
        Self {
            rank: Rank(of_rank.rank),
            samples: of_rank.samples.into_iter().map(Sample).collect(),
        }
    }
}

impl From<ReplacedFile> for wire::ReplacedFile {
    fn from(file: ReplacedFile) -> Self {
        Self {
            sample: file.sample.0,
            by: file.by.0,
            path: file.path,
            reason: file.reason,
        }
    }
}

impl From<wire::ReplacedFile> for ReplacedFile {
    fn from(file: wire::ReplacedFile) -> Self {
        Self {
            sample: Sample(file.sample),
            by: Sample(file.by),
            path: file.path,
            reason: file.reason,
        }
    }
}

impl From<CheckpointReport> for wire::CheckpointReport {
    fn from(report: CheckpointReport) -> Self {
        Self {
            name: report.name.to_string(),
            step: report.step.0,
            state_digest: report.state_digest,
            stall: Some(duration_to_wire(report.cost.stall)),
            writing: Some(duration_to_wire(report.cost.writing)),
            n_bytes: report.cost.n_bytes,
        }
    }
}

impl TryFrom<wire::CheckpointReport> for CheckpointReport {
    type Error = WireError;

    fn try_from(report: wire::CheckpointReport) -> Result<Self, WireError> {
        let name = checkpoint_name(&report.name, "CheckpointReport.name")?;
        if name.step() != Step(report.step) {
            let problem = format!("{} is not the step of {name}", report.step);
            return Err(invalid("CheckpointReport.step")(&problem));
        }
        // A daemon of before they were told sends none.
        let told = |duration: Option<_>, field| {
            duration.map_or(Ok(Duration::ZERO), |duration| {
                duration_from_wire(Some(duration), field)
            })
        };
        Ok(Self {
            step: name.step(),
            name,
            state_digest: report.state_digest,
            cost: CheckpointCost {
                stall: told(report.stall, "CheckpointReport.stall")?,
                writing: told(report.writing, "CheckpointReport.writing")?,
                n_bytes: report.n_bytes,
            },
        })
    }
}

/// A checkpoint's name from the wire. Names become paths, so only the canonical form is let in.
pub(super) fn checkpoint_name(name: &str, field: &'static str) -> Result<CheckpointName, WireError> {
    CheckpointName::parse(name)
        .ok_or_else(|| invalid(field)(&format!("{name:?} is not the name of a checkpoint")))
}
