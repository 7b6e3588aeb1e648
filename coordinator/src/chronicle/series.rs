//! The numbers of a run's steps in at most [`MOST`] buckets: fine at first, coarser as the run grows.
//!
//! A bucket covers `stride` steps; when there are too many buckets the stride doubles and neighbours are joined. So a run of a
//! million steps costs 1024 buckets to keep and to send, and a spike stays visible as the bucket's extreme.

use m2t_common::Step;
use m2t_coordinator_core::CommittedStep;
use serde::{Deserialize, Serialize};

/// Buckets kept at most.
pub(crate) const MOST: usize = 1024;

/// What the page draws of one committed step: a line of `metrics.jsonl`, without what it does not draw.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub(crate) struct Point {
    /// The state's step after the commit, from 1.
    step: Step,
    loss: f64,
    learning_rate: f64,
    images_per_second: f64,
    data_wait: f64,
}

impl Point {
    /// Of a step that is committed.
    pub(crate) fn of(step: &CommittedStep) -> Self {
        Self {
            step: step.report.step,
            loss: step.report.loss,
            learning_rate: step.rates.learning_rate,
            images_per_second: step.images_per_second,
            data_wait: step.data_wait,
        }
    }
}

/// Steps that lie beside each other, in one.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bucket {
    first: u64,
    last: u64,
    n_steps: u64,
    /// Sums, for means.
    loss: f64,
    images_per_second: f64,
    data_wait: f64,
    lowest_loss: f64,
    highest_loss: f64,
    /// Of the last step.
    learning_rate: f64,
}

impl Bucket {
    fn of(point: &Point) -> Self {
        Self {
            first: point.step.0,
            last: point.step.0,
            n_steps: 1,
            loss: point.loss,
            images_per_second: point.images_per_second,
            data_wait: point.data_wait,
            lowest_loss: point.loss,
            highest_loss: point.loss,
            learning_rate: point.learning_rate,
        }
    }

    /// Takes in the bucket that follows.
    fn join(&mut self, next: &Self) {
        self.last = next.last;
        self.n_steps += next.n_steps;
        self.loss += next.loss;
        self.images_per_second += next.images_per_second;
        self.data_wait += next.data_wait;
        self.lowest_loss = self.lowest_loss.min(next.lowest_loss);
        self.highest_loss = self.highest_loss.max(next.highest_loss);
        self.learning_rate = next.learning_rate;
    }
}

/// The numbers of a run's steps.
#[derive(Debug)]
pub(super) struct Series {
    stride: u64,
    buckets: Vec<Bucket>,
}

impl Default for Series {
    fn default() -> Self {
        Self {
            stride: 1,
            buckets: Vec::new(),
        }
    }
}

/// The series as it goes out: a column a quantity, a row a bucket, oldest first. Means, but for those named otherwise.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(crate) struct Columns {
    /// Steps a bucket covers. Whoever has buckets of another stride asks for all again.
    pub(crate) stride: u64,
    first: Vec<u64>,
    last: Vec<u64>,
    loss: Vec<f32>,
    lowest_loss: Vec<f32>,
    highest_loss: Vec<f32>,
    learning_rate: Vec<f32>,
    images_per_second: Vec<f32>,
    data_wait: Vec<f32>,
}

impl Series {
    /// One more step, later than those before.
    pub(super) fn add(&mut self, point: &Point) {
        let next = Bucket::of(point);
        match self.buckets.last_mut() {
            Some(last) if slot(last.first, self.stride) == slot(next.first, self.stride) => last.join(&next),
            _ => self.buckets.push(next),
        }
        while self.buckets.len() > MOST {
            self.coarsen();
        }
    }

    /// Forgets the steps after `after`. Of a bucket that lies on both sides the means stay, and its steps are added again.
    pub(super) fn cut_back(&mut self, after: Step) {
        self.buckets.retain(|bucket| bucket.first <= after.0);
        if let Some(last) = self.buckets.last_mut() {
            last.last = last.last.min(after.0);
        }
    }

