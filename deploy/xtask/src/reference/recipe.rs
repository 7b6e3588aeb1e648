//! The page on recipes: every key with its default, what it may be, and what it means.
//!
//! Defaults and meanings are those of `defaults.toml` and its comments; where it has none, the doc comment of the field tells. What a key may be is asked of the code that refuses: it is given
//! a value that cannot be, and its sentence says what can.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use m2t_common::recipe::presets::{DEFAULTS, find, names};
use m2t_common::recipe::written::Source;
use m2t_common::recipe::{RecipeError, resolve};

use super::types::describe;

const HEAD: &str = "\
<!-- Made by `cargo xtask reference` from common/src/recipe; do not edit. -->

# Recipes

A recipe is a stack of layers: the defaults below, a published run (`base = \"NAME\"` in an experiment file, or `--experiment NAME`), an experiment
file, `--set KEY=VALUE`, and `--world`. What is higher wins. `m2t recipe NAME` prints every key with its value and who wrote it, `m2t recipe diff A B`
what differs. Keys of a table are written below its name in brackets, and with a dot on the command line: `--set augment.hue=0.05`.

All keys but those of `[run]` decide the result: a run is not resumed with others. Those of `[run]` change no bit of it.
";

/// What refusals say only beside the values of other keys.
const BESIDE_OTHERS: [(&str, &str); 2] = [
    ("batch", "a multiple of `world`, at least 2 × `world`"),
    (
        "warmup_epochs",
        "at most `epochs`, where `lr_schedule` is \"warmup_cosine\"",
    ),
];

/// A key of the defaults.
struct Key {
    /// With its table: `augment.hue`.
    name: String,
    default: String,
    meaning: String,
}

/// The fields that keys become: the file, the type, and what stands before the field's name in a key.
const FIELDS: [(&str, &str, &str); 4] = [
    ("common/src/recipe.rs", "Model", ""),
    ("common/src/recipe.rs", "Training", ""),
    ("common/src/recipe/augment.rs", "Augment", "augment."),
    ("common/src/recipe/operation.rs", "Operation", "run."),
];
/// A key that is called otherwise than its field.
const RENAMED: (&str, &str) = ("milestones", "milestone_epochs");

/// The page.
pub(super) fn page(root: &Path) -> Result<String> {
    let documented = documented(root)?;
    let mut text = HEAD.to_owned();
    for line in DEFAULTS.lines().skip_while(|line| !line.starts_with("# ---")) {
        if let Some(title) = line.strip_prefix("# ---") {
            let title = title.trim_end_matches('-').trim();
            // Writing to a String does not fail.
            let _ = write!(text, "\n## {}\n\n", capital(title));
            text.push_str("| key | default | may be | meaning |\n| --- | --- | --- | --- |\n");
        }
        if let Some(key) = keys().into_iter().find(|key| key.line == line) {
            let Key { name, default, .. } = &key.key;
            let meaning = key.key.meaning(&documented)?;
            let _ = writeln!(
                text,
                "| `{name}` | `{default}` | {} | {} |",
                may_be(&key.key)?,
                cell(&meaning)
            );
        }
    }
    text.push_str(
        "\nA run is `epochs` long, or `steps` (a whole number from 1), which has no default; one of the two is written. The table `[linear]` \
         (`side`, `digest`, `classes`, and `draws` for `--cache-features`) and `run.encoder` are filled in by `m2t eval`.\n",
    );
    text.push_str(&published()?);
    Ok(text)
}

impl Key {
    /// The comment in the defaults, else that of the field.
    fn meaning(&self, documented: &BTreeMap<String, String>) -> Result<String> {
        if !self.meaning.is_empty() {
            return Ok(self.meaning.clone());
        }
        let (key, field) = RENAMED;
        let name = if self.name == key { field } else { &self.name };
        let found = documented.get(name);
        found
            .cloned()
            .with_context(|| format!("nothing says what {} means", self.name))
    }
}

/// The doc comments of all fields, by their keys.
fn documented(root: &Path) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for (path, name, before) in FIELDS {
        for field in describe(root, path, name)?.entries {
            found.insert(format!("{before}{}", field.name), field.doc);
        }
    }
    Ok(found)
}

