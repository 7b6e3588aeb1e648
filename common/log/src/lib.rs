//! How the programs write their logs: one line an event on standard error, for people or as a JSON object.
//!
//! `--log json` (or `M2T_LOG=json`) makes each line an object with `time` (UTC, RFC 3339), `level`, `program` and `message`; then what
//! [`stand`]s of the process: `run`, `generation`, `step`, `machine`, `device`, `ranks`; then what the event itself says, such as `kind`.
//! Lines for people show the time, the level and the message alone. `RUST_LOG` decides in either how much is said.
//!
//! Why fields that stand, and no spans: a line belongs to the whole process, from whichever of its threads and tasks it
//! comes, and a process is in one run, one generation and at one step.

mod adopted;
mod json;
mod standing;

use std::fmt::Debug;
use std::io::{IsTerminal, Write};
use std::sync::OnceLock;

use clap::{Args, ValueEnum};
use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

pub use adopted::{Adopted, adopt};
use json::JsonLines;
pub use standing::stand;

/// The variable that `--log` stands in for, and that a daemon hands on to its trainers.
pub const VARIABLE: &str = "M2T_LOG";

/// What a line of the log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Time, level and a sentence.
    #[default]
    Human,
    /// A JSON object.
    Json,
}

impl Format {
    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Json => "json",
        }
    }
}

/// The option, for a program's command line.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct LogOptions {
    /// How the log on standard error is written: lines for people, or a JSON object a line; RUST_LOG=debug tells more of either.
    #[arg(long, env = VARIABLE, value_name = "FORMAT", default_value = "human", global = true)]
    pub log: Format,
}

/// Who reads the standard error of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// A person, at a terminal or in a file.
    Person,
    /// A daemon, which puts a name before each line and decides of colours.
    Daemon,
}

static FORMAT: OnceLock<Format> = OnceLock::new();

/// The names of fields that lines for people leave out; their sentences say it.
const OF_PROGRAMS: [&str; 7] = ["kind", "run", "generation", "step", "machine", "device", "ranks"];

/// Begins the log of `program`. Once a process; a second call changes nothing.
pub fn start(program: &'static str, options: LogOptions, reader: Reader) {
    if FORMAT.set(options.log).is_err() {
        return;
    }
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer()
        // Whoever read the log may be gone: that must not end what works.
        .log_internal_errors(false)
        .with_writer(std::io::stderr)
        .with_target(false)
        .fmt_fields(debug_fn(write_field));
    // Fails only where a test set a log of its own.
    let _ = match (options.log, reader) {
        (Format::Json, _) => registry
            .with(JsonLines::new(program, to_standard_error))
            .try_init(),
        (Format::Human, Reader::Person) => registry
            .with(lines.with_ansi(std::io::stderr().is_terminal()))
            .try_init(),
        (Format::Human, Reader::Daemon) => registry.with(lines.with_ansi(false).without_time()).try_init(),
    };
}

/// How this process writes its log; for people until [`start`].
pub fn format() -> Format {
    FORMAT.get().copied().unwrap_or_default()
}

/// Says why `program` ends, whatever `RUST_LOG` says: `program: reason` to people, else a line of level error.
pub fn last_word(program: &str, reason: &str) {
    match format() {
        Format::Human => to_standard_error(&format!("{program}: {reason}")),
        Format::Json => to_standard_error(&json::line("error", program, reason, Vec::new())),
    }
}

/// Writes one line at once. A standard error that is closed hides nothing that matters and ends nothing.
pub fn to_standard_error(line: &str) {
    let _ = std::io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> std::fmt::Result {
    match field.name() {
        "message" => write!(writer, "{value:?}"),
        name if OF_PROGRAMS.contains(&name) => Ok(()),
        // The message comes first.
        name => write!(writer, " {name}={value:?}"),
    }
}

#[cfg(test)]
mod tests;
