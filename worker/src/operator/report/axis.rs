//! Axes: where ticks stand, and what is written at them. Few of them, at round numbers.

use std::ops::Range;

/// How values are laid on the vertical axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// As they are.
    Linear,
    /// By their logarithm; all are above 0.
    Logarithmic,
    /// As they are, from 0 to 100 whatever the values.
    Percent,
}

/// Values that reach over more than this factor are shown by their logarithm.
const WIDE: f64 = 30.0;

impl Scale {
    /// The scale that suits a positive quantity of these values.
    pub(super) fn for_positive(values: &Range<f64>) -> Self {
        if values.start > 0.0 && values.end / values.start > WIDE {
            Self::Logarithmic
        } else {
            Self::Linear
        }
    }

    /// Where a value lies on the axis.
    pub(super) fn place(self, value: f64) -> f64 {
        match self {
            Self::Linear | Self::Percent => value,
            Self::Logarithmic => value.log10(),
        }
    }

    /// The part of the axis that shows values between these, with some air, in places.
    pub(super) fn range(self, values: &Range<f64>) -> Range<f64> {
        let (low, high) = match self {
            Self::Percent => return 0.0..100.0,
            Self::Linear | Self::Logarithmic => (self.place(values.start), self.place(values.end)),
        };
        let span = if high > low {
            high - low
        } else {
            (high.abs() * 0.1).max(1e-6)
        };
        let air = span * 0.06;
        // A quantity that is never negative is not given room below 0.
        let floor = if self == Self::Linear && low >= 0.0 {
            0.0
        } else {
            f64::NEG_INFINITY
        };
        (low - air).max(floor)..high + air
    }

    /// Places of ticks, and what is written at them.
    pub(super) fn ticks(self, range: &Range<f64>) -> Vec<(f64, String)> {
        match self {
            Self::Percent => [0.0, 25.0, 50.0, 75.0, 100.0]
                .map(|value| (value, format!("{value} %")))
                .to_vec(),
            Self::Linear => linear(range, 5),
            Self::Logarithmic => logarithmic(range),
        }
    }
}

/// About `n` ticks at round numbers.
pub(super) fn linear(range: &Range<f64>, n: u32) -> Vec<(f64, String)> {
    multiples(range, round_step((range.end - range.start) / f64::from(n)))
}

/// About `n` ticks at round whole numbers.
pub(super) fn whole(range: &Range<f64>, n: u32) -> Vec<(f64, String)> {
    multiples(
        range,
        round_step((range.end - range.start) / f64::from(n)).max(1.0),
    )
}

fn multiples(range: &Range<f64>, step: f64) -> Vec<(f64, String)> {
    let first = (range.start / step).ceil();
    let count = ((range.end / step).floor() - first).clamp(0.0, 100.0) as u32;
    let values = (0..=count).map(|i| (first + f64::from(i)) * step);
    values.map(|value| (value, written(value, step))).collect()
}

/// 1, 2 or 5 times a power of ten, nearest above.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.max(f64::MIN_POSITIVE).log10().floor());
    let digit = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|digit| digit * power >= step * 0.999);
    digit.unwrap_or(10.0) * power
}

fn logarithmic(range: &Range<f64>) -> Vec<(f64, String)> {
    let powers = range.start.floor() as i32..=range.end.ceil() as i32;
    let digits: &[f64] = if range.end - range.start > 2.5 {
        &[1.0]
    } else {
        &[1.0, 2.0, 5.0]
    };
    let values = powers.flat_map(|power| digits.iter().map(move |digit| digit * 10f64.powi(power)));
    values
        .map(|value| (value.log10(), number(value)))
        .filter(|(place, _)| range.contains(place))
        .collect()
}

/// A tick's value, with the digits that tell it from its neighbours.
fn written(value: f64, step: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if step >= 1000.0 {
        return thousands(value);
    }
    if step < 1e-4 {
        return scientific(value);
    }
    let decimals = (-step.log10().floor()).max(0.0) as usize;
    format!("{value:.decimals$}").replace('-', "\u{2212}")
}

