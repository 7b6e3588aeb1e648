//! Tables laid over each other, with the memory of which layer wrote each key.
//!
//! It knows TOML and nothing of what the keys mean, but for one pair: `epochs` and `steps` say the same thing.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::error::RecipeError;
use super::nearest::nearest;
use super::origin::Origin;
use super::presets;

/// Keys of tables that a `--set` may also name without their table: `--set ledger=full`.
const SHORT: [(&str, &str); 1] = [("run", "ledger")];

/// What the layers laid so far say, and who said it.
pub(super) struct Layers {
    /// Every key with the value of the highest layer that has it.
    pub(super) table: Table,
    /// The origin of each key, with dots for tables.
    origins: BTreeMap<String, Origin>,
}

impl Layers {
    /// The defaults, the lowest layer.
    pub(super) fn new() -> Self {
        let mut layers = Self {
            table: Table::new(),
            origins: BTreeMap::new(),
        };
        layers.lay(presets::defaults(), |_| Origin::Default);
        layers
    }

    /// Lays a published run on top.
    pub(super) fn preset(&mut self, name: &str, named_by: Option<Origin>) -> Result<(), RecipeError> {
        let Some(table) = presets::find(name) else {
            let names = presets::whole();
            return Err(RecipeError::UnknownPreset {
                origin: named_by,
                name: name.to_owned(),
                nearest: nearest(name, names.iter().map(String::as_str)).map(str::to_owned),
            });
        };
        self.lay(table, |_| Origin::Preset(name.to_owned()));
        Ok(())
    }

    /// Lays an experiment file on top, and before it the preset that it names as its base.
    pub(super) fn experiment(&mut self, name: &str, toml: &str) -> Result<(), RecipeError> {
        let file = format!("{name}.toml");
        let at = |line| Origin::File {
            name: file.clone(),
            line,
        };
        let refuse = |error: &toml::de::Error| RecipeError::Parse {
            origin: at(error.span().map_or(1, |span| line_of(toml, span.start))),
            message: error.message().lines().collect::<Vec<_>>().join(", "),
        };
        let mut lines = BTreeMap::new();
        let document = DeTable::parse(toml).map_err(|e| refuse(&e))?;
        find_lines(document.get_ref(), "", toml, &mut lines);
        let mut own: Table = toml.parse().map_err(|e| refuse(&e))?;
        let origin = |key: &str| at(lines.get(key).copied().unwrap_or(1));
        match own.remove("base") {
            None => {}
            Some(Value::String(base)) => self.preset(&base, Some(origin("base")))?,
            Some(other) => {
                return Err(RecipeError::BadBase {
                    origin: origin("base"),
                    value: other.to_string(),
                });
            }
        }
        if let (Some(steps), Some(epochs)) = (own.get("steps"), own.get("epochs")) {
            return Err(RecipeError::TwoLengths {
                origin: origin("steps"),
                steps: steps.to_string(),
                epochs: epochs.to_string(),
            });
        }
        self.lay(own, origin);
        Ok(())
    }

    /// Lays one `--set` on top.
    pub(super) fn set(&mut self, text: &str) -> Result<(), RecipeError> {
        let mut table = parse_set(text)?;
        for (within, key) in SHORT {
            if let Some(value) = table.remove(key) {
                let inner = Table::from_iter([(key.to_owned(), value)]);
                table.insert(within.to_owned(), Value::Table(inner));
            }
        }
        if table.contains_key("base") {
            return Err(RecipeError::BaseInSet {
                text: text.to_owned(),
            });
        }
        self.lay(table, |_| Origin::Set(text.trim().to_owned()));
        Ok(())
    }

    /// Lays `--world` on top.
    pub(super) fn world(&mut self, world: u32) {
        let table = Table::from_iter([("world".to_owned(), Value::Integer(i64::from(world)))]);
        self.lay(table, |_| Origin::World(world));
    }

    /// Who wrote `key`, or something in the table of that name.
    pub(super) fn origin(&self, key: &str) -> Origin {
        let within = format!("{key}.");
        let mut at_or_below = self
            .origins
            .iter()
            .filter(|(other, _)| *other == key || other.starts_with(&within));
        at_or_below
            .next()
            .map_or(Origin::Default, |(_, origin)| origin.clone())
    }

    /// The value of `key`, as it was written.
    pub(super) fn value(&self, key: &str) -> Option<&Value> {
        lookup(&self.table, key)
    }

    fn lay(&mut self, above: Table, origin: impl Fn(&str) -> Origin) {
        for (key, other) in [("epochs", "steps"), ("steps", "epochs")] {
            if above.contains_key(key) {
                self.table.remove(other);
                self.origins.remove(other);
            }
        }
        lay_over(&mut self.table, above, "", &mut |key| {
            let within = format!("{key}.");
            self.origins.retain(|other, _| !other.starts_with(&within));
            self.origins.insert(key.to_owned(), origin(key));
        });
    }
}

/// The value under a key with dots for tables.
pub(super) fn lookup<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    match key.split_once('.') {
        None => table.get(key),
        Some((first, rest)) => lookup(table.get(first)?.as_table()?, rest),
    }
}

/// Every key that holds a value, with dots for tables, in order.
pub(super) fn leaves(table: &Table) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for (key, value) in table {
        match value {
            Value::Table(inner) => {
                let inner = leaves(inner).into_iter();
                found.extend(inner.map(|(rest, value)| (join(key, &rest), value)));
            }
            value => found.push((key.clone(), value.clone())),
        }
    }
    found
}

/// `augment` and `hue` make `augment.hue`.
pub(super) fn join(prefix: &str, key: &str) -> String {
    if prefix.is_empty() {
        key.to_owned()
    } else {
        format!("{prefix}.{key}")
    }
}

fn lay_over(below: &mut Table, above: Table, prefix: &str, wrote: &mut impl FnMut(&str)) {
    for (key, value) in above {
        let path = join(prefix, &key);
        match (below.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => lay_over(below, above, &path, wrote),
            (_, Value::Table(above)) => {
                wrote(&path);
                let mut fresh = Table::new();
                lay_over(&mut fresh, above, &path, wrote);
                below.insert(key, Value::Table(fresh));
            }
            (_, value) => {
                wrote(&path);
                below.insert(key, value);
            }
        }
    }
}

/// `a.b=value` as a table. The value is TOML; what is not TOML is taken as text, so that quotes may be left out.
fn parse_set(text: &str) -> Result<Table, RecipeError> {
    let bad = || RecipeError::BadSet {
        text: text.to_owned(),
    };
    let (key, value) = text.split_once('=').ok_or_else(bad)?;
    let (key, value) = (key.trim(), value.trim());
    let is_bare =
        |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !key.split('.').all(is_bare) || value.is_empty() || value.contains('\n') {
        return Err(bad());
    }
    let parse = |value: &str| format!("{key} = {value}").parse::<Table>();
    parse(value)
        .or_else(|_| parse(&Value::String(value.to_owned()).to_string()))
        .map_err(|_| bad())
}

fn find_lines(table: &DeTable<'_>, prefix: &str, toml: &str, lines: &mut BTreeMap<String, usize>) {
    for (key, value) in table {
        let path = join(prefix, key.get_ref());
        if let DeValue::Table(inner) = value.get_ref() {
            find_lines(inner, &path, toml, lines);
        }
        lines.insert(path, line_of(toml, key.span().start));
    }
}

fn line_of(toml: &str, at: usize) -> usize {
    1 + toml.bytes().take(at).filter(|&byte| byte == b'\n').count()
}
