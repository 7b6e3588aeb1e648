//! The losses since the view was opened, few enough to draw.

use m2t_common::status::Progress;

/// Points kept; of more, neighbours become their mean.
const KEPT: usize = 1024;

/// Losses by step, ascending.
#[derive(Clone, Debug, Default)]
pub(super) struct Losses {
    points: Vec<(f64, f64)>,
}

impl Losses {
    /// Takes a status in. Steps that a resume took back are taken out.
    pub(super) fn see(&mut self, progress: &Progress) {
        let step = progress.step.0 as f64;
        self.points.retain(|(at, _)| *at < step);
        if let Some(loss) = progress.loss.filter(|loss| loss.is_finite()) {
            self.points.push((step, loss));
        }
        if self.points.len() > KEPT {
            let mean = |pair: &[(f64, f64)]| {
                let n = pair.len() as f64;
                let sums = pair
                    .iter()
                    .fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
                (sums.0 / n, sums.1 / n)
            };
            self.points = self.points.chunks(2).map(mean).collect();
        }
    }

    /// (step, loss), ascending by step.
    pub(super) fn points(&self) -> &[(f64, f64)] {
        &self.points
    }

    /// The least and the largest loss; none without one.
    pub(super) fn range(&self) -> Option<(f64, f64)> {
        let losses = self.points.iter().map(|(_, loss)| *loss);
        losses.fold(None, |range, loss| {
            let (low, high) = range.unwrap_or((loss, loss));
            Some((loss.min(low), loss.max(high)))
        })
    }
}
