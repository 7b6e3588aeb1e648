//! `recipe.json`: the resolved recipe, key by key as an experiment file writes them, and what differs from the defaults.
//!
//! Keys are taken from the file as they stand there, so that a recipe of another version is shown, too.

use std::collections::{BTreeMap, BTreeSet};

use m2t_common::Recipe;
use m2t_common::recipe::resolve;
use m2t_common::recipe::written::Source;
use serde_json::Value;

/// Its file name.
pub(super) const RECIPE: &str = "recipe.json";

/// A recipe as it was written down.
#[derive(Clone, Debug, PartialEq)]
pub struct RecipeRecord {
    /// The experiment's name.
    pub name: String,
    /// All keys but the name, as written, with their values.
    pub keys: BTreeMap<String, String>,
    /// What it means, where this version understands it.
    pub recipe: Option<Recipe>,
}

/// A key in which recipes differ from each other or from the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// As an experiment file writes it.
    pub key: String,
    /// The default of this version; none for a key it does not know.
    pub default: Option<String>,
    /// In each recipe; none where it does not have the key.
    pub values: Vec<Option<String>>,
}

impl Difference {
    /// Whether two of the recipes differ in it.
    pub fn is_between(&self) -> bool {
        self.values.windows(2).any(|pair| pair[0] != pair[1])
    }

    /// Whether it leaves the result as it is, to the bit.
    pub fn is_operation(&self) -> bool {
        self.key.starts_with("run.")
    }
}

impl RecipeRecord {
    /// Reads a file's content.
    ///
    /// # Errors
    /// When it is no JSON object.
    pub fn parse(bytes: &[u8]) -> serde_json::Result<Self> {
        let object: serde_json::Map<String, Value> = serde_json::from_slice(bytes)?;
        let name = object.get("name").and_then(Value::as_str).unwrap_or("unnamed");
        Ok(Self {
            name: name.to_owned(),
            keys: written(&object),
            recipe: serde_json::from_slice(bytes).ok(),
        })
    }

    /// The keys in which `records` differ from each other or from the defaults, those of a run's operation last.
    pub fn differences(records: &[&Self]) -> Vec<Difference> {
        let defaults = defaults();
        let keys: BTreeSet<&String> = records.iter().flat_map(|record| record.keys.keys()).collect();
        let each = keys.into_iter().map(|key| Difference {
            key: key.clone(),
            default: defaults.get(key).cloned(),
            values: records
                .iter()
                .map(|record| record.keys.get(key).cloned())
                .collect(),
        });
        let mut differences: Vec<Difference> = each
            .filter(|difference| difference.values.iter().any(|value| *value != difference.default))
            .collect();
        differences.sort_by_key(|difference| (difference.is_operation(), difference.key.contains('.')));
        differences
    }
}

/// All keys with their defaults.
fn defaults() -> BTreeMap<String, String> {
    let nothing = Source::Experiment {
        name: "defaults",
        toml: "",
    };
    let recipe = resolve(nothing, &[], None).expect("the built-in defaults make a recipe, a test says so");
    let Ok(Value::Object(object)) = serde_json::to_value(recipe) else {
        unreachable!("a recipe is an object")
    };
    written(&object)
}

/// The keys as an experiment file writes them. The batch is written whole there, and kept by rank in the recipe.
fn written(object: &serde_json::Map<String, Value>) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    for (part, value) in object.iter().filter(|(part, _)| *part != "name") {
        flatten(part, value, &mut keys);
    }
    let number = |key: &str| keys.get(key).and_then(|value: &String| value.parse::<u64>().ok());
    if let (Some(world), Some(images)) = (number("world"), number("batch_per_rank")) {
        keys.insert("batch".to_owned(), (world * images).to_string());
        keys.remove("batch_per_rank");
    }
    keys
}

fn flatten(key: &str, value: &Value, keys: &mut BTreeMap<String, String>) {
    if let Value::Object(map) = value {
        for (below, value) in map {
            flatten(&format!("{key}.{below}"), value, keys);
        }
        return;
    }
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    keys.insert(as_written(key), text);
}

/// `training.length.epochs` is `epochs` in an experiment file.
fn as_written(key: &str) -> String {
    let key = key
        .strip_prefix("model.")
        .or_else(|| key.strip_prefix("training."))
        .unwrap_or(key);
    match key {
        "course" => "lr_schedule",
        "milestone_epochs" => "milestones",
        "length.epochs" => "epochs",
        "length.steps" => "steps",
        other => other,
    }
    .to_owned()
}