/// A key, and the line of the defaults that it was read from.
struct Line {
    line: &'static str,
    key: Key,
}

fn keys() -> Vec<Line> {
    let mut table = String::new();
    let mut found = Vec::new();
    for line in DEFAULTS.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            table = format!("{name}.");
        } else if let Some((key, value)) = line.split_once(" = ")
            && !line.starts_with('#')
        {
            let (default, meaning) = value.split_once(" # ").unwrap_or((value, ""));
            let key = Key {
                name: format!("{table}{key}"),
                default: default.trim().to_owned(),
                meaning: meaning.trim().to_owned(),
            };
            found.push(Line { line, key });
        }
    }
    found
}

/// What a key may be, as a cell.
fn may_be(key: &Key) -> Result<String> {
    if let Some((_, text)) = BESIDE_OTHERS.iter().find(|(name, _)| *name == key.name) {
        return Ok((*text).to_owned());
    }
    for impossible in impossible(&key.default) {
        let set = format!("{}={impossible}", key.name);
        let source = Source::Experiment { name: "x", toml: "" };
        match resolve(source, &[set], None) {
            Ok(_) => {}
            Err(RecipeError::UnknownName { known, .. }) => {
                let known: Vec<String> = known.iter().map(|name| format!("`\"{name}\"`")).collect();
                return Ok(known.join(", "));
            }
            Err(RecipeError::Value { problem, .. }) => {
                let problem = problem.split("; ").next().unwrap_or_default();
                let bounds = problem
                    .trim_start_matches("must lie ")
                    .trim_start_matches("must hold numbers ");
                return Ok(bounds.replace("between", "from").replace(" and ", " to "));
            }
            Err(other) => bail!("{}: asked with {impossible} it answers: {other}", key.name),
        }
    }
    Ok(of_any(&key.default)?.to_owned())
}

/// Values that a key with such a default may hardly have, of its type.
fn impossible(default: &str) -> Vec<&'static str> {
    match default.chars().next() {
        Some('"') if is_duration(default) => vec!["\"1ms\"", "\"100000h\""],
        Some('"') => vec!["\"?\""],
        Some('[') if default == "[]" => vec!["[2, 1]"],
        Some('[') => vec!["[-1e300, -1e300]"],
        _ if default.contains(['.', 'e']) => vec!["-1e300"],
        _ => vec!["0", "4294967295", "9223372036854775807"],
    }
}

fn is_duration(default: &str) -> bool {
    let text = default.trim_matches('"');
    m2t_common::recipe::parse_duration(text).is_ok()
}

/// What is said where nothing is refused.
fn of_any(default: &str) -> Result<&'static str> {
    Ok(match default.chars().next().context("every key has a default")? {
        '"' if is_duration(default) => "any duration: `\"250ms\"`, `\"10s\"`, `\"5m\"`, `\"1h\"`",
        '"' => "any text",
        '[' => "any list",
        _ if default.contains(['.', 'e']) => "any number",
        _ => "any whole number from 0",
    })
}

/// What the published runs write on top of the defaults.
fn published() -> Result<String> {
    let mut text = "\n## Published runs\n\nBy name, what each writes on top of the defaults:\n\n".to_owned();
    let columns = ["world", "batch", "optimizer", "lr256", "weight_decay", "epochs"];
    let _ = writeln!(
        text,
        "| name | {} |",
        columns.map(|key| format!("`{key}`")).join(" | ")
    );
    let _ = writeln!(text, "| --- |{}", " --- |".repeat(columns.len()));
    for name in names() {
        let table = find(&name).context("a name that is listed is known")?;
        let own: Vec<&String> = table
            .keys()
            .filter(|key| !columns.contains(&key.as_str()))
            .collect();
        anyhow::ensure!(
            own.is_empty(),
            "{name} writes {own:?}, for which the page has no column"
        );
        let value = |key: &str| table.get(key).map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(text, "| `{name}` | {} |", columns.map(value).join(" | "));
    }
    Ok(text)
}

/// A text that does not end its cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}
