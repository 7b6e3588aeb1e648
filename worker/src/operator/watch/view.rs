//! What the view knows and what is looked at. It does no I/O; [`super::keys`] says what a key does to it.

use std::time::Instant;

use m2t_common::MachineName;
use m2t_common::status::Status;

use crate::operator::Whom;
use ratatui::widgets::TableState;

use super::fleet;
use super::log::{Log, Shown};
use super::look::Look;
use super::losses::Losses;
use crate::operator::orders::Order;

/// The view.
pub(super) struct View {
    status: Status,
    /// Whether the coordinator answers.
    pub(super) link: Link,
    pub(super) losses: Losses,
    pub(super) log: Log,
    pub(super) look: Look,
    /// Which part arrows scroll.
    pub(super) pane: Pane,
    /// The row of the fleet that is selected, and how far it is scrolled.
    pub(super) fleet: TableState,
    /// Lines between the end of the log and the last that is shown.
    pub(super) log_back: usize,
    pub(super) shown: Shown,
    pub(super) dialogue: Dialogue,
}

/// Whether the coordinator answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Live,
    Lost { since: Instant, reason: String },
}

/// The parts that scroll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pane {
    Fleet,
    Log,
}

/// What is asked and answered at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Dialogue {
    None,
    /// Whether an order is meant.
    Asking(Wish),
    /// An order is on its way.
    Waiting(Wish),
    /// What became of it; an error was a refusal, or that nobody answered.
    Answered(Result<String, String>),
}

/// An order before it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Pause,
    Resume,
    Stop,
    Drain(MachineName),
}

impl Wish {
    /// The question before it.
    pub(super) fn question(&self) -> String {
        match self {
            Self::Pause => {
                "Pause the run? It stops at the next step boundary, with a checkpoint; machines stay and wait.".to_owned()
            }
            Self::Resume => "Resume the run?".to_owned(),
            Self::Stop => "Stop the run? All devices stop at the next step boundary, with a checkpoint, and coordinator and \
                           daemons end. The same commands continue it."
                .to_owned(),
            Self::Drain(machine) => format!(
                "Let {machine} go at the next step boundary? Its daemon ends; the others go on, and nothing is lost."
            ),
        }
    }

    /// The order to that coordinator.
    pub(super) fn at(self, whom: &Whom) -> Order {
        match self {
            Self::Pause => Order::Pause(whom.into()),
            Self::Resume => Order::Resume(whom.into()),
            Self::Stop => Order::Stop(whom.into()),
            Self::Drain(machine) => Order::Drain((machine, whom).into()),
        }
    }
}

/// What the shell is to do about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    None,
    Quit,
    Order(Wish),
}

impl View {
    /// A view of a run as it is now.
    pub(super) fn new(status: Status, look: Look) -> Self {
        let mut view = Self {
            status: status.clone(),
            link: Link::Live,
            losses: Losses::default(),
            log: Log::default(),
            look,
            pane: Pane::Fleet,
            fleet: TableState::new().with_selected(Some(0)),
            log_back: 0,
            shown: Shown::All,
            dialogue: Dialogue::None,
        };
        view.see(status);
        view
    }

    /// The newest status.
    pub(super) fn status(&self) -> &Status {
        &self.status
    }

    /// Takes a status in.
    pub(super) fn see(&mut self, status: Status) {
        if let Some(progress) = &status.progress {
            self.losses.see(progress);
        }
        self.log.see(&status.events);
        self.status = status;
        self.link = Link::Live;
        let last = fleet::n_rows(&self.status).saturating_sub(1);
        let selected = self.fleet.selected().unwrap_or(0).min(last);
        self.fleet.select(Some(selected));
    }

    /// The coordinator does not answer; since the first time that it was so.
    pub(super) fn lose(&mut self, reason: String, now: Instant) {
        let since = match self.link {
            Link::Live => now,
            Link::Lost { since, .. } => since,
        };
        self.link = Link::Lost { since, reason };
    }

    /// Takes the answer to an order in.
    pub(super) fn hear(&mut self, answer: Result<String, String>) {
        self.dialogue = Dialogue::Answered(answer);
    }
}
