//! `events.jsonl`: what happened, in sentences for people. Of some the sentence is taken apart, for why a generation ended stands
//! nowhere else.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use m2t_common::status::Event;

use super::Notes;
use super::lines::Lines;

/// Its file name.
pub const EVENTS: &str = "events.jsonl";

/// What the events of a run come to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Events {
    /// The first and the last moment, in milliseconds since 1970.
    pub span: Option<(u64, u64)>,
    /// Why each generation ended.
    pub ends: BTreeMap<u64, String>,
    /// When the first step of a generation could begin.
    pub training_since: BTreeMap<u64, u64>,
    /// Checkpoints that were completed, kept or not.
    pub n_checkpoints: u64,
    /// How the run ended, as far as it did: kind and sentence.
    pub ending: Option<(String, String)>,
    /// Digest of the final state.
    pub state_digest: Option<String>,
    /// Machines that were ever there.
    pub machines: Vec<String>,
}

impl Events {
    /// Reads those of the run in `folder`.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn read(folder: &Path, notes: &mut Notes) -> io::Result<Self> {
        let mut events = Self::default();
        let Some(mut lines) = Lines::<Event>::open(&folder.join(EVENTS))? else {
            notes.add(format_args!(
                "{EVENTS} is missing: times of the day and the reasons of regroups are not known."
            ));
            return Ok(events);
        };
        let mut draining = None;
        while let Some(event) = lines.read()? {
            events.take(&event, &mut draining);
        }
        notes.tally(EVENTS, &lines.tally);
        Ok(events)
    }

    fn take(&mut self, event: &Event, draining: &mut Option<String>) {
        let (at, text) = (event.at.0, event.text.as_str());
        let (first, _) = self.span.unwrap_or((at, at));
        self.span = Some((first.min(at), at.max(first)));
        match event.kind.as_str() {
            "draining" => *draining = text.split_once(": ").map(|(_, why)| why.to_owned()),
            "generation_ended" => {
                if let Some((generation, cause)) = ended(text) {
                    let why = draining
                        .take()
                        .filter(|_| cause.starts_with("it drained"))
                        .unwrap_or(cause);
                    self.ends.insert(generation, why);
                }
            }
            "generation_training" => {
                self.ending = None;
                if let Some(generation) = number_in(text, "generation ") {
                    self.training_since.insert(generation, at);
                }
            }
            "checkpoint_complete" => self.n_checkpoints += 1,
            "machine_attached" => {
                let name = text
                    .strip_prefix("machine ")
                    .and_then(|rest| rest.split_once(' '));
                if let Some((name, _)) = name
                    && !self.machines.iter().any(|known| known == name)
                {
                    self.machines.push(name.to_owned());
                }
            }
            kind @ ("run_finished" | "run_stopped" | "run_failed") => {
                self.ending = Some((kind.to_owned(), text.to_owned()));
                self.state_digest = text
                    .split_once("digest is ")
                    .map(|(_, digest)| digest.to_owned())
                    .or(self.state_digest.take());
            }
            _ => {}
        }
    }
}

/// "generation 3 ended: the cause".
fn ended(text: &str) -> Option<(u64, String)> {
    let (number, cause) = text.strip_prefix("generation ")?.split_once(" ended: ")?;
    Some((number.parse().ok()?, cause.to_owned()))
}

/// The number that follows `before` at the beginning of `text`.
fn number_in(text: &str, before: &str) -> Option<u64> {
    let rest = text.strip_prefix(before)?;
    let n_digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    rest[..n_digits].parse().ok()
}
