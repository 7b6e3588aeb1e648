//! Durations as people write them: a whole number and its unit, "250ms", "10s", "5m", "1h". No spaces, no fractions: one
//! way to write a thing, so that two recipes can be compared by eye.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de::Error};
use toml::Value;

/// Units with their milliseconds, longest first.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    serializer.serialize_str(&text(milliseconds))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).ok_or_else(|| {
        D::Error::custom(format!(
            "{text:?} is no duration; write it as \"250ms\", \"10s\", \"5m\" or \"1h\""
        ))
    })
}

/// The duration that `text` says, if it is one.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let (number, unit) = parts(text);
    let (_, milliseconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let number: u64 = number.parse().ok()?;
    Some(Duration::from_millis(number.checked_mul(*milliseconds)?))
}

/// What was probably meant by something that is no duration: 10 is "10s", "3 minutes" is "3m".
pub(super) fn meant(written: &Value) -> Option<String> {
    let text = match written {
        Value::String(text) => text.trim().to_lowercase(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        _ => return None,
    };
    let (number, unit) = parts(&text);
    let per_unit = match unit.trim().trim_end_matches('.') {
        "" | "s" | "sec" | "secs" | "second" | "seconds" => 1_000,
        "ms" | "msec" | "msecs" | "millis" | "millisecond" | "milliseconds" => 1,
        "m" | "min" | "mins" | "minute" | "minutes" => 60_000,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3_600_000,
        "d" | "day" | "days" => 86_400_000,
        _ => return None,
    };
    let milliseconds = number.parse::<f64>().ok()? * f64::from(per_unit);
    let sensible = milliseconds.is_finite() && (0.0..1e15).contains(&milliseconds);
    sensible.then(|| self::text(milliseconds.round() as u64))
}

/// Whether `written` lacks a unit altogether.
pub(super) fn has_no_unit(written: &Value) -> bool {
    match written {
        Value::String(text) => parts(text.trim()).1.is_empty(),
        other => other.is_integer() || other.is_float(),
    }
}

/// Number and unit, split where the digits end.
fn parts(text: &str) -> (&str, &str) {
    let is_numeric = |c: char| c.is_ascii_digit() || c == '.';
    let end = text.find(|c| !is_numeric(c)).unwrap_or(text.len());
    (&text[..end], &text[end..])
}

/// In the largest unit that leaves a whole number.
fn text(milliseconds: u64) -> String {
    let (unit, per_unit) = UNITS
        .into_iter()
        .find(|(_, per_unit)| milliseconds > 0 && milliseconds.is_multiple_of(*per_unit))
        .unwrap_or(("s", 1_000));
    format!("{}{unit}", milliseconds / per_unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_out_reads_back() {
        for (milliseconds, expected) in [
            (0, "0s"),
            (250, "250ms"),
            (3_000, "3s"),
            (3_500, "3500ms"),
            (90_000, "90s"),
            (300_000, "5m"),
            (7_200_000, "2h"),
        ] {
            assert_eq!(text(milliseconds), expected);
            assert_eq!(parse(expected), Some(Duration::from_millis(milliseconds)));
        }
    }

    #[test]
    fn near_misses_are_no_durations_but_are_understood() {
        for (written, expected) in [
            (Value::Integer(10), Some("10s")),
            (Value::Float(0.25), Some("250ms")),
            ("3 s".into(), Some("3s")),
            ("3sec".into(), Some("3s")),
            ("3 minutes".into(), Some("3m")),
            ("1.5h".into(), Some("90m")),
            ("10".into(), Some("10s")),
            ("2 Days".into(), Some("48h")),
            ("3 parsecs".into(), None),
            ("soon".into(), None),
            (Value::Integer(-3), None),
            (Value::Boolean(true), None),
        ] {
            assert_eq!(meant(&written).as_deref(), expected, "{written}");
            if let Some(text) = written.as_str() {
                assert_eq!(parse(text), None, "{text}");
            }
        }
    }
}
