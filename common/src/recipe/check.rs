//! The checks every recipe passes once its types are right, as refusals that name the layer.

use std::fmt::Display;

use toml::Value;

use super::error::RecipeError;
use super::layers::Layers;

/// Refuses in the name of the layer that wrote a key.
pub(super) struct Check<'a> {
    pub(super) layers: &'a Layers,
}

impl Check<'_> {
    /// That `value`, which stands at `key` or is one number of the list there, lies between the bounds.
    pub(super) fn within<T: PartialOrd + Copy + Display>(
        &self,
        key: &'static str,
        value: T,
        low: T,
        high: T,
    ) -> Result<(), RecipeError> {
        // A NaN is within no bounds.
        if value >= low && value <= high {
            return Ok(());
        }
        let is_list = self.layers.value(key).is_some_and(Value::is_array);
        let must = if is_list { "must hold numbers" } else { "must lie" };
        self.refuse(key, &[], format!("{must} between {low} and {high}"))
    }

    /// That a pair of bounds is in order.
    pub(super) fn ordered(&self, key: &'static str, [from, to]: [f64; 2]) -> Result<(), RecipeError> {
        if from <= to {
            return Ok(());
        }
        let problem = format!("runs backwards; write the smaller number first, as in [{to}, {from}]");
        self.refuse(key, &[], problem)
    }

    /// Refuses the value of `key`, which does not go with the values of `others`. The layer that is blamed is the highest of
    /// those that wrote them: it is the one that can mend it.
    pub(super) fn refuse<T>(
        &self,
        key: &'static str,
        others: &[&str],
        problem: impl Into<String>,
    ) -> Result<T, RecipeError> {
        let own = self.layers.origin(key);
        let others = others.iter().map(|other| self.layers.origin(other));
        let blamed = others.fold(own, |highest, other| {
            if other.height() > highest.height() {
                other
            } else {
                highest
            }
        });
        Err(RecipeError::Value {
            origin: blamed,
            key,
            value: self
                .layers
                .value(key)
                .map(ToString::to_string)
                .unwrap_or_default(),
            problem: problem.into(),
        })
    }

    /// `world = 8 (default)`: the value of a key and who wrote it.
    pub(super) fn cite(&self, key: &str) -> String {
        let value = self
            .layers
            .value(key)
            .map(ToString::to_string)
            .unwrap_or_default();
        format!("{key} = {value} ({})", self.layers.origin(key))
    }
}
