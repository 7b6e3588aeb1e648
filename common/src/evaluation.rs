//! What an encoder is worth: figures that devices measure together, as they travel, are written, and are shown.
//!
//! An evaluation reads the state and writes none of it, so a run has the same digest with it and without.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{Generation, Step};

/// The file of a run's evaluations in its output folder: an [`EvaluationLine`] a line.
pub const EVALUATIONS_FILE: &str = "evaluations.jsonl";

/// Whose features are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The student's encoder, with its running statistics.
    Student,
    /// The teacher's, with its history as statistics: what the published results are of.
    Teacher,
    /// An encoder as it was initialised, with statistics of training images: what the architecture gives for nothing.
    Random,
}

/// How features are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// The nearest training images vote, each with the weight exp(cosine/T).
    Knn,
    /// Ridge regression from features to classes, solved in closed form.
    Probe,
    /// A linear head trained as published.
    Linear,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Student => "student",
            Self::Teacher => "teacher",
            Self::Random => "random",
        })
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Knn => "knn",
            Self::Probe => "probe",
            Self::Linear => "linear",
        })
    }
}

/// One figure: an encoder at a step, judged in one way on held-out images, each of which counted once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Of the state at this step.
    pub step: Step,
    /// Whose features.
    pub encoder: Side,
    /// How they were judged.
    pub method: Method,
    /// Held-out images.
    pub n_images: u64,
    /// Of these, how many were put in their class.
    pub n_correct: u64,
    /// How many had their class among the five likeliest.
    pub n_correct5: u64,
    /// Training images that the judgement rests on.
    pub n_memory: u64,
    /// How long the whole evaluation took, of which this may be one of several figures.
    pub duration: Duration,
}

impl Evaluation {
    /// Share of the held-out images put in their class, 0 to 1.
    pub fn top1(&self) -> f64 {
        share(self.n_correct, self.n_images)
    }

    /// Share of those that had their class among the five likeliest, 0 to 1.
    pub fn top5(&self) -> f64 {
        share(self.n_correct5, self.n_images)
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    part as f64 / whole as f64
}

/// How nearest neighbours and the probe are asked; told with each figure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Neighbours that vote.
    pub k: u32,
    /// T: a neighbour's weight is exp(cosine/T).
    pub temperature: f64,
}

/// A line of [`EVALUATIONS_FILE`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationLine {
    /// Of the state at this step.
    pub step: Step,
    /// Whole epochs done by then.
    pub epoch: u64,
    /// The generation that measured it.
    pub generation: Generation,
    /// Whose features.
    pub encoder: Side,
    /// How they were judged.
    pub method: Method,
    /// Share of held-out images put in their class.
    pub top1: f64,
    /// Share that had their class among the five likeliest.
    pub top5: f64,
    /// The first as a number of images.
    pub n_correct: u64,
    /// The second as a number of images.
    pub n_correct5: u64,
    /// Held-out images.
    pub n_images: u64,
    /// Training images that the judgement rests on.
    pub n_memory: u64,
    /// How long the whole evaluation took.
    pub seconds: f64,
    /// How neighbours were asked, where they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Settings>,
}

impl EvaluationLine {
    /// The line of an evaluation that a generation measured.
    pub fn new(evaluation: &Evaluation, (epoch, generation): (u64, Generation), settings: Settings) -> Self {
        Self {
            step: evaluation.step,
            epoch,
            generation,
            encoder: evaluation.encoder,
            method: evaluation.method,
            top1: evaluation.top1(),
            top5: evaluation.top5(),
            n_correct: evaluation.n_correct,
            n_correct5: evaluation.n_correct5,
            n_images: evaluation.n_images,
            n_memory: evaluation.n_memory,
            seconds: evaluation.duration.as_secs_f64(),
            settings: (evaluation.method == Method::Knn).then_some(settings),
        }
    }

    /// Whether both are of the same encoder, judged in the same way.
    pub fn is_kin(&self, encoder: Side, method: Method) -> bool {
        (self.encoder, self.method) == (encoder, method)
    }
}

impl fmt::Display for EvaluationLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {:.2} % ({} of {} images)",
            self.encoder,
            self.method,
            100.0 * self.top1,
            self.n_correct,
            self.n_images
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_all_images_and_only_neighbours_have_settings() {
        let mut evaluation = Evaluation {
            step: Step(53),
            encoder: Side::Teacher,
            method: Method::Knn,
            n_images: 372,
            n_correct: 93,
            n_correct5: 186,
            n_memory: 3409,
            duration: Duration::from_millis(1500),
        };
        let settings = Settings {
            k: 20,
            temperature: 0.07,
        };
        let line = EvaluationLine::new(&evaluation, (1, Generation(2)), settings);
        assert_eq!((line.top1, line.top5, line.seconds), (0.25, 0.5, 1.5));
        assert_eq!(line.to_string(), "teacher knn 25.00 % (93 of 372 images)");
        let text = serde_json::to_string(&line).unwrap();
        assert!(
            text.starts_with(r#"{"step":53,"epoch":1,"generation":2,"encoder":"teacher","method":"knn""#),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<EvaluationLine>(&text).unwrap(), line);

        evaluation.method = Method::Linear;
        let line = EvaluationLine::new(&evaluation, (1, Generation(2)), settings);
        assert_eq!(line.settings, None);
        evaluation.n_images = 0;
        assert_eq!(evaluation.top1(), 0.0);
    }
}