/// A number of steps: 12000 as 12k.
pub(super) fn short(n: u64) -> String {
    if n < 10_000 {
        return n.to_string();
    }
    thousands((n as f64 / 1e3).round() * 1e3)
}

/// 20000 as 20k, 1500000 as 1.5M.
fn thousands(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        magnitude if magnitude >= 1e9 => (value / 1e9, "G"),
        magnitude if magnitude >= 1e6 => (value / 1e6, "M"),
        _ => (value / 1e3, "k"),
    };
    let text = format!("{scaled:.3}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

fn scientific(value: f64) -> String {
    format!("{value:.1e}")
        .replace(".0e", "e")
        .replace('-', "\u{2212}")
}

/// A number for people, in four digits or so.
pub(super) fn number(value: f64) -> String {
    let magnitude = value.abs();
    if value == 0.0 {
        "0".to_owned()
    } else if !(1e-3..1e6).contains(&magnitude) {
        scientific(value)
    } else if magnitude >= 1000.0 && value.fract() == 0.0 {
        grouped(value as i64)
    } else {
        let decimals = (3.0 - magnitude.log10().floor()).clamp(0.0, 6.0) as usize;
        let text = format!("{value:.decimals$}");
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text
        }
    }
}

/// 1281167 as 1 281 167, the groups apart by a space that does not break.
pub(super) fn grouped(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = if value < 0 { "\u{2212}" } else { "" }.to_owned();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push('\u{a0}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(ticks: &[(f64, String)]) -> Vec<&str> {
        ticks.iter().map(|(_, text)| text.as_str()).collect()
    }

    #[test]
    fn ticks_are_few_and_round() {
        assert_eq!(texts(&linear(&(0.58..4.3), 5)), ["1", "2", "3", "4"]);
        assert_eq!(
            texts(&linear(&(0.0..0.1), 5)),
            ["0", "0.02", "0.04", "0.06", "0.08", "0.10"]
        );
        assert_eq!(texts(&linear(&(0.0..125_000.0), 5)), ["0", "50k", "100k"]);
        assert_eq!(texts(&linear(&(-2.0..2.0), 5)), ["−2", "−1", "0", "1", "2"]);
        assert_eq!(texts(&whole(&(0.0..2.0), 5)), ["0", "1", "2"]);
        assert_eq!(
            texts(&linear(&(0.99..1.0), 5)),
            ["0.990", "0.992", "0.994", "0.996", "0.998", "1.000"]
        );
    }

    #[test]
    fn a_wide_range_of_positive_values_is_shown_by_its_logarithm() {
        assert_eq!(Scale::for_positive(&(0.5..9.0)), Scale::Linear);
        assert_eq!(Scale::for_positive(&(0.0..9.0)), Scale::Linear);
        let scale = Scale::for_positive(&(0.01..900.0));
        assert_eq!(scale, Scale::Logarithmic);
        let ticks = scale.ticks(&scale.range(&(0.01..900.0)));
        assert_eq!(texts(&ticks), ["0.01", "0.1", "1", "10", "100", "1\u{a0}000"]);
    }

    #[test]
    fn the_range_of_what_never_changes_is_not_empty() {
        for value in [0.0, 3.0, -3.0] {
            let range = Scale::Linear.range(&(value..value));
            assert!(range.start < range.end && range.end > value, "{range:?}");
        }
    }

    #[test]
    fn numbers_are_as_people_write_them() {
        for (value, text) in [
            (0.0, "0"),
            (0.589_77, "0.5898"),
            (412.64, "412.6"),
            (1_281_167.0, "1.3e6"),
            (4000.0, "4\u{a0}000"),
            (1e-6, "1e−6"),
            (600.0, "600"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!(grouped(1_281_167), "1\u{a0}281\u{a0}167");
    }
}
