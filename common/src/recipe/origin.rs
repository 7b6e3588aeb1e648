//! Where the value of a key was written: the layers of a recipe, lowest first.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The layer that wrote a key's value, and where in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Nobody wrote it.
    Default,
    /// A published run.
    Preset(String),
    /// An experiment file.
    File {
        /// Its name, without the folder.
        name: String,
        /// The line, from 1.
        line: usize,
    },
    /// `--set`, with the text behind it.
    Set(String),
    /// `--world`.
    World(u32),
}

impl Origin {
    /// The place in the stack: what is higher wins.
    pub(super) fn height(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::Preset(_) => 1,
            Self::File { .. } => 2,
            Self::Set(_) => 3,
            Self::World(_) => 4,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Preset(name) => write!(f, "preset {name}"),
            Self::File { name, line } => write!(f, "{name}, line {line}"),
            Self::Set(text) => write!(f, "--set {text}"),
            Self::World(world) => write!(f, "--world {world}"),
        }
    }
}
