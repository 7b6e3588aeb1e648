//! One thing that people were told: a line of `events.jsonl` and of the page's log.

use m2t_common::{Generation, Timestamp};
use m2t_coordinator_core::Notice;
use serde::{Deserialize, Serialize};

/// A line of `events.jsonl`. Lines of earlier versions have neither weight nor generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// When.
    pub(crate) at: Timestamp,
    /// A stable name of its kind, such as `generation_formed`.
    pub(crate) kind: String,
    /// In a sentence.
    pub(crate) text: String,
    /// How much it matters.
    #[serde(default)]
    pub(crate) weight: Weight,
    /// The generation that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) generation: Option<Generation>,
}

/// How much it matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Weight {
    /// As it should be.
    #[default]
    Usual,
    /// Something is lost, damaged or refused; the run goes on or waits.
    Trouble,
    /// The run cannot go on.
    End,
}

impl Told {
    /// What a notice says.
    pub(crate) fn new(at: Timestamp, notice: &Notice) -> Self {
        Self {
            at,
            kind: notice.kind().to_owned(),
            text: notice.to_string(),
            weight: match notice.weight() {
                m2t_coordinator_core::Weight::Usual => Weight::Usual,
                m2t_coordinator_core::Weight::Trouble => Weight::Trouble,
                m2t_coordinator_core::Weight::End => Weight::End,
            },
            generation: notice.generation(),
        }
    }
}
