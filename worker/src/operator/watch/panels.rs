//! The parts of the view above the fleet: the run, its progress, losses, what its encoders are worth.

use std::time::Instant;

use m2t_common::status::{Progress, Status};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Chart, Dataset, GraphType, Paragraph};

use super::look::{Look, Mood, of_phase};
use super::view::{Link, View};
use crate::operator::table::{phase_name, short, span};

/// The run, its phase with the reason, and whether the coordinator answers: two lines.
pub(super) fn head(frame: &mut Frame<'_>, area: Rect, view: &View, now: Instant) {
    let (status, look) = (view.status(), view.look);
    let batch = u64::from(status.world) * u64::from(status.batch_per_rank);
    let second = match &view.link {
        Link::Live => Line::styled(
            format!(
                "generation {}, {} ranks of {} images (batch {batch}) on at least {} devices",
                status.generation, status.world, status.batch_per_rank, status.min_devices
            ),
            look.faint(),
        ),
        Link::Lost { since, reason } => {
            let silence = span(now.saturating_duration_since(*since));
            Line::styled(
                format!("NO COORDINATOR for {silence}; training may go on. {reason}"),
                look.mood(Mood::Bad),
            )
        }
    };
    frame.render_widget(Paragraph::new(vec![title(status, look), second]), area);
}

fn title(status: &Status, look: Look) -> Line<'static> {
    let mood = of_phase(status.phase);
    let mut parts = vec![
        Span::styled(status.experiment.clone(), look.strong()),
        Span::raw("  "),
        Span::styled(
            format!("{} {}", mood.sign(), phase_name(status.phase)),
            look.mood(mood),
        ),
    ];
    if !status.reason.is_empty() {
        parts.push(Span::raw(format!(": {}", status.reason)));
    }
    Line::from(parts)
}

/// How far the run is, as a bar and in two lines of numbers.
pub(super) fn progress(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let Some(progress) = &view.status().progress else {
        let waiting = "how long the run is, is known once a machine has read its data";
        frame.render_widget(Paragraph::new(waiting).style(view.look.faint()), area);
        return;
    };
    let lines = vec![
        bar(progress, area.width, view.look),
        Line::from(position(progress)),
        Line::from(rates(progress)),
    ];
    frame.render_widget(Paragraph::new(lines), area);
}

fn bar(progress: &Progress, width: u16, look: Look) -> Line<'static> {
    let done = progress.step.0 as f64 / progress.total_steps.max(1) as f64;
    let left = match progress.remaining {
        Some(left) => format!("{} left", span(left)),
        None => "time left unknown yet".to_owned(),
    };
    let text = format!(" {:.1} %, {left}", 100.0 * done);
    let cells = usize::from(width).saturating_sub(text.chars().count());
    let filled = ((done * cells as f64) as usize).min(cells);
    Line::from(vec![
        Span::styled("█".repeat(filled), look.mood(Mood::Good)),
        Span::styled("░".repeat(cells - filled), look.faint()),
        Span::raw(text),
    ])
}

fn position(progress: &Progress) -> String {
    let n_epochs = progress
        .total_steps
        .div_ceil(progress.steps_per_epoch.max(1))
        .max(1);
    let replaced = match progress.replaced {
        0 => String::new(),
        n => format!("   {n} files replaced"),
    };
    format!(
        "step {} of {}   epoch {} of {n_epochs}, step {} of {} in it{replaced}",
        progress.step,
        progress.total_steps,
        (progress.epoch + 1).min(n_epochs),
        progress.step_in_epoch,
        progress.steps_per_epoch,
    )
}

fn rates(progress: &Progress) -> String {
    let loss = progress
        .loss
        .map_or_else(|| "none yet".to_owned(), |loss| format!("{loss:.4}"));
    let bottleneck = progress
        .bottleneck
        .map_or_else(String::new, |stage| format!(" ({stage})"));
    format!(
        "loss {loss}   rate {:.6}   {:.1} images/s   data wait {:.1} %{bottleneck}",
        progress.learning_rate,
        progress.images_per_second,
        100.0 * progress.data_wait
    )
}

/// The losses since the view was opened.
pub(super) fn losses(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let block = Block::bordered().title(" loss ").border_style(view.look.faint());
    let points = view.losses.points();
    let (Some((low, high)), [first, .., last]) = (view.losses.range(), points) else {
        let waiting = "drawn from two steps on, since this view was opened";
        let waiting = Paragraph::new(waiting).style(view.look.faint()).block(block);
        frame.render_widget(waiting, area);
        return;
    };
    let margin = ((high - low) * 0.05).max(1e-6);
    let line = Dataset::default()
        .marker(Marker::Braille)
        .graph_type(GraphType::Line)
        .style(view.look.strong())
        .data(points);
    let ends = [format!("{:.0}", first.0), format!("{:.0}", last.0)];
    let chart = Chart::new(vec![line])
        .block(block)
        .x_axis(Axis::default().bounds([first.0, last.0]).labels(ends))
        .y_axis(
            Axis::default()
                .bounds([low - margin, high + margin])
                .labels([format!("{low:.3}"), format!("{high:.3}")]),
        );
    frame.render_widget(chart, area);
}

/// Evaluations and the newest checkpoint.
pub(super) fn worth(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let status = view.status();
    let mut lines: Vec<Line<'_>> = status
        .evaluations
        .iter()
        .map(|figure| {
            Line::from(format!(
                "{} {} {:.2} %, epoch {}",
                figure.encoder,
                figure.method,
                100.0 * figure.top1,
                figure.epoch
            ))
        })
        .collect();
    match &status.checkpoint {
        Some(checkpoint) => {
            lines.push(Line::from(checkpoint.name.to_string()));
            lines.push(Line::styled(short(&checkpoint.state_digest), view.look.faint()));
        }
        None => lines.push(Line::from("no checkpoint yet")),
    }
    let waits = status.waits.iter();
    lines.extend(
        waits.map(|(name, wait)| {
            Line::styled(format!("{name} {:.1} s", wait.as_secs_f64()), view.look.faint())
        }),
    );
    let block = Block::bordered()
        .title(" worth, checkpoint, waits ")
        .border_style(view.look.faint());
    frame.render_widget(Paragraph::new(lines).block(block), area);
}
