//! A run's progress as a bar at the bottom of a terminal; nothing where standard error is no terminal.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use m2t_common::status::{PhaseName, Status};

use super::table::{phase_name, span};

/// Known before the data set is: a bar of unknown length.
const WAITING: &str = "{spinner} {msg}";
const TRAINING: &str = "{msg}\n{wide_bar} {pos}/{len} steps, {prefix}";

/// The bar. Cloning shares it.
#[derive(Clone)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar on standard error.
    pub fn new() -> Self {
        let target = if std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(style(WAITING));
        Self { bar }
    }

    /// Brings the bar up to `status`, with `above` over it.
    pub fn show(&self, status: &Status, above: &str) {
        match &status.progress {
            Some(progress) => {
                self.bar.set_style(style(TRAINING));
                self.bar.set_length(progress.total_steps);
                self.bar.set_position(progress.step.0);
                let left = progress
                    .remaining
                    .map_or_else(String::new, |left| format!("{} left", span(left)));
                self.bar.set_prefix(left);
            }
            None => self.bar.set_style(style(WAITING)),
        }
        self.bar.set_message(above.to_owned());
    }

    /// Prints a line above the bar: to standard error, terminal or not.
    pub fn say(&self, line: &str) {
        self.bar.suspend(|| eprintln!("{line}"));
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

/// A status in one line, for above the bar.
pub fn headline(status: &Status) -> String {
    let progress = status
        .progress
        .as_ref()
        .filter(|_| status.phase == PhaseName::Training);
    let Some(progress) = progress else {
        let phase = phase_name(status.phase);
        return format!("{}: {phase}: {}", status.experiment, status.reason);
    };
    let loss = progress
        .loss
        .map_or_else(String::new, |loss| format!("loss {loss:.3}, "));
    format!(
        "{}: epoch {} · {loss}{:.1} images/s, {:.0} % waiting for data",
        status.experiment,
        progress.epoch + 1,
        progress.images_per_second,
        100.0 * progress.data_wait
    )
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is one of ours")
}
