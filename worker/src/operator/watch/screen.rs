//! The terminal while the view has it: raw, on its second screen; given back however the view ends.
//!
//! Dropping it gives it back, and a panic does so before its message is written. Signals are the shell's to hear.

use std::time::Instant;

use ratatui::DefaultTerminal;

use super::draw;
use super::view::View;

/// The terminal, taken.
pub(super) struct Screen {
    terminal: DefaultTerminal,
}

impl Screen {
    /// Takes the terminal of standard output.
    pub(super) fn enter() -> std::io::Result<Self> {
        let terminal = ratatui::try_init().inspect_err(|_| ratatui::restore())?;
        Ok(Self { terminal })
    }

    /// Draws the view in the terminal's present size.
    pub(super) fn draw(&mut self, view: &mut View) -> std::io::Result<()> {
        self.terminal
            .draw(|frame| draw::draw(frame, view, Instant::now()))?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Nobody is left to tell of a failure.
        let _ = self.terminal.show_cursor();
        ratatui::restore();
    }
}
