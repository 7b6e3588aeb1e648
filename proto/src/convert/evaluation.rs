//! What encoders are worth: `Evaluation` of `report.proto`, the figures of `status.proto`, and `m2t_common::evaluation`.

use m2t_common::evaluation::{Evaluation, EvaluationLine, Method, Settings, Side};
use m2t_common::{Generation, Step};

use super::{duration_from_wire, duration_to_wire};
use crate::error::{WireError, invalid};
use crate::wire;

impl From<Evaluation> for wire::Evaluation {
    fn from(evaluation: Evaluation) -> Self {
        Self {
            step: evaluation.step.0,
            encoder: wire::Side::from(evaluation.encoder).into(),
            method: wire::Method::from(evaluation.method).into(),
            n_images: evaluation.n_images,
            n_correct: evaluation.n_correct,
            n_correct5: evaluation.n_correct5,
            n_memory: evaluation.n_memory,
            duration: Some(duration_to_wire(evaluation.duration)),
        }
    }
}

impl TryFrom<wire::Evaluation> for Evaluation {
    type Error = WireError;

    fn try_from(evaluation: wire::Evaluation) -> Result<Self, WireError> {
        let (n_images, n_correct5) = (evaluation.n_images, evaluation.n_correct5);
        if n_correct5 > n_images || evaluation.n_correct > n_correct5 {
            let counts = format!("{} and {n_correct5} right of {n_images}", evaluation.n_correct);
            return Err(invalid("Evaluation.n_correct")(&counts));
        }
        Ok(Self {
            encoder: evaluation.encoder().try_into()?,
            method: evaluation.method().try_into()?,
            step: Step(evaluation.step),
            n_images,
            n_correct: evaluation.n_correct,
            n_correct5,
            n_memory: evaluation.n_memory,
            duration: duration_from_wire(evaluation.duration, "Evaluation.duration")?,
        })
    }
}

impl From<EvaluationLine> for wire::EvaluationFigure {
    fn from(line: EvaluationLine) -> Self {
        Self {
            step: line.step.0,
            epoch: line.epoch,
            generation: line.generation.0,
            encoder: wire::Side::from(line.encoder).into(),
            method: wire::Method::from(line.method).into(),
            n_images: line.n_images,
            n_correct: line.n_correct,
            n_correct5: line.n_correct5,
            top1: line.top1,
            top5: line.top5,
            n_memory: line.n_memory,
            seconds: line.seconds,
            k: line.settings.map(|settings| settings.k),
            temperature: line.settings.map(|settings| settings.temperature),
        }
    }
}

impl TryFrom<wire::EvaluationFigure> for EvaluationLine {
    type Error = WireError;

    fn try_from(figure: wire::EvaluationFigure) -> Result<Self, WireError> {
        let settings = figure.k.zip(figure.temperature);
        Ok(Self {
            encoder: figure.encoder().try_into()?,
            method: figure.method().try_into()?,
            step: Step(figure.step),
            epoch: figure.epoch,
            generation: Generation(figure.generation),
            top1: figure.top1,
            top5: figure.top5,
            n_correct: figure.n_correct,
            n_correct5: figure.n_correct5,
            n_images: figure.n_images,
            n_memory: figure.n_memory,
            seconds: figure.seconds,
            settings: settings.map(|(k, temperature)| Settings { k, temperature }),
        })
    }
}

impl From<Side> for wire::Side {
    fn from(side: Side) -> Self {
        match side {
            Side::Student => Self::Student,
            Side::Teacher => Self::Teacher,
            Side::Random => Self::Random,
        }
    }
}

impl TryFrom<wire::Side> for Side {
    type Error = WireError;

    fn try_from(side: wire::Side) -> Result<Self, WireError> {
        Ok(match side {
            wire::Side::Unspecified => {
                return Err(invalid("Evaluation.encoder")(
                    &"an encoder this version does not know",
                ));
            }
            wire::Side::Student => Self::Student,
            wire::Side::Teacher => Self::Teacher,
            wire::Side::Random => Self::Random,
        })
    }
}

impl From<Method> for wire::Method {
    fn from(method: Method) -> Self {
        match method {
            Method::Knn => Self::Knn,
            Method::Probe => Self::Probe,
            Method::Linear => Self::Linear,
        }
    }
}

impl TryFrom<wire::Method> for Method {
    type Error = WireError;

    fn try_from(method: wire::Method) -> Result<Self, WireError> {
        Ok(match method {
            wire::Method::Unspecified => {
                return Err(invalid("Evaluation.method")(
                    &"a method this version does not know",
                ));
            }
            wire::Method::Knn => Self::Knn,
            wire::Method::Probe => Self::Probe,
            wire::Method::Linear => Self::Linear,
        })
    }
}
