//! Lines that another program wrote: a daemon's trainers write to it, and it hands their lines on as its own.

use serde_json::{Map, Value};

use crate::json::line;

/// A line of another program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// What it says, for people.
    pub message: String,
    /// The whole line as a JSON object.
    pub json: String,
}

/// `text` as a line of `program` with more fields: an object of the log keeps all of its own; anything else, such as what a library
/// prints, becomes the message of a line of level info. What stands here stands in neither's way.
pub fn adopt(text: &str, program: &str, more: &[(&str, Value)]) -> Adopted {
    let own = own_fields(text).unwrap_or_default();
    let said = |name: &str| own.get(name).and_then(Value::as_str);
    let message = said("message").unwrap_or(text).to_owned();
    let more = more
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()));
    let fields = more.chain(own.clone()).collect();
    let made = line(
        said("level").unwrap_or("info"),
        said("program").unwrap_or(program),
        &message,
        fields,
    );
    let json = match said("time") {
        Some(time) => at(&made, time),
        None => made,
    };
    Adopted { message, json }
}

/// The fields of a line of a log; none where it is none.
fn own_fields(text: &str) -> Option<Map<String, Value>> {
    if !text.starts_with('{') {
        return None;
    }
    let fields: Map<String, Value> = serde_json::from_str(text).ok()?;
    fields.contains_key("message").then_some(fields)
}

/// The line with the time at which it was written, and not that at which it was adopted.
fn at(line: &str, time: &str) -> String {
    let rest = line.split_once(',').map_or("}", |(_, rest)| rest);
    format!("{{\"time\":{},{rest}", Value::from(time))
}
