//! The twelve published runs, built in, as tables on top of the defaults.

use toml::Table;

/// Every key with its default. Shown to users as `deploy/config/defaults.toml`.
pub const DEFAULTS: &str = include_str!("defaults.toml");
const PRESETS: &str = include_str!("presets.toml");

/// The names of the published runs, in the order of the published tables.
pub fn names() -> Vec<String> {
    presets().keys().cloned().collect()
}

/// What a preset writes on top of the defaults.
pub fn find(name: &str) -> Option<Table> {
    presets().get(name).and_then(|value| value.as_table()).cloned()
}

/// The table of defaults.
pub(super) fn defaults() -> Table {
    DEFAULTS.parse().expect("the built-in defaults are valid TOML")
}

fn presets() -> Table {
    PRESETS.parse().expect("the built-in presets are valid TOML")
}
