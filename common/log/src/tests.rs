//! Lines as they are written, without standard error.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tracing_subscriber::layer::SubscriberExt;

use crate::json::JsonLines;
use crate::{adopt, debug_fn, stand, write_field};

/// The lines that `events` make.
fn lines_of(events: impl FnOnce()) -> Vec<Value> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&lines);
    let write = move |line: &str| kept.lock().unwrap().push(line.to_owned());
    let subscriber = tracing_subscriber::registry().with(JsonLines::new("m2t-test", write));
    tracing::subscriber::with_default(subscriber, events);
    let lines = lines.lock().unwrap();
    for line in lines.iter() {
        assert!(
            line.starts_with("{\"time\":\"2") && !line.contains('\n'),
            "{line}"
        );
    }
    lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_line_says_what_stands_and_what_the_event_says_of_itself_wins() {
    stand("run", "photographs");
    stand("step", 7_u64);
    let lines = lines_of(|| {
        tracing::info!("first\nand \"second\"");
        stand("step", 8_u64);
        tracing::warn!(kind = "file_slow", step = 9_u64, share = 0.5, bad = true, "slow");
    });
    assert_eq!(lines.len(), 2);
    for (line, expected) in lines.iter().zip([
        json!({"level": "info", "message": "first\nand \"second\"", "step": 7}),
        json!({"level": "warn", "message": "slow", "step": 9, "kind": "file_slow", "share": 0.5, "bad": true}),
    ]) {
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&line[name], value, "{line}");
        }
        assert_eq!((&line["run"], &line["program"]), (&json!("photographs"), &json!("m2t-test")));
    }
}

#[test]
fn a_line_for_people_leaves_out_what_its_sentence_says_and_ends_where_that_ends() {
    let written = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&written);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(move || Kept(Arc::clone(&kept)))
        .with_target(false)
        .with_ansi(false)
        .without_time()
        .fmt_fields(debug_fn(write_field));
    let subscriber = tracing_subscriber::registry().with(lines);
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!(kind = "file_slow", step = 9_u64, "slow");
        tracing::info!(share = 0.5, "other");
    });
    let written = String::from_utf8(written.lock().unwrap().clone()).unwrap();
    assert_eq!(written, " INFO slow\n INFO other share=0.5\n");
}

/// Keeps what is written.
struct Kept(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_lines_of_a_trainer_keep_their_fields_and_other_lines_become_messages() {
    let more = [("device", json!(3))];
    let own = r#"{"time":"2026-01-02T03:04:05.000000Z","level":"warn","program":"m2t-trainer","message":"slow","step":5,"device":1}"#;
    let adopted = adopt(own, "m2t-trainer", &more);
    assert_eq!(adopted.message, "slow");
    let line: Value = serde_json::from_str(&adopted.json).unwrap();
    assert_eq!(line["time"], "2026-01-02T03:04:05.000000Z");
    assert_eq!(
        (&line["level"], &line["step"], &line["device"]),
        (&json!("warn"), &json!(5), &json!(1))
    );
    for text in [
        "[W1 alloc.cpp:1] odd",
        "{\"no\":\"log\"}",
        "{torn",
        "",
        "\u{1b}[31mred",
    ] {
        let adopted = adopt(text, "m2t-trainer", &more);
        assert_eq!(adopted.message, text);
        let line: Value = serde_json::from_str(&adopted.json).unwrap();
        assert_eq!(
            (&line["message"], &line["level"], &line["device"]),
            (&json!(text), &json!("info"), &json!(3))
        );
    }
}
