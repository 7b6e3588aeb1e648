//! Learning rate and both momenta as pure functions of the step.
//!
//! T is the total number of steps, W the warm-up's, i the step about to be taken (0-based), L the peak learning rate.
//! The formulas are those of the published implementation of "Momentum² Teacher" (arXiv 2101.07525).

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::ids::Step;

/// The course of the learning rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LearningRateCourse {
    /// Linear from 1e-6 to L over the warm-up, then half a cosine to 0. As published.
    WarmupCosine,
    /// Half a cosine from L to 0, no warm-up.
    Cosine,
    /// L, times 0.1 at each milestone.
    Multistep,
}

/// All schedules of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// T.
    pub total_steps: u64,
    /// W; counts only for [`LearningRateCourse::WarmupCosine`].
    pub warmup_steps: u64,
    /// The shape of the learning rate.
    pub course: LearningRateCourse,
    /// L = lr256 · B / 256.
    pub peak_learning_rate: f64,
    /// Steps at which a multistep course drops by ten, ascending.
    pub milestones: Vec<u64>,
    /// m₀, the teacher's momentum before the first step.
    pub parameter_momentum: f64,
}

/// What the schedules say of one step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// lr(i), used by the optimizer in step i.
    pub learning_rate: f64,
    /// m(i). The teacher's update that belongs to step i uses m(i+1): see [`Schedule::teacher_momentum`].
    pub parameter_momentum: f64,
    /// α(i), the share of the batch in the teacher's statistics: 1 at first, 0 at last.
    pub statistics_momentum: f64,
}

/// Where the published warm-up starts.
const WARMUP_FLOOR: f64 = 1e-6;

impl Schedule {
    /// The rates of step `i`.
    pub fn at(&self, step: Step) -> Rates {
        Rates {
            learning_rate: self.learning_rate(step.0),
            parameter_momentum: self.momentum_of_parameters(step.0),
            statistics_momentum: (half_turn(step.0, self.total_steps).cos() + 1.0) / 2.0,
        }
    }

    /// m(i+1), by which the teacher follows the student in the commit of step `i`.
    pub fn teacher_momentum(&self, step: Step) -> f64 {
        self.momentum_of_parameters(step.0 + 1)
    }

    fn momentum_of_parameters(&self, i: u64) -> f64 {
        1.0 - (1.0 - self.parameter_momentum) * (half_turn(i, self.total_steps).cos() + 1.0) / 2.0
    }

    fn learning_rate(&self, i: u64) -> f64 {
        let (peak, warmup) = (self.peak_learning_rate, self.warmup_steps);
        match self.course {
            LearningRateCourse::WarmupCosine if warmup > 0 && i <= warmup => {
                (peak - WARMUP_FLOOR) * i as f64 / warmup as f64 + WARMUP_FLOOR
            }
            LearningRateCourse::WarmupCosine => {
                let (done, all) = (i - warmup, self.total_steps.saturating_sub(warmup));
                peak * (1.0 + half_turn(done, all).cos()) / 2.0
            }
            LearningRateCourse::Cosine => peak * (1.0 + half_turn(i, self.total_steps).cos()) / 2.0,
            LearningRateCourse::Multistep => {
                let passed = self.milestones.iter().filter(|&&at| at <= i).count();
                peak * 0.1f64.powi(i32::try_from(passed).unwrap_or(i32::MAX))
            }
        }
    }
}

/// π · i / n, the angle of a half cosine after `i` of `n` steps.
fn half_turn(i: u64, n: u64) -> f64 {
    PI * i as f64 / n.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(course: LearningRateCourse) -> Schedule {
        Schedule {
            total_steps: 100,
            warmup_steps: 10,
            course,
            peak_learning_rate: 0.2,
            milestones: vec![60, 80],
            parameter_momentum: 0.99,
        }
    }

    #[test]
    fn each_course_passes_its_landmarks() {
        use LearningRateCourse::{Cosine, Multistep, WarmupCosine};
        for (course, step, expected) in [
            (WarmupCosine, 0, 1e-6),
            (WarmupCosine, 10, 0.2),
            (WarmupCosine, 55, 0.1),
            (WarmupCosine, 100, 0.0),
            (Cosine, 0, 0.2),
            (Cosine, 50, 0.1),
            (Multistep, 59, 0.2),
            (Multistep, 60, 0.02),
            (Multistep, 99, 0.002),
        ] {
            let rate = schedule(course).at(Step(step)).learning_rate;
            assert!(
                (rate - expected).abs() < 1e-12,
                "{course:?} at {step}: {rate}, expected {expected}"
            );
        }
    }

    #[test]
    fn a_run_without_warm_up_starts_at_its_peak() {
        let schedule = Schedule {
            warmup_steps: 0,
            ..schedule(LearningRateCourse::WarmupCosine)
        };
        assert_eq!(schedule.at(Step(0)).learning_rate, 0.2);
    }

    #[test]
    fn momenta_go_their_way() {
        let schedule = schedule(LearningRateCourse::WarmupCosine);
        let (first, last) = (schedule.at(Step(0)), schedule.at(Step(100)));
        assert_eq!((first.parameter_momentum, first.statistics_momentum), (0.99, 1.0));
        assert_eq!((last.parameter_momentum, last.statistics_momentum), (1.0, 0.0));
        assert_eq!(
            schedule.teacher_momentum(Step(0)),
            schedule.at(Step(1)).parameter_momentum
        );
    }
}
