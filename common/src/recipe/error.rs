//! Why a recipe was refused: where, what, and what to do, in one sentence.

use std::fmt;
use std::path::PathBuf;

use super::origin::Origin;
use super::presets;

/// Why a recipe was refused. Each says where it was written, what was wrong, and what to do.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum RecipeError {
    #[error(
        "could not read the experiment {}: {source}; give the name of a preset (`m2t recipe` lists them) or a file that can be read",
        path.display()
    )]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{origin}: this is not TOML: {message}; write a key and a value a line, as in batch = 1024")]
    Parse { origin: Origin, message: String },
    #[error(
        "{}no preset is called {name:?}; {} (`m2t recipe` lists them; an experiment file's name ends in .toml)",
        at(origin.as_ref()),
        meant_or_all(nearest.as_deref(), &presets::whole())
    )]
    UnknownPreset {
        origin: Option<Origin>,
        name: String,
        nearest: Option<String>,
    },
    #[error("{origin}: base = {value} must be the name of a preset, as in base = \"8x_v100_100e\"")]
    BadBase { origin: Origin, value: String },
    #[error(
        "--set {text}: a base stands in an experiment file only; name the preset itself, and what differs with --set"
    )]
    BaseInSet { text: String },
    #[error("--set {text:?} is not of the form key=value, as in --set batch=1024 or --set augment.hue=0.05")]
    BadSet { text: String },
    #[error("{origin}: there is no key `{key}`; {}", meant_key(nearest.as_deref()))]
    UnknownKey {
        origin: Origin,
        key: String,
        nearest: Option<String>,
    },
    #[error("{origin}: `{key}` stands in the wrong table; {}", place(belongs))]
    WrongTable {
        origin: Origin,
        key: String,
        belongs: String,
    },
    #[error("{origin}: {key} = {value} must be {expected}")]
    Type {
        origin: Origin,
        key: String,
        value: String,
        expected: String,
    },
    #[error(
        "{origin}: {key} = {value} is not known; {}",
        meant_or_all(*nearest, known)
    )]
    UnknownName {
        origin: Origin,
        key: String,
        value: String,
        nearest: Option<&'static str>,
        known: &'static [&'static str],
    },
    #[error("{origin}: {key} = {value} {problem}; write {key} = {}", durations(meant.as_deref()))]
    Duration {
        origin: Origin,
        key: String,
        value: String,
        problem: &'static str,
        meant: Option<String>,
    },
    #[error(
        "{origin}: steps = {steps} and epochs = {epochs} both say how long the run is; write one of the two"
    )]
    TwoLengths {
        origin: Origin,
        steps: String,
        epochs: String,
    },
    #[error("{origin}: {key} = {value} {problem}")]
    Value {
        origin: Origin,
        key: &'static str,
        value: String,
        problem: String,
    },
    #[error("{origin}: {key}: {message}")]
    Other {
        origin: Origin,
        key: String,
        message: String,
    },
}

fn at(origin: Option<&Origin>) -> String {
    origin.map_or_else(String::new, |origin| format!("{origin}: "))
}

fn meant_or_all(nearest: Option<&str>, known: &[impl fmt::Display]) -> String {
    let all: Vec<String> = known.iter().map(|name| format!("\"{name}\"")).collect();
    let all = all.join(", ");
    match nearest {
        Some(nearest) => format!("did you mean \"{nearest}\", of {all}?"),
        None => format!("there are {all}"),
    }
}

fn meant_key(nearest: Option<&str>) -> String {
    match nearest {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => "`m2t recipe 8x_v100_100e` prints every key there is".to_owned(),
    }
}

fn place(belongs: &str) -> String {
    match belongs.split_once('.') {
        Some((table, _)) => format!("it belongs into [{table}]: {belongs}"),
        None => format!("it belongs above the first table: {belongs}"),
    }
}

fn durations(meant: Option<&str>) -> String {
    match meant {
        Some(meant) => format!("{meant:?}"),
        None => "\"10s\", or another whole number of ms, s, m or h".to_owned(),
    }
}
