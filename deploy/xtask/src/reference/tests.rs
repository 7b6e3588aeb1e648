//! That the pages are those of the code, and that the status is what its page says.

use std::collections::BTreeSet;
use std::path::Path;

use m2t_common::status::Status;
use serde_json::Value;

use super::{FOLDER, json, made_here};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

#[test]
fn the_pages_of_recipes_and_of_json_are_those_of_the_code() {
    for (name, made) in made_here(root()).unwrap() {
        let shown = std::fs::read_to_string(root().join(FOLDER).join(&name)).unwrap_or_default();
        assert!(
            shown == made,
            "{FOLDER}/{name} is not current; run cargo xtask reference"
        );
    }
}

/// The example holds the names: a field that is renamed or removed is no longer read from it, and one that is added is missing in it.
#[test]
fn the_status_has_the_fields_that_its_page_names() {
    let example: Value = serde_json::from_str(json::STATUS).unwrap();
    let read: Status = serde_json::from_value(example.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), example);
    let mut names = BTreeSet::new();
    collect(&example, &mut names);
    let documented: BTreeSet<String> = json::names_of_status(root())
        .unwrap()
        .into_iter()
        .map(|(_, name)| name)
        .collect();
    // Of durations and ranges the page says so where they stand.
    for name in ["secs", "nanos", "start", "end"] {
        assert!(names.remove(name), "{name}");
    }
    assert_eq!(names, documented);
}

fn collect(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                names.insert(name.clone());
                collect(value, names);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, names)),
        _ => {}
    }
}
