//! Events as JSON objects, one a line.

use std::fmt::{Debug, Write};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::{Context, Layer};

use crate::standing::standing;

/// Makes a line of each event and hands it on.
pub(crate) struct JsonLines<W> {
    program: &'static str,
    write: W,
}

impl<W: Fn(&str)> JsonLines<W> {
    pub(crate) fn new(program: &'static str, write: W) -> Self {
        Self { program, write }
    }
}

impl<S: Subscriber, W: Fn(&str) + 'static> Layer<S> for JsonLines<W> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        let level = event.metadata().level().as_str().to_lowercase();
        (self.write)(&line(&level, self.program, &said.message, said.fields));
    }
}

/// One line without a line feed: the four that every line has, what stands, and `fields`, which win.
pub(crate) fn line(level: &str, program: &str, message: &str, fields: Vec<(String, Value)>) -> String {
    let head = [
        ("time", now()),
        ("level", level.to_owned()),
        ("program", program.to_owned()),
        ("message", message.to_owned()),
    ];
    let mut text = String::new();
    for (name, value) in head {
        append(&mut text, name, &Value::String(value));
    }
    // A map, so that no name stands twice.
    let mut rest: Map<String, Value> = standing().into_iter().chain(fields).collect();
    for name in ["time", "level", "program", "message"] {
        rest.remove(name);
    }
    for (name, value) in &rest {
        append(&mut text, name, value);
    }
    text.push('}');
    text
}

fn append(text: &mut String, name: &str, value: &Value) {
    text.push(if text.is_empty() { '{' } else { ',' });
    // Writing to a String does not fail.
    let _ = write!(text, "{}:{value}", Value::from(name));
}

/// UTC, RFC 3339, to the microsecond.
fn now() -> String {
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

/// What an event says.
#[derive(Default)]
struct Said {
    message: String,
    fields: Vec<(String, Value)>,
}

impl Said {
    fn add(&mut self, field: &Field, value: impl Into<Value>) {
        self.fields.push((field.name().to_owned(), value.into()));
    }
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.add(field, format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.add(field, value);
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }
}
