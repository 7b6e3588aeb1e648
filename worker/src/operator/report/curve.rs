//! A quantity over all steps of a run in bounded memory, without hiding what happened between two pixels.
//!
//! Steps fall into bins of equal width, at first a step each; when there are too many bins, neighbours are joined. A bin keeps the
//! least and the largest value besides the mean, so that the band between them shows every outlier of a run of any length.

/// Most bins: about as many as a plot has pixels. There are never fewer than half as many once there were so many.
const MOST_BINS: usize = 512;

/// Some steps in a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bin {
    /// Values that were finite.
    pub(super) n: u64,
    /// Of their steps, the mean.
    pub(super) step: f64,
    /// The least value.
    pub(super) least: f64,
    /// The largest value.
    pub(super) largest: f64,
    /// Their mean.
    pub(super) mean: f64,
}

impl Bin {
    fn of(step: u64, value: f64) -> Self {
        Self {
            n: 1,
            step: step as f64,
            least: value,
            largest: value,
            mean: value,
        }
    }

    fn join(self, other: Self) -> Self {
        let n = self.n + other.n;
        let share = other.n as f64 / n as f64;
        Self {
            n,
            step: self.step + (other.step - self.step) * share,
            least: self.least.min(other.least),
            largest: self.largest.max(other.largest),
            mean: self.mean + (other.mean - self.mean) * share,
        }
    }
}

/// A quantity over the steps.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Curve {
    bins: Vec<(u64, Bin)>,
    /// Steps a bin is wide.
    width: u64,
    /// Values that were told but no finite number.
    pub(super) n_not_finite: u64,
}

impl Default for Curve {
    fn default() -> Self {
        Self {
            bins: Vec::new(),
            width: 1,
            n_not_finite: 0,
        }
    }
}

impl Curve {
    /// Adds the value of a step, after those of earlier steps.
    pub(super) fn add(&mut self, step: u64, value: f64) {
        if !value.is_finite() {
            self.n_not_finite += 1;
            return;
        }
        let (place, bin) = (step / self.width, Bin::of(step, value));
        match self.bins.last_mut() {
            Some((last, joined)) if *last == place => *joined = joined.join(bin),
            _ => self.bins.push((place, bin)),
        }
        if self.bins.len() > MOST_BINS {
            self.widen();
        }
    }

    /// Joins neighbours two by two.
    fn widen(&mut self) {
        self.width *= 2;
        let mut wider: Vec<(u64, Bin)> = Vec::with_capacity(MOST_BINS + 1);
        for (place, bin) in self.bins.drain(..) {
            match wider.last_mut() {
                Some((last, joined)) if *last == place / 2 => *joined = joined.join(bin),
                _ => wider.push((place / 2, bin)),
            }
        }
        self.bins = wider;
    }

    /// Steps that a bin is wide.
    pub(super) fn width(&self) -> u64 {
        self.width
    }

    /// From the first to the last.
    pub(super) fn bins(&self) -> impl DoubleEndedIterator<Item = &Bin> + ExactSizeIterator {
        self.bins.iter().map(|(_, bin)| bin)
    }

    /// The mean over all values.
    pub(super) fn mean(&self) -> Option<f64> {
        let all = self.bins().copied().reduce(Bin::join)?;
        Some(all.mean)
    }

    /// The mean of the last `n_steps` steps, as nearly as bins tell, and how many these were.
    pub(super) fn mean_of_last(&self, n_steps: u64) -> Option<(f64, u64)> {
        let mut last: Option<Bin> = None;
        for bin in self.bins().rev() {
            if last.is_some_and(|last| last.n + bin.n > n_steps) {
                break;
            }
            last = Some(last.map_or(*bin, |last| last.join(*bin)));
        }
        last.map(|last| (last.mean, last.n))
    }

    /// The curve without its noise: at each bin the mean over a fortieth of the bins to both sides, each by its number of values.
    /// The window shrinks towards the ends, so that it is centred everywhere and the first and last values stay what they were.
    pub(super) fn smoothed(&self) -> Vec<(f64, f64)> {
        let half = self.half_window();
        let bins: Vec<Bin> = self.bins().copied().collect();
        let last = bins.len().saturating_sub(1);
        let at = |i: usize| {
            let reach = half.min(i).min(last - i);
            let joined = bins[i - reach..=i + reach].iter().copied().reduce(Bin::join);
            joined.map(|window| (bins[i].step, window.mean))
        };
        (0..bins.len()).filter_map(at).collect()
    }

    /// Steps over which [`smoothed`](Self::smoothed) takes the mean.
    pub(super) fn window(&self) -> u64 {
        (2 * self.half_window() as u64 + 1) * self.width
    }

    fn half_window(&self) -> usize {
        self.bins.len() / 40
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(values: impl IntoIterator<Item = f64>) -> Curve {
        let mut curve = Curve::default();
        for (step, value) in (1..).zip(values) {
            curve.add(step, value);
        }
        curve
    }

    #[test]
    fn a_million_steps_take_a_screen_of_bins_and_hide_no_outlier() {
        let n = 1_000_000;
        let curve = curve((1..=n).map(|step| if step == 777_777 { 50.0 } else { 1.0 }));
        let bins: Vec<Bin> = curve.bins().copied().collect();
        assert!(
            (MOST_BINS / 2..=MOST_BINS).contains(&bins.len()),
            "{}",
            bins.len()
        );
        assert_eq!(bins.iter().map(|bin| bin.n).sum::<u64>(), n);
        let high: Vec<&Bin> = bins.iter().filter(|bin| bin.largest == 50.0).collect();
        assert_eq!(high.len(), 1);
        assert!((high[0].step - 777_777.0).abs() <= curve.width() as f64);
        assert!((curve.mean().unwrap() - (1.0 + 49.0 / n as f64)).abs() < 1e-9);
    }

    #[test]
    fn bins_of_one_step_hold_the_values_themselves() {
        let curve = curve([3.0, 1.0, 2.0]);
        let values: Vec<(f64, f64)> = curve.bins().map(|bin| (bin.step, bin.mean)).collect();
        assert_eq!(values, [(1.0, 3.0), (2.0, 1.0), (3.0, 2.0)]);
        assert_eq!(curve.smoothed(), values);
        assert_eq!(curve.mean_of_last(2), Some((1.5, 2)));
    }

    #[test]
    fn smoothing_keeps_a_straight_line_and_its_ends() {
        let curve = curve((0..400).map(f64::from));
        for (step, value) in curve.smoothed() {
            assert!((value - (step - 1.0)).abs() < 1e-9, "{value} at {step}");
        }
        assert_eq!(curve.window(), 21);
    }

    #[test]
    fn what_is_no_number_is_counted_and_not_drawn() {
        let curve = curve([1.0, f64::NAN, f64::INFINITY, 2.0]);
        assert_eq!((curve.bins().len(), curve.n_not_finite), (2, 2));
        assert_eq!(Curve::default().smoothed(), []);
    }
}
