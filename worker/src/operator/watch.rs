//! `m2t status --watch` in a terminal: a view of the run that is drawn anew whenever something changes, and takes orders.
//!
//! ```text
//!  follow (statuses; comes back by itself) ──┐
//!  a thread that reads keys and resizes ─────┼──► inbox ──► View (what is known, what is looked at) ──► draw ──► Screen
//!  signals, answers to orders ───────────────┘      ▲ each second, for the ages shown
//! ```
//! Here is the shell; what is known and what keys do is `view`'s, what it looks like `draw`'s. Both are pure. Orders go the way of
//! `m2t pause`, after a question. Whatever ends the view, the terminal is as it was.

mod draw;
mod fleet;
mod follow;
mod keys;
mod log;
mod look;
mod losses;
mod panels;
mod screen;
mod view;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use m2t_common::status::Status;
use ratatui::crossterm::event::Event as TerminalEvent;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::{Whom, orders, status, table};
use look::Look;
use screen::Screen;
use view::{Reaction, View};

/// Ages that are shown grow by themselves.
const AGEING: Duration = Duration::from_secs(1);

/// What reaches the view.
enum Event {
    /// The run's newest status.
    Status(Box<Status>),
    /// No coordinator answers, and why.
    Lost(String),
    /// The run has ended.
    Ended,
    /// A key, or another size.
    Terminal(TerminalEvent),
    /// What the coordinator said to an order; an error is a refusal, or that nobody answered.
    Answer(Result<String, String>),
    /// A signal that ends programs, by its number.
    Signal(i32),
}

type Events = mpsc::UnboundedSender<Event>;

/// How the view ended.
enum End {
    Quit,
    Run,
    Signal(i32),
}

/// Whether there is a terminal to show the view in.
pub fn has_terminal() -> bool {
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    std::io::stdout().is_terminal() && !is_dumb
}

/// Shows the run until it ends or `q` is pressed; after its end, the last status stays on the terminal.
///
/// # Errors
/// Where no coordinator answers at first, and where the terminal cannot be used.
pub async fn watch(whom: &Whom) -> anyhow::Result<ExitCode> {
    let coordinator = whom.contact()?;
    let mut statuses = status::stream(&coordinator).await?;
    let Some(first) = statuses.next().await? else {
        return Ok(ExitCode::SUCCESS);
    };
    let (events, mut inbox) = mpsc::unbounded_channel();
    listen_for_signals(&events)?;
    tokio::spawn(follow::follow(coordinator, statuses, events.clone()));
    let mut view = View::new(first, Look::from_environment());
    let mut screen = Screen::enter().context("cannot use this terminal; m2t status shows a table")?;
    read_keys(events.clone())?;
    let end = show(&mut screen, &mut view, (whom, &events), &mut inbox).await;
    drop(screen);
    match end? {
        End::Quit => Ok(ExitCode::SUCCESS),
        End::Run => {
            writeln!(std::io::stdout(), "{}", table::render(view.status()))?;
            Ok(ExitCode::SUCCESS)
        }
        End::Signal(number) => Ok(ExitCode::from(u8::try_from(128 + number).unwrap_or(u8::MAX))),
    }
}

async fn show(
    screen: &mut Screen,
    view: &mut View,
    (whom, events): (&Whom, &Events),
    inbox: &mut mpsc::UnboundedReceiver<Event>,
) -> anyhow::Result<End> {
    loop {
        screen.draw(view).context("cannot draw on the terminal")?;
        let Ok(event) = tokio::time::timeout(AGEING, inbox.recv()).await else {
            continue;
        };
        // All that came meanwhile is drawn once.
        let mut next = event;
        while let Some(event) = next {
            if let Some(end) = take(view, event, (whom, events)) {
                return Ok(end);
            }
            next = inbox.try_recv().ok();
        }
    }
}

/// Takes one event in; how the view ends, if it does.
fn take(view: &mut View, event: Event, (whom, events): (&Whom, &Events)) -> Option<End> {
    match event {
        Event::Status(status) => view.see(*status),
        Event::Lost(reason) => view.lose(reason, Instant::now()),
        Event::Ended => return Some(End::Run),
        Event::Answer(answer) => view.hear(answer),
        Event::Signal(number) => return Some(End::Signal(number)),
        Event::Terminal(TerminalEvent::Key(key)) => match keys::press(view, key) {
            Reaction::None => {}
            Reaction::Quit => return Some(End::Quit),
            Reaction::Order(wish) => {
                tokio::spawn(order(wish.at(whom), events.clone()));
            }
        },
        // Another size is seen when it is drawn.
        Event::Terminal(_) => {}
    }
    None
}

/// Gives an order, and hands the answer on.
async fn order(order: orders::Order, events: Events) {
    let mut sentence = Vec::new();
    let asked = orders::ask(order, &mut sentence).await;
    let answer = match asked {
        Ok(()) => Ok(String::from_utf8_lossy(&sentence).trim().to_owned()),
        Err(error) => Err(format!("{error:#}")),
    };
    // The view may have been left.
    let _ = events.send(Event::Answer(answer));
}

/// Reads the terminal on a thread of its own, which ends with the process: nothing else wakes a read.
fn read_keys(events: Events) -> anyhow::Result<()> {
    std::thread::Builder::new()
        .name("keys".to_owned())
        .spawn(move || {
            while let Ok(event) = ratatui::crossterm::event::read() {
                if events.send(Event::Terminal(event)).is_err() {
                    return;
                }
            }
        })
        .context("cannot start a thread")?;
    Ok(())
}

fn listen_for_signals(events: &Events) -> anyhow::Result<()> {
    for kind in [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
        SignalKind::quit(),
    ] {
        let mut signals = signal(kind).context("cannot listen for signals")?;
        let events = events.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                // A closed inbox means that the view has ended.
                let _ = events.send(Event::Signal(kind.as_raw_value()));
            }
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
