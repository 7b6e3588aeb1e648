//! The lines of JSON between `m2t launch` and its far ends, through ssh's standard input and output.
//!
//! ```text
//!  launcher                            far end, on the host
//!     ◄──────────────────────── hello (its version)
//!  run ────────────────────────►       starts the program's keeper, or finds it running
//!     ◄──────── started, said, token, … ended
//!  stop, kill, done ───────────►
//! ```
//! What secrets there are go this way, for a command line can be read by every user of a host.

use serde::{Deserialize, Serialize};

/// The programs that are run on hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Role {
    /// `m2t-coordinator`.
    Coordinator,
    /// `m2t-worker`.
    Worker,
}

impl Role {
    /// The program's file name.
    pub(super) fn program(self) -> &'static str {
        match self {
            Self::Coordinator => "m2t-coordinator",
            Self::Worker => "m2t-worker",
        }
    }
}

/// Whether the launcher has had this seat run before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Contact {
    /// No: what ended before is of an older run.
    First,
    /// Yes: if it ended meanwhile, its end is what the launcher wants to hear.
    Again,
}

/// A program to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seat {
    /// Tells this run's program from all others' on the host: letters, digits, dots, hyphens and underscores.
    pub(super) key: String,
    /// Which program.
    pub(super) role: Role,
    /// What it is given.
    pub(super) arguments: Vec<String>,
    /// What it shows to be let in.
    pub(super) token: Option<String>,
    /// The file in which a coordinator keeps what its workers show; read when it listens.
    pub(super) token_file: Option<String>,
}

/// From the launcher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(super) enum ToSeat {
    /// Start it, or find it running.
    Run {
        /// What.
        seat: Seat,
        /// First or again.
        contact: Contact,
        /// How many bytes of its output were heard.
        heard: u64,
    },
    /// SIGTERM: it ends at a step that is checkpointed.
    Stop,
    /// SIGKILL.
    Kill,
    /// Its end was heard: remove what was kept of it.
    Done,
}

/// From a far end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(super) enum FromSeat {
    /// First of all.
    Hello {
        /// Of the `m2t` on the host.
        version: String,
    },
    /// It runs.
    Started,
    /// A line of its output.
    Said {
        /// Without its end.
        line: String,
        /// How many bytes of its output are heard with it.
        heard: u64,
    },
    /// What workers show this coordinator.
    Token {
        /// Never printed.
        token: String,
    },
    /// It ended.
    Ended {
        /// Its exit code; 3 for a signal.
        code: u8,
    },
    /// It cannot be run here.
    Refused {
        /// In a sentence.
        reason: String,
    },
}

/// What a coordinator says when it can be joined, with where after it.
pub(super) const LISTENING: &str = "listening on ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_were_written() {
        let seat = Seat {
            key: "k-a".to_owned(),
            role: Role::Worker,
            arguments: vec!["--name".to_owned(), "a b'c".to_owned()],
            token: Some("secret".to_owned()),
            token_file: None,
        };
        let run = ToSeat::Run {
            seat,
            contact: Contact::Again,
            heard: 7,
        };
        for order in [run, ToSeat::Stop, ToSeat::Done] {
            let line = serde_json::to_string(&order).unwrap();
            assert!(!line.contains('\n'));
            assert_eq!(serde_json::from_str::<ToSeat>(&line).unwrap(), order);
        }
        let news = serde_json::to_string(&FromSeat::Ended { code: 4 }).unwrap();
        assert_eq!(news, r#"{"is":"ended","code":4}"#);
    }
}
