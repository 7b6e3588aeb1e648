//! What trainers write to their standard output and error: passed on to the daemon's standard error, a line for a line.

use std::sync::{Arc, Mutex};

use m2t_common::DeviceIndex;
use m2t_log::{Format, adopt};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// Passes a trainer's output on, with the device before each line, or in it where lines are JSON. Keeps in `last` the last that
/// says why a process ends.
pub(super) async fn pass_on(
    pipe: impl AsyncRead + Unpin,
    device: DeviceIndex,
    last: Option<Arc<Mutex<String>>>,
) {
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    while let Ok(1..) = reader.read_until(b'\n', &mut line).await {
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        let (message, line_of_daemon) = as_own(text, device, m2t_log::format());
        // A closed standard error must not end the trainers.
        m2t_log::to_standard_error(&line_of_daemon);
        if let Some(Ok(mut last)) = last.as_ref().map(|last| last.lock())
            && is_telling(&message)
        {
            *last = message;
        }
        line.clear();
    }
}

/// What a trainer's line says, and the line that the daemon makes of it.
fn as_own(text: &str, device: DeviceIndex, format: Format) -> (String, String) {
    match format {
        Format::Human => (text.to_owned(), format!("[device {device}] {text}")),
        Format::Json => {
            let adopted = adopt(text, "m2t-trainer", &[("device", device.0.into())]);
            (adopted.message, adopted.json)
        }
    }
}

/// Whether a line says why a process ends. The last lines of a panic do not: the hint at the backtrace, or its frames.
fn is_telling(line: &str) -> bool {
    let text = line.trim_start();
    let is_indented = text.len() < line.len();
    let is_frame = text.starts_with("at ") || text.starts_with(|c: char| c.is_ascii_digit());
    let is_hint = text.starts_with("note: ") || text == "stack backtrace:";
    !(text.is_empty() || is_hint || (is_indented && is_frame))
}
