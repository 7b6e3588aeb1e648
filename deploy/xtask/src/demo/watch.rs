//! What the user sees while the run goes on: a line when something changes and every ten seconds, and twice the whole
//! status. All of it comes from `m2t status`, as an operator would get it.

use std::process::Command;
use std::time::{Duration, Instant};

use m2t_common::status::{PhaseName, Status};

use super::Stage;
use crate::show;

/// Between two lines of the same phase. Lines and no screen control, so that a log reads as well as a terminal.
const EVERY: Duration = Duration::from_secs(10);
/// How often the coordinator is asked at all.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What has been shown.
pub(super) struct Watch {
    address: String,
    start: Instant,
    next_look: Instant,
    next_line: Instant,
    shown: Option<(PhaseName, String)>,
    tables_shown: u32,
}

impl Watch {
    /// Nothing shown yet.
    pub(super) fn new(address: &str) -> Self {
        let now = Instant::now();
        Self {
            address: address.to_owned(),
            start: now,
            next_look: now,
            next_line: now,
            shown: None,
            tables_shown: 0,
        }
    }

    /// Shows what is new, if it is time. A coordinator that does not answer is its process's matter, not ours.
    pub(super) fn look(&mut self, stage: &Stage<'_>) {
        let now = Instant::now();
        if now < self.next_look {
            return;
        }
        self.next_look = now + LOOK_EVERY;
        let answer = self.ask(stage).arg("--json").output();
        let Some(status) = answer
            .ok()
            .filter(|answer| answer.status.success())
            .and_then(|answer| serde_json::from_slice::<Status>(&answer.stdout).ok())
        else {
            return;
        };
        // The reason of a training run changes with every step; of any other phase it is the news.
        let reason = if status.phase == PhaseName::Training {
            String::new()
        } else {
            status.reason.clone()
        };
        let seen = Some((status.phase, reason));
        if self.shown != seen || now >= self.next_line {
            println!("{:>12}  {}", show::duration(self.start.elapsed()), line(&status));
            self.shown = seen;
            self.next_line = now + EVERY;
        }
        if self.tables_shown < tables_due(&status) {
            self.tables_shown += 1;
            self.show_table(stage);
        }
    }

    fn show_table(&self, stage: &Stage<'_>) {
        let mut command = self.ask(stage);
        println!("\n$ {}", stage.workspace.typed(&command));
        if let Ok(answer) = command.output() {
            // What it prints when it fails is for people, too.
            let words = if answer.status.success() {
                answer.stdout
            } else {
                answer.stderr
            };
            println!("{}\n", String::from_utf8_lossy(&words).trim_end());
        }
    }

    fn ask(&self, stage: &Stage<'_>) -> Command {
        let mut command = stage.program("m2t");
        command.args(["status", "--coordinator", &self.address]);
        command
    }
}

/// The whole status is shown once training has begun and once at half.
fn tables_due(status: &Status) -> u32 {
    match &status.progress {
        Some(progress) if status.phase == PhaseName::Training && progress.loss.is_some() => {
            if progress.step.0 * 2 < progress.total_steps {
                1
            } else {
                2
            }
        }
        _ => 0,
    }
}

/// One line of a status.
fn line(status: &Status) -> String {
    let phase = format!("{:?}", status.phase).to_lowercase();
    match &status.progress {
        Some(progress) if status.phase == PhaseName::Training => {
            let mut line = format!(
                "{phase}  step {}/{}  epoch {}",
                progress.step,
                progress.total_steps,
                progress.epoch + 1
            );
            if let Some(loss) = progress.loss {
                line += &format!("  loss {loss:.4}");
            }
            line += &format!(
                "  lr {:.4}  {:.0} images/s  data wait {:.0} %",
                progress.learning_rate,
                progress.images_per_second,
                progress.data_wait * 100.0
            );
            if let Some(remaining) = progress.remaining {
                line += &format!("  {} left", show::duration(remaining));
            }
            line
        }
        _ => format!("{phase}: {}", status.reason),
    }
}

#[cfg(test)]
mod tests {
    use m2t_common::ids::{Generation, Step, Timestamp};
    use m2t_common::status::Progress;

    use super::*;

    fn status(phase: PhaseName, step: u64) -> Status {
        Status {
            experiment: "demo".to_owned(),
            at: Timestamp(0),
            phase,
            reason: "2 of 4 devices; waiting for 2".to_owned(),
            generation: Generation(1),
            world: 4,
            batch_per_rank: 16,
            min_devices: 4,
            waits: vec![],
            machines: Vec::new(),
            progress: Some(Progress {
                step: Step(step),
                total_steps: 400,
                epoch: 3,
                step_in_epoch: 20,
                steps_per_epoch: 60,
                loss: (step > 0).then_some(1.5),
                learning_rate: 0.125,
                parameter_momentum: 0.99,
                statistics_momentum: 0.5,
                images_per_second: 141.6,
                data_wait: 0.031,
                bottleneck: None,
                remaining: Some(Duration::from_secs(130)),
                replaced: 0,
            }),
            checkpoint: None,
            evaluations: vec![],
            events: Vec::new(),
        }
    }

    #[test]
    fn a_line_says_what_it_waits_for_or_how_far_it_is() {
        assert_eq!(
            line(&status(PhaseName::Gathering, 0)),
            "gathering: 2 of 4 devices; waiting for 2"
        );
        assert_eq!(
            line(&status(PhaseName::Training, 200)),
            "training  step 200/400  epoch 4  loss 1.5000  lr 0.1250  142 images/s  data wait 3 %  2 min 10 s left"
        );
    }

    #[test]
    fn the_whole_status_is_due_when_training_has_begun_and_at_half() {
        let due = |phase, step| tables_due(&status(phase, step));
        assert_eq!(due(PhaseName::Forming, 0), 0);
        assert_eq!(due(PhaseName::Training, 0), 0);
        assert_eq!(due(PhaseName::Training, 1), 1);
        assert_eq!(due(PhaseName::Training, 200), 2);
    }
}
