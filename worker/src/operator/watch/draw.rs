//! The whole view in a frame. A pure function of the view, the size and the time.
//!
//! ```text
//!  run, phase, reason                             2 lines
//!  progress                                       3
//!  losses            | worth, checkpoint, waits   from 20 lines on
//!  machines, devices, ranks                       scrolls
//!  log                                            scrolls
//!  keys, or the answer to an order                1
//! ```

use std::time::Instant;

use m2t_common::status::Event;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Margin, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Scrollbar, ScrollbarOrientation, ScrollbarState, Wrap};

use super::log::{Shown, is_of_regroup, wrap};
use super::look::Mood;
use super::view::{Dialogue, Pane, View, Wish};
use super::{fleet, panels};
use crate::operator::table::time_of_day;

const KEYS: &str = "q quit  ↑↓ Tab scroll  g regroups  p pause  r resume  s stop  d drain";

/// Draws the view. Scroll positions that are beyond the end are brought back to it.
pub(super) fn draw(frame: &mut Frame<'_>, view: &mut View, now: Instant) {
    let height = frame.area().height;
    // A low terminal keeps what moves.
    let middle = match height {
        ..20 => 0,
        20..40 => 6,
        40.. => 12,
    };
    let log = match height {
        ..14 => 0,
        14..20 => 4,
        20.. => 6.max(height / 4),
    };
    let [head, progress, charts, fleet, log, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(3),
        Constraint::Length(middle),
        Constraint::Min(3),
        Constraint::Length(log),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    panels::head(frame, head, view, now);
    panels::progress(frame, progress, view);
    if middle > 0 {
        let [losses, worth] = Layout::horizontal([Constraint::Fill(1), Constraint::Length(32)]).areas(charts);
        panels::losses(frame, losses, view);
        panels::worth(frame, worth, view);
    }
    draw_fleet(frame, fleet, view);
    if log.height > 2 {
        draw_log(frame, log, view);
    }
    draw_foot(frame, foot, view);
    if let Dialogue::Asking(wish) = &view.dialogue {
        draw_question(frame, wish, view);
    }
}

fn block(view: &View, pane: Pane, title: &str) -> Block<'static> {
    let style = if view.pane == pane {
        view.look.strong()
    } else {
        view.look.faint()
    };
    let mark = if view.pane == pane { "▸" } else { " " };
    Block::bordered()
        .title(format!("{mark}{title} "))
        .border_style(style)
}

fn draw_fleet(frame: &mut Frame<'_>, area: Rect, view: &mut View) {
    let n_rows = fleet::n_rows(view.status());
    let selected = view.fleet.selected().unwrap_or(0);
    let place = match n_rows {
        0 => String::new(),
        n => format!("; row {} of {n}", selected + 1),
    };
    let title = format!("{}{place}", fleet::summary(view.status()));
    let table = fleet::table(view.status(), view.look).block(block(view, Pane::Fleet, &title));
    frame.render_stateful_widget(table, area, &mut view.fleet);
    // Borders and titles of columns show no row.
    let visible = usize::from(area.height.saturating_sub(3));
    if n_rows > visible {
        let mut state = ScrollbarState::new(n_rows.saturating_sub(visible)).position(view.fleet.offset());
        let bar = Scrollbar::new(ScrollbarOrientation::VerticalRight)
            .begin_symbol(None)
            .end_symbol(None);
        // On the border, between its corners.
        frame.render_stateful_widget(bar, area.inner(Margin::new(0, 1)), &mut state);
    }
}

fn draw_log(frame: &mut Frame<'_>, area: Rect, view: &mut View) {
    let (width, height) = (
        usize::from(area.width.saturating_sub(2)),
        usize::from(area.height.saturating_sub(2)),
    );
    let lines: Vec<Line<'static>> = view
        .log
        .events(view.shown)
        .flat_map(|event| event_lines(event, width, view))
        .collect();
    view.log_back = view.log_back.min(lines.len().saturating_sub(height));
    let end = lines.len() - view.log_back;
    let shown = lines[end.saturating_sub(height)..end].to_vec();
    let what = match view.shown {
        Shown::All => "log",
        Shown::Regroups => "log: regroups",
    };
    let title = match view.log_back {
        0 => what.to_owned(),
        n => format!("{what}; {n} lines more below"),
    };
    frame.render_widget(Paragraph::new(shown).block(block(view, Pane::Log, &title)), area);
}

/// What a machine or a trainer said must not steer the terminal; the widgets leave control characters out.
fn event_lines(event: &Event, width: usize, view: &View) -> Vec<Line<'static>> {
    let style = if is_of_regroup(event) {
        view.look.mood(Mood::Warn)
    } else {
        Style::new()
    };
    let time = time_of_day(event.at);
    let time = time.trim_end_matches(" UTC");
    let text = event.text.replace(['\n', '\t'], " ");
    let lines = wrap(&text, width.saturating_sub(time.len() + 1), 2);
    let indent = " ".repeat(time.len());
    let before = |i: usize| if i == 0 { time.to_owned() } else { indent.clone() };
    let faint = view.look.faint();
    let line = |(i, line)| {
        Line::from(vec![
            Span::styled(before(i), faint),
            Span::styled(format!(" {line}"), style),
        ])
    };
    lines.into_iter().enumerate().map(line).collect()
}

fn draw_foot(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let look = view.look;
    let line = match &view.dialogue {
        Dialogue::None | Dialogue::Asking(_) => Line::styled(KEYS, look.faint()),
        Dialogue::Waiting(_) => Line::styled("asking the coordinator…", look.mood(Mood::Warn)),
        Dialogue::Answered(Ok(sentence)) => Line::styled(sentence.clone(), look.mood(Mood::Good)),
        Dialogue::Answered(Err(reason)) => Line::styled(format!("not done: {reason}"), look.mood(Mood::Bad)),
    };
    frame.render_widget(Paragraph::new(line), area);
}

fn draw_question(frame: &mut Frame<'_>, wish: &Wish, view: &View) {
    let whole = frame.area();
    let width = whole.width.min(64);
    let inner = usize::from(width.saturating_sub(4)).max(1);
    let n_lines = wrap(&wish.question(), inner, 0).len();
    let height = u16::try_from(n_lines + 4).unwrap_or(u16::MAX).min(whole.height);
    let area = Rect {
        x: (whole.width - width) / 2,
        y: (whole.height - height) / 2,
        width,
        height,
    };
    let mut lines: Vec<Line<'_>> = wrap(&wish.question(), inner, 0)
        .into_iter()
        .map(Line::from)
        .collect();
    lines.push(Line::default());
    lines.push(Line::styled("y yes   n no", view.look.strong()));
    let block = Block::bordered()
        .border_style(view.look.mood(Mood::Warn))
        .padding(ratatui::widgets::Padding::horizontal(1));
    frame.render_widget(Clear, area);
    frame.render_widget(
        Paragraph::new(lines).wrap(Wrap { trim: false }).block(block),
        area,
    );
}
