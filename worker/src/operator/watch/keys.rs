//! What keys do to the view.
//!
//! ```text
//!  None, Answered ── p r s d ──► Asking ── y, Enter ──► Waiting ── the coordinator's answer ──► Answered
//!        ▲──────── any other ───────┘
//! ```

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::fleet;
use super::log::Shown;
use super::view::{Dialogue, Pane, Reaction, View, Wish};

/// Rows of a page.
const PAGE: usize = 10;

/// Takes a key in.
pub(super) fn press(view: &mut View, key: KeyEvent) -> Reaction {
    if key.kind == KeyEventKind::Release {
        return Reaction::None;
    }
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    if is_control && matches!(key.code, KeyCode::Char('c' | 'd')) {
        return Reaction::Quit;
    }
    if let Dialogue::Asking(wish) = &view.dialogue {
        let wish = wish.clone();
        return answer(view, wish, key.code);
    }
    match key.code {
        KeyCode::Char('q') => return Reaction::Quit,
        KeyCode::Esc => view.dialogue = Dialogue::None,
        KeyCode::Char('p') => view.dialogue = Dialogue::Asking(Wish::Pause),
        KeyCode::Char('r') => view.dialogue = Dialogue::Asking(Wish::Resume),
        KeyCode::Char('s') => view.dialogue = Dialogue::Asking(Wish::Stop),
        KeyCode::Char('d') => {
            if let Some(machine) = fleet::selected(view.status(), view.fleet.selected()) {
                view.dialogue = Dialogue::Asking(Wish::Drain(machine.name.clone()));
            }
        }
        KeyCode::Char('g') => {
            view.shown = match view.shown {
                Shown::All => Shown::Regroups,
                Shown::Regroups => Shown::All,
            };
            view.log_back = 0;
        }
        KeyCode::Tab | KeyCode::BackTab => {
            view.pane = match view.pane {
                Pane::Fleet => Pane::Log,
                Pane::Log => Pane::Fleet,
            };
        }
        code => scroll(view, code),
    }
    Reaction::None
}

fn answer(view: &mut View, wish: Wish, code: KeyCode) -> Reaction {
    if matches!(code, KeyCode::Char('y' | 'Y') | KeyCode::Enter) {
        view.dialogue = Dialogue::Waiting(wish.clone());
        return Reaction::Order(wish);
    }
    view.dialogue = Dialogue::None;
    Reaction::None
}

fn scroll(view: &mut View, code: KeyCode) {
    let last = fleet::n_rows(view.status()).saturating_sub(1);
    let at = match view.pane {
        Pane::Fleet => view.fleet.selected().unwrap_or(0),
        // Counted from the end, so that up is more.
        Pane::Log => view.log_back,
    };
    let (up, down) = match view.pane {
        Pane::Fleet => (at.saturating_sub(1), at.saturating_add(1)),
        Pane::Log => (at.saturating_add(1), at.saturating_sub(1)),
    };
    let (page_up, page_down) = match view.pane {
        Pane::Fleet => (at.saturating_sub(PAGE), at.saturating_add(PAGE)),
        Pane::Log => (at.saturating_add(PAGE), at.saturating_sub(PAGE)),
    };
    let (home, end) = match view.pane {
        Pane::Fleet => (0, last),
        Pane::Log => (usize::MAX, 0),
    };
    let to = match code {
        KeyCode::Up | KeyCode::Char('k') => up,
        KeyCode::Down | KeyCode::Char('j') => down,
        KeyCode::PageUp => page_up,
        KeyCode::PageDown => page_down,
        KeyCode::Home => home,
        KeyCode::End => end,
        _ => return,
    };
    match view.pane {
        Pane::Fleet => view.fleet.select(Some(to.min(last))),
        // How far back there is anything is known when it is drawn.
        Pane::Log => view.log_back = to,
    }
}
