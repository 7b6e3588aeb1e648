//! Counting held-out images by how their classes were told.

use m2t_torch::TorchError;
use m2t_torch::collective::{Collective, Op};
use tch::{Kind, Tensor};

use super::share::integers;

/// So many images, of which so many were right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Looked at.
    pub n_images: u64,
    /// Put in their class.
    pub n_correct: u64,
    /// Their class is among the five likeliest.
    pub n_correct5: u64,
}

impl Tally {
    /// An image whose classes came out in this order, the likeliest first.
    pub fn count(&mut self, ranked: &[u32], label: u32) {
        let place = ranked.iter().position(|class| *class == label);
        self.n_images += 1;
        self.n_correct += u64::from(place == Some(0));
        self.n_correct5 += u64::from(place.is_some_and(|place| place < 5));
    }

    /// Images with these scores, [n, classes], the higher the likelier; among equals the lower class is.
    pub fn add(&mut self, scores: &Tensor, labels: &[u32]) {
        let n_classes = scores.size()[1];
        let ranked =
            scores
                .to_kind(Kind::Double)
                .argsort_stable(true, 1, true)
                .narrow(1, 0, n_classes.min(5)); // [n, 5]
        for (row, label) in ranked.unbind(0).iter().zip(labels) {
            let row: Vec<u32> = integers(row)
                .into_iter()
                .map(|class| u32::try_from(class).unwrap_or(u32::MAX))
                .collect();
            self.count(&row, *label);
        }
    }

    /// Over all devices.
    ///
    /// # Errors
    /// When the group breaks.
    pub fn over(self, group: &dyn Collective) -> Result<Self, TorchError> {
        let own =
            [self.n_images, self.n_correct, self.n_correct5].map(|n| i64::try_from(n).unwrap_or(i64::MAX));
        let mut all = Tensor::from_slice(&own);
        group.combine(&mut all, Op::Sum)?;
        let all: Vec<u64> = integers(&all).into_iter().map(i64::unsigned_abs).collect();
        Ok(Self {
            n_images: all[0],
            n_correct: all[1],
            n_correct5: all[2],
        })
    }
}
