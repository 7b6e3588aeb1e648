//! The events of the run since the view was opened, and those before that the status still knew.

use m2t_common::status::Event;

/// Events kept.
const KEPT: usize = 1000;

/// The kinds that make up a regroup: why a generation ended, what became of it, what it took.
const OF_REGROUPS: [&str; 8] = [
    "generation_ended",
    "generation_formed",
    "generation_training",
    "recovered",
    "recovering",
    "machine_lost",
    "machine_set_aside",
    "device_failed_too",
];

/// Whether an event belongs to a regroup.
pub(super) fn is_of_regroup(event: &Event) -> bool {
    OF_REGROUPS.contains(&event.kind.as_str())
}

/// Events, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    events: Vec<Event>,
}

impl Log {
    /// Takes in what is new among a status' events.
    pub(super) fn see(&mut self, newest: &[Event]) {
        let known = self
            .events
            .last()
            .and_then(|last| newest.iter().rposition(|event| event == last));
        let from = known.map_or(0, |i| i + 1);
        self.events.extend_from_slice(&newest[from..]);
        let surplus = self.events.len().saturating_sub(KEPT);
        self.events.drain(..surplus);
    }

    /// All, or those of regroups.
    pub(super) fn events(&self, shown: Shown) -> impl Iterator<Item = &Event> {
        self.events
            .iter()
            .filter(move |event| shown == Shown::All || is_of_regroup(event))
    }
}

/// Which events are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    All,
    Regroups,
}

/// A text in lines of at most `width` characters, parted between words where there are any; lines after the first are indented
/// by `indent`.
pub(super) fn wrap(text: &str, width: usize, indent: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ') {
        let mut word: Vec<char> = word.chars().collect();
        let is_first = used == 0 || (lines.len() > 1 && used == indent);
        if !is_first && used + 1 + word.len() > width {
            lines.push(" ".repeat(indent));
            used = indent;
        } else if !is_first {
            lines.last_mut().expect("there is a line").push(' ');
            used += 1;
        }
        loop {
            let room = width.saturating_sub(used).max(1);
            let rest = word.split_off(word.len().min(room));
            used += word.len();
            lines.last_mut().expect("there is a line").extend(word);
            if rest.is_empty() {
                break;
            }
            lines.push(" ".repeat(indent));
            used = indent;
            word = rest;
        }
    }
    lines
}
