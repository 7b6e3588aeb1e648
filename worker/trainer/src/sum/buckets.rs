//! Buckets of gradients, summed while the last rank's backward still runs.
//!
//! The flat gradient is cut into contiguous buckets from its end, where the backward begins. The cut is a pure function of
//! the layout, and buckets are summed in this order on every device, whatever the order they fill in. The sums run on a thread
//! of their own; the backward's hooks tell it of each bucket that is complete.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use m2t_common::Rank;
use m2t_torch::collective::Collective;
use tch::Tensor;

use super::{Broken, Summation};
use crate::model::layout::Layout;

/// Elements a bucket holds at most, unless one parameter is larger: 25 MiB of float32, as PyTorch's.
const CAPACITY: i64 = 25 * (1 << 20) / 4;

/// One bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Its stretch of the flat gradient.
    pub elements: Range<i64>,
    /// Its parameters, by their place in the layout.
    pub parameters: Range<usize>,
}

/// Cuts the flat gradient of `layout`, last parameters first.
pub fn cut(layout: &Layout) -> Vec<Bucket> {
    cut_at(layout, CAPACITY)
}

fn cut_at(layout: &Layout, capacity: i64) -> Vec<Bucket> {
    let mut buckets = Vec::new();
    let (mut end, mut last) = (layout.extent().n_elements, layout.parameters.len());
    for (i, parameter) in layout.parameters.iter().enumerate().rev() {
        let begins_here = i == 0 || end - layout.parameters[i - 1].offset > capacity;
        if begins_here {
            buckets.push(Bucket {
                elements: parameter.offset..end,
                parameters: i..last,
            });
            (end, last) = (parameter.offset, i);
        }
    }
    buckets
}

/// Counts the gradients that are still missing in each bucket; shared with the backward's hooks.
#[derive(Debug)]
pub struct Filling {
    bucket_of: Vec<usize>,
    sizes: Vec<usize>,
    missing: Vec<AtomicUsize>,
    filled: std::sync::Mutex<Option<Sender<usize>>>,
}

impl Filling {
    /// Nothing is counted until [`Filling::arm`].
    pub fn new(buckets: &[Bucket]) -> Self {
        let n_parameters = buckets.first().map_or(0, |bucket| bucket.parameters.end);
        let mut bucket_of = vec![0; n_parameters];
        for (i, bucket) in buckets.iter().enumerate() {
            bucket_of[bucket.parameters.clone()].fill(i);
        }
        let sizes: Vec<usize> = buckets.iter().map(|bucket| bucket.parameters.len()).collect();
        let missing = sizes.iter().map(|_| AtomicUsize::new(0)).collect();
        Self {
            bucket_of,
            sizes,
            missing,
            filled: std::sync::Mutex::new(None),
        }
    }

    /// The next backward tells of its buckets.
    pub fn arm(&self) -> Receiver<usize> {
        let (sender, receiver) = channel();
        for (missing, size) in self.missing.iter().zip(&self.sizes) {
            missing.store(*size, Ordering::Release);
        }
        *self.sender() = Some(sender);
        receiver
    }

    /// Nobody listens any more; whoever still waits for a bucket learns that none will come.
    pub fn disarm(&self) {
        *self.sender() = None;
    }

    /// The gradient of a parameter is complete.
    pub fn complete(&self, parameter: usize) {
        let sender = self.sender();
        let Some(sender) = sender.as_ref() else { return };
        let bucket = self.bucket_of[parameter];
        if self.missing[bucket].fetch_sub(1, Ordering::AcqRel) == 1 {
            // The receiver is gone only when its sum has failed; the step finds that out when it waits for the sum.
            let _ = sender.send(bucket);
        }
    }

    fn sender(&self) -> std::sync::MutexGuard<'_, Option<Sender<usize>>> {
        self.filled
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A sum of gradients under way.
#[derive(Debug)]
pub struct Reducing(JoinHandle<Result<Reduced, Broken>>);

/// The averaged gradient.
#[derive(Debug)]
pub struct Reduced {
    /// The flat mean over all ranks.
    pub gradient: Tensor,
    /// How long the sums took, the waits for buckets apart.
    pub busy: Duration,
}

impl Reducing {
    /// Starts to sum: `parts` are the flat gradients of this device's ranks, the last of which is being filled.
    pub fn start(
        buckets: Arc<[Bucket]>,
        filled: Receiver<usize>,
        parts: Vec<(Rank, Tensor)>,
        (summation, group): (Summation, Arc<dyn Collective>),
    ) -> Self {
        let body = move || reduce(&buckets, &filled, &parts, (summation, &*group));
        Self(std::thread::spawn(body))
    }

    /// The mean over all ranks.
    pub fn wait(self) -> Result<Reduced, Broken> {
        self.0.join().unwrap_or(Err(Broken::ReducerGone))
    }
}

fn reduce(
    buckets: &[Bucket],
    filled: &Receiver<usize>,
    parts: &[(Rank, Tensor)],
    (summation, group): (Summation, &dyn Collective),
) -> Result<Reduced, Broken> {
    let gradient = parts[0].1.empty_like();
    let mut busy = Duration::ZERO;
    let mut ready = vec![false; buckets.len()];
    for (i, bucket) in buckets.iter().enumerate() {
        while !ready[i] {
            ready[filled.recv().map_err(|_| Broken::ReducerGone)?] = true;
        }
        let began = Instant::now();
        let (start, length) = (bucket.elements.start, bucket.elements.end - bucket.elements.start);
        let views: Vec<(Rank, Tensor)> = parts
            .iter()
            .map(|(rank, part)| (*rank, part.narrow(0, start, length)))
            .collect();
        summation.mean(
            &views,
            "the gradient",
            group,
            &mut gradient.narrow(0, start, length),
        )?;
        busy += began.elapsed();
    }
    Ok(Reduced { gradient, busy })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::layout::Role;

    fn layout(lengths: &[i64]) -> Layout {
        let mut layout = Layout::default();
        for (i, &length) in lengths.iter().enumerate() {
            layout.parameter(format!("p{i}"), &[length], Role::NormWeight);
        }
        layout
    }

    #[test]
    fn buckets_cover_the_gradient_from_its_end() {
        let layout = layout(&[16, 160, 16, 30, 16]);
        let buckets = cut_at(&layout, 64);
        let elements: Vec<_> = buckets.iter().map(|b| b.elements.clone()).collect();
        assert_eq!(
            elements,
            [176..240, 16..176, 0..16].map(|r: Range<i64>| r).to_vec()
        );
        assert_eq!(cut(&layout).len(), 1);
        let parameters: usize = buckets.iter().map(|b| b.parameters.len()).sum();
        assert_eq!(parameters, 5);
    }

    #[test]
    fn a_bucket_is_told_of_once_and_only_when_full() {
        let buckets = cut_at(&layout(&[16, 16, 16]), 32);
        let filling = Filling::new(&buckets);
        filling.complete(2);
        let filled = filling.arm();
        filling.complete(0);
        filling.complete(2);
        assert_eq!(filled.try_iter().collect::<Vec<_>>(), [1]);
        filling.complete(1);
        filling.disarm();
        assert_eq!(filled.iter().collect::<Vec<_>>(), [0]);
    }
}
