//! What one device said in the newest generation it was in, kept to be said again when the coordinator was away.
//!
//! The link gives no receipts, so after a reconnection everything kept is repeated; the coordinator takes what it had
//! not heard. Only step reports are many: the oldest of them go first once [`KEPT`] news are held.

use std::collections::VecDeque;

use m2t_common::Generation;
use m2t_common::report::News;

/// News kept of a device. At ten steps a second this bridges an absence of almost seven minutes without a gap in the
/// metrics; a longer one leaves a gap there and nowhere else.
pub(crate) const KEPT: usize = 4_096;

/// The news of a device in one generation, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewsLog {
    generation: Generation,
    news: VecDeque<News>,
}

impl NewsLog {
    /// The empty log of `generation`.
    pub(crate) fn new(generation: Generation) -> Self {
        Self {
            generation,
            news: VecDeque::new(),
        }
    }

    /// The generation it is of; 0 before a first trainer ran.
    pub(crate) fn generation(&self) -> Generation {
        self.generation
    }

    /// Keeps `news`.
    pub(crate) fn push(&mut self, news: News) {
        // A checkpoint is tried again and again, slow files change, and only how it stands now is worth repeating.
        if matches!(news, News::CheckpointFailed { .. } | News::Checkpointed(_)) {
            self.news
                .retain(|news| !matches!(news, News::CheckpointFailed { .. }));
        }
        if matches!(news, News::Evaluating { .. }) {
            self.news.retain(|news| !matches!(news, News::Evaluating { .. }));
        }
        if matches!(news, News::SlowFiles { .. }) {
            self.news.retain(|news| !matches!(news, News::SlowFiles { .. }));
        }
        if self.news.len() >= KEPT
            && let Some(oldest) = self.news.iter().position(|news| matches!(news, News::Stepped(_)))
        {
            self.news.remove(oldest);
        }
        self.news.push_back(news);
    }

    /// Whether the device did the last step of the run.
    pub(crate) fn is_finished(&self) -> bool {
        self.news
            .iter()
            .rev()
            .any(|news| matches!(news, News::Finished { .. }))
    }

    /// Whether the device stopped or finished as it was to.
    pub(crate) fn has_done_its_work(&self) -> bool {
        let last_word = |news: &News| matches!(news, News::Stopped { .. } | News::Finished { .. });
        self.news.iter().any(last_word)
    }

    /// All that is kept, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &News> {
        self.news.iter()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use m2t_common::Step;
    use m2t_common::report::StepReport;

    use super::*;

    fn stepped(step: u64) -> News {
        News::Stepped(StepReport {
            step: Step(step),
            loss: 0.0,
            loss_by_rank: vec![],
            gradient_norm: 0.0,
            duration: Duration::ZERO,
            data_wait: Duration::ZERO,
            bottleneck: None,
            replaced: vec![],
            state_digest: None,
            samples: vec![],
        })
    }

    #[test]
    fn the_oldest_steps_make_room_and_nothing_else_does() {
        let mut log = NewsLog::new(Generation(1));
        log.push(News::Ready { step: Step(0) });
        for step in 1..=KEPT as u64 + 10 {
            log.push(stepped(step));
        }
        assert_eq!(log.iter().count(), KEPT);
        assert_eq!(log.iter().next(), Some(&News::Ready { step: Step(0) }));
        assert_eq!(log.iter().nth(1), Some(&stepped(12)));
        assert!(!log.is_finished());
        let state_digest = "d".to_owned();
        log.push(News::Finished {
            step: Step(9),
            state_digest,
        });
        assert!(log.is_finished());
    }
}
