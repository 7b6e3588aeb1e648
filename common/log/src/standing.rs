//! What is true of the whole process for a while, and so of each line that it writes meanwhile.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use serde_json::Value;

static STANDING: RwLock<BTreeMap<&'static str, Value>> = RwLock::new(BTreeMap::new());

/// From now on each line of JSON says `name`: `value`. Cheap enough for each step of a run.
pub fn stand(name: &'static str, value: impl Into<Value>) {
    STANDING
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(name, value.into());
}

/// All that stands, in order of the names.
pub(crate) fn standing() -> Vec<(String, Value)> {
    let standing = STANDING.read().unwrap_or_else(PoisonError::into_inner);
    standing
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}