    /// Those buckets that tell of steps after `from`.
    pub(super) fn columns(&self, from: Step) -> Columns {
        let mut columns = Columns {
            stride: self.stride,
            ..Columns::default()
        };
        let begin = self.buckets.partition_point(|bucket| bucket.last <= from.0);
        for bucket in &self.buckets[begin..] {
            let mean = |sum: f64| (sum / bucket.n_steps as f64) as f32;
            columns.first.push(bucket.first);
            columns.last.push(bucket.last);
            columns.loss.push(mean(bucket.loss));
            columns.lowest_loss.push(bucket.lowest_loss as f32);
            columns.highest_loss.push(bucket.highest_loss as f32);
            columns.learning_rate.push(bucket.learning_rate as f32);
            columns.images_per_second.push(mean(bucket.images_per_second));
            columns.data_wait.push(mean(bucket.data_wait));
        }
        columns
    }

    fn coarsen(&mut self) {
        self.stride *= 2;
        let stride = self.stride;
        self.buckets.dedup_by(|next, kept| {
            let same = slot(next.first, stride) == slot(kept.first, stride);
            if same {
                kept.join(next);
            }
            same
        });
    }
}

/// Which bucket a step, counted from 1, belongs to.
fn slot(step: u64, stride: u64) -> u64 {
    step.saturating_sub(1) / stride
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(step: u64) -> Point {
        Point {
            step: Step(step),
            loss: step as f64,
            learning_rate: 0.5,
            images_per_second: 8.0,
            data_wait: 0.25,
        }
    }

    fn filled(n_steps: u64) -> Series {
        let mut series = Series::default();
        for step in 1..=n_steps {
            series.add(&point(step));
        }
        series
    }

    #[test]
    fn a_million_steps_are_few_buckets_that_miss_none() {
        let columns = filled(1_000_000).columns(Step(0));
        assert_eq!(columns.stride, 1024);
        assert_eq!(columns.first.len(), 977);
        assert_eq!((columns.first[0], columns.last[0]), (1, 1024));
        assert_eq!(columns.last.last(), Some(&1_000_000));
        for (last, first) in columns.last.iter().zip(&columns.first[1..]) {
            assert_eq!(last + 1, *first);
        }
        assert_eq!(
            (columns.lowest_loss[1], columns.loss[1], columns.highest_loss[1]),
            (1025.0, 1536.5, 2048.0)
        );
        assert_eq!((columns.data_wait[3], columns.images_per_second[3]), (0.25, 8.0));
    }

    #[test]
    fn only_what_is_new_is_given_and_the_growing_bucket_again() {
        let series = filled(3000);
        let columns = series.columns(Step(2999));
        assert_eq!(
            (columns.stride, columns.first, columns.last),
            (4, vec![2997], vec![3000])
        );
        assert_eq!(series.columns(Step(3000)).first, Vec::<u64>::new());
    }

    #[test]
    fn what_is_cut_back_is_gone_and_comes_again() {
        let mut series = filled(10);
        series.cut_back(Step(4));
        assert_eq!(series.columns(Step(0)).last, [1, 2, 3, 4]);
        series.add(&point(5));
        assert_eq!(series.columns(Step(3)).loss, [4.0, 5.0]);
        let mut coarse = filled(3000);
        coarse.cut_back(Step(2));
        coarse.add(&point(3));
        let columns = coarse.columns(Step(0));
        assert_eq!((columns.first, columns.last), (vec![1], vec![3]));
        series.cut_back(Step(0));
        assert_eq!(series.columns(Step(0)).first, Vec::<u64>::new());
    }

    #[test]
    fn a_loss_that_is_no_number_is_a_gap() {
        let mut series = Series::default();
        series.add(&Point {
            loss: f64::NAN,
            ..point(1)
        });
        let json = serde_json::to_value(series.columns(Step(0))).unwrap();
        assert_eq!(json["loss"], serde_json::json!([null]));
    }
}
