//! From what could not be read to a sentence with the layer, the key and the way out.
//!
//! What a key should hold is taken from its default, so that a new key needs no line here.

use toml::{Table, Value};

use super::duration;
use super::error::RecipeError;
use super::layers::{Layers, leaves, lookup};
use super::nearest::nearest;
use super::presets;
use super::reading::{Fault, Misread};

impl Layers {
    /// The refusal that says what `misread` found.
    pub(super) fn refusal(&self, misread: Misread) -> RecipeError {
        let Misread { key, fault } = misread;
        let defaults = presets::defaults();
        let origin = self.origin(&key);
        let written = self
            .value(&key)
            .cloned()
            .unwrap_or_else(|| Value::String(String::new()));
        let default = lookup(&defaults, &key);
        match fault {
            Fault::UnknownKey => self.unknown(key, &defaults),
            Fault::UnknownName(known) => RecipeError::UnknownName {
                nearest: written
                    .as_str()
                    .and_then(|name| nearest(name, known.iter().copied())),
                known,
                origin,
                key,
                value: written.to_string(),
            },
            Fault::Type | Fault::Other(_) if is_duration(default) => RecipeError::Duration {
                problem: if duration::has_no_unit(&written) {
                    "has no unit"
                } else {
                    "is no duration"
                },
                meant: duration::meant(&written),
                origin,
                key,
                value: written.to_string(),
            },
            Fault::Type => RecipeError::Type {
                expected: expected(default, &written),
                origin,
                key,
                value: written.to_string(),
            },
            Fault::Other(message) => RecipeError::Other { origin, key, message },
        }
    }

    fn unknown(&self, key: String, defaults: &Table) -> RecipeError {
        let origin = self.origin(&key);
        // `steps` has no default: it stands for `epochs`.
        let known: Vec<String> = leaves(defaults)
            .into_iter()
            .map(|(key, _)| key)
            .chain(["steps".to_owned()])
            .collect();
        let last = |key: &str| key.rsplit('.').next().map(str::to_owned);
        let is_value = self.value(&key).is_some_and(|value| !value.is_table());
        if let Some(belongs) = known.iter().find(|other| is_value && last(other) == last(&key)) {
            return RecipeError::WrongTable {
                origin,
                belongs: belongs.clone(),
                key,
            };
        }
        let tables = defaults.iter().filter(|(_, value)| value.is_table());
        let found = if is_value {
            nearest(&key, known.iter().map(String::as_str))
        } else {
            nearest(&key, tables.map(|(table, _)| table.as_str()))
        };
        RecipeError::UnknownKey {
            origin,
            nearest: found.map(str::to_owned),
            key,
        }
    }
}

fn is_duration(default: Option<&Value>) -> bool {
    default
        .and_then(Value::as_str)
        .is_some_and(|text| duration::parse(text).is_some())
}

/// What stands in a key with such a default, in words.
fn expected(default: Option<&Value>, written: &Value) -> String {
    match default {
        Some(Value::Table(_)) => "a table: keys below its name in brackets".to_owned(),
        Some(Value::Float(number)) => format!("a number, such as {}", Value::Float(*number)),
        Some(Value::Array(pair)) if pair.len() == 2 => {
            format!("a pair of numbers, such as {}", Value::Array(pair.clone()))
        }
        Some(Value::Array(_)) => "a list of whole numbers, such as [60, 80]".to_owned(),
        Some(Value::String(text)) => format!("text, such as {text:?}"),
        _ if written.as_integer().is_some_and(|number| number < 0) => {
            "a whole number, not a negative one".to_owned()
        }
        _ if written.is_integer() => format!("a whole number of at most {}", u32::MAX),
        _ => "a whole number".to_owned(),
    }
}
