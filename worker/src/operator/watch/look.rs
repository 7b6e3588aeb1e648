//! What things look like: in colours, or without where `NO_COLOR` is set. Nothing is told by a colour alone.

use m2t_common::status::{DeviceStatus, MachineStatus, PhaseName};
use ratatui::style::{Color, Modifier, Style};

/// A wait for data that is worth a colour.
const WAITS: f64 = 0.2;

/// Colours, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Colours,
    Plain,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Good,
    /// On the way to something else.
    Warn,
    Bad,
    Idle,
}

impl Look {
    /// Plain where `NO_COLOR` is set to anything (no-color.org).
    pub(super) fn from_environment() -> Self {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if no_colour { Self::Plain } else { Self::Colours }
    }

    /// Of something that is so.
    pub(super) fn mood(self, mood: Mood) -> Style {
        let (colour, modifier) = match mood {
            Mood::Good => (Color::Green, Modifier::empty()),
            Mood::Warn => (Color::Yellow, Modifier::BOLD),
            Mood::Bad => (Color::Red, Modifier::BOLD),
            Mood::Idle => (Color::DarkGray, Modifier::DIM),
        };
        self.coloured(colour).add_modifier(modifier)
    }

    /// Of what is looked at first.
    pub(super) fn strong(self) -> Style {
        self.coloured(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    /// Of what is beside it.
    pub(super) fn faint(self) -> Style {
        self.coloured(Color::DarkGray)
    }

    /// Of the row that orders are about.
    pub(super) fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    fn coloured(self, colour: Color) -> Style {
        match self {
            Self::Colours => Style::new().fg(colour),
            Self::Plain => Style::new(),
        }
    }
}

impl Mood {
    /// A sign that says it without colours.
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Good => "●",
            Self::Warn => "◐",
            Self::Bad => "✗",
            Self::Idle => "○",
        }
    }
}

/// How a phase is.
pub(super) fn of_phase(phase: PhaseName) -> Mood {
    match phase {
        PhaseName::Training | PhaseName::Finished => Mood::Good,
        PhaseName::Failed => Mood::Bad,
        PhaseName::Paused => Mood::Idle,
        PhaseName::Gathering
        | PhaseName::Forming
        | PhaseName::Recovering
        | PhaseName::Regrouping
        | PhaseName::Draining
        | PhaseName::Stopped => Mood::Warn,
    }
}

/// How a machine is, by what its state begins with; the page reads it likewise.
pub(super) fn of_machine(machine: &MachineStatus) -> Mood {
    let begins = |words: &[&str]| words.iter().any(|word| machine.state.starts_with(word));
    if begins(&["connection lost", "cannot train", "set aside"]) {
        Mood::Bad
    } else if begins(&["leaving", "draining", "starting", "checking"]) {
        Mood::Warn
    } else if machine.state == "training" {
        Mood::Good
    } else {
        Mood::Idle
    }
}

/// How a device is.
pub(super) fn of_device(machine: &MachineStatus, device: &DeviceStatus) -> Mood {
    match of_machine(machine) {
        Mood::Bad => Mood::Bad,
        _ if device.ranks.is_empty() => Mood::Idle,
        Mood::Warn => Mood::Warn,
        _ if device.data_wait > WAITS || !device.slow_files.is_empty() => Mood::Warn,
        Mood::Good | Mood::Idle => Mood::Good,
    }
}
