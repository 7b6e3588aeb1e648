//! Why a fake trainer leaves its group before it is done.

use std::fmt::Display;

/// Why.
#[derive(Debug)]
pub(super) enum Leave {
    /// It was told to hold.
    Told,
    /// A peer is gone, and with it the group.
    Broken(String),
    /// It cannot go on itself.
    Own(anyhow::Error),
}

impl Leave {
    /// The group broke.
    pub(super) fn broken(what: &str, error: &impl Display) -> Self {
        Self::Broken(format!("{what}: {error}"))
    }
}

impl From<anyhow::Error> for Leave {
    fn from(error: anyhow::Error) -> Self {
        Self::Own(error)
    }
}
