//! The page on what is written as JSON, for programs that read it.

use std::fmt::Write;
use std::path::Path;

use anyhow::Result;

use super::types::{Described, describe};

/// A status with every field in it.
pub(super) const STATUS: &str = include_str!("status.json");

const HEAD: &str = "\
<!-- Made by `cargo xtask reference` from the types that are written; do not edit. -->

# What is written as JSON

For programs. Names are stable: fields are added and none is renamed or removed within a major version, so read what you know and let the rest be.
Numbers are written so that they read back to the same bits. A file whose name ends in `.jsonl` holds an object a line.
";

const STATUS_TEXT: &str = "\
`m2t status --json` writes one on a line, `m2t status --json --watch` one more whenever it changes, and `GET /api/status` of the page answers with the
same. gRPC has it as `m2t.v1.RunStatus`.";
const LOG_TEXT: &str = "\
With `--log json` (or `M2T_LOG=json`) `m2t-coordinator`, `m2t-worker` and `m2t-trainer` write each line of their log as an object. A trainer's lines go through its
daemon, which adds nothing but the device where a library and not the trainer wrote the line.

| field | is | meaning |
| --- | --- | --- |
| `time` | text | When, UTC, RFC 3339. |
| `level` | text | `error`, `warn`, `info`, `debug`, `trace`; `RUST_LOG` says from which on lines are written. |
| `program` | text | Which program. |
| `message` | text | In a sentence. |
| `run` | text; may be absent | The experiment's name, once it is known. |
| `generation` | whole number; may be absent | The generation that the process is in; of an event, the one that it is about. |
| `step` | whole number; may be absent | The step it is at. |
| `machine` | text; may be absent | The machine; of daemons and trainers. |
| `device` | whole number; may be absent | The device; of trainers. |
| `ranks` | array of whole number; may be absent | The ranks it hosts; of trainers. |
| `kind` | text; may be absent | Of the coordinator's events, as in `events.jsonl`. |
";

/// A part of the page: its title, what is said first, and the types, outermost first.
type Part = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

const PARTS: [Part; 4] = [
    (
        "The status",
        STATUS_TEXT,
        &[
            ("common/src/status.rs", "Status"),
            ("common/src/status.rs", "PhaseName"),
            ("common/src/status.rs", "MachineStatus"),
            ("common/src/status.rs", "DeviceStatus"),
            ("common/src/report.rs", "Stage"),
            ("common/src/status.rs", "Progress"),
            ("common/src/report.rs", "CheckpointReport"),
            ("common/src/report.rs", "CheckpointCost"),
            ("common/src/evaluation.rs", "EvaluationLine"),
            ("common/src/evaluation.rs", "Side"),
            ("common/src/evaluation.rs", "Method"),
            ("common/src/evaluation.rs", "Settings"),
            ("common/src/status.rs", "Event"),
        ],
    ),
    (
        "`metrics.jsonl`",
        "A committed step a line, in the output folder. After a resume from a checkpoint the steps behind it are taken out and written again.",
        &[
            ("coordinator/src/output/metrics.rs", "Line"),
            ("coordinator/src/output/metrics.rs", "Phases"),
        ],
    ),
    (
        "`events.jsonl`",
        "What happened, a line an event, in the output folder; nothing is ever taken out.",
        &[
            ("coordinator/src/chronicle/told.rs", "Told"),
            ("coordinator/src/chronicle/told.rs", "Weight"),
        ],
    ),
    (
        "`evaluations.jsonl`",
        "What the encoders are worth, a figure a line, in the output folder: `EvaluationLine`, as above.",
        &[],
    ),
];

/// The page.
pub(super) fn page(root: &Path) -> Result<String> {
    let mut text = HEAD.to_owned();
    for (title, first, types) in PARTS {
        // Writing to a String does not fail.
        let _ = write!(text, "\n## {title}\n\n{first}\n");
        for (path, name) in types {
            append(&mut text, &describe(root, path, name)?);
        }
        if title == "The status" {
            let _ = write!(text, "\nWith every field:\n\n```json\n{}\n```\n", STATUS.trim());
        }
    }
    let _ = write!(text, "\n## Lines of the log\n\n{LOG_TEXT}");
    Ok(text)
}

/// Every name on the page of the types of the status, with that of its type.
#[cfg(test)]
pub(super) fn names_of_status(root: &Path) -> Result<Vec<(String, String)>> {
    let mut names = Vec::new();
    for (path, name) in PARTS[0].2 {
        let described = describe(root, path, name)?;
        let fields = described.entries.iter().filter(|entry| entry.kind.is_some());
        names.extend(fields.map(|entry| (described.name.clone(), entry.name.clone())));
    }
    Ok(names)
}

fn append(text: &mut String, described: &Described) {
    let Described { name, doc, entries } = described;
    let _ = write!(text, "\n### {name}\n\n{doc}\n\n");
    let is_structure = entries.iter().any(|entry| entry.kind.is_some());
    text.push_str(if is_structure {
        "| field | is | meaning |\n| --- | --- | --- |\n"
    } else {
        "| text | meaning |\n| --- | --- |\n"
    });
    for entry in entries {
        let kind = entry
            .kind
            .as_ref()
            .map_or_else(String::new, |kind| format!(" {kind} |"));
        let _ = writeln!(
            text,
            "| `{}` |{kind} {} |",
            entry.name,
            entry.doc.replace('|', "\\|")
        );
    }
}
