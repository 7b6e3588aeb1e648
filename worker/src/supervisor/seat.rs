//! One device's seat: the trainer process that drives it, and what it said in its generation.
//!
//! ```text
//!            order of a newer generation            another order, none, or nonsense
//!  Absent ──────────── Spawn ───────────► Running ───────────── End ─────────────► Ending ── Kill after GRACE
//!    ▲                                       │ exit: Failed, unless it said its last word     │ exit
//!    └───────────────────────────────────────┴────────────────────────────────────────────────┘
//! ```
//! A seat runs at most one trainer for a generation: one that fails is not started again, for the group is broken and
//! only a new generation mends it. And at most one process at a time: a successor waits until its predecessor is gone,
//! so that two never hold one device.

use std::time::Duration;

use m2t_common::Timestamp;
use m2t_common::report::{News, Rendezvous};
use m2t_common::trainer_link::{Start, ToTrainer};

use super::news_log::NewsLog;
use super::{Effect, Notice, TrainerKey};

/// How long a trainer that was asked to end has before it is killed. A healthy one ends within milliseconds; only
/// one that hangs or is stopped uses it up, and then it delays the next generation by as much.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// What a device is to do.
#[derive(Debug)]
pub(crate) struct Order {
    /// What its trainer is started with.
    pub(crate) start: Start,
    /// Where to meet, once known.
    pub(crate) rendezvous: Option<Rendezvous>,
    /// Whether to stop at the next step boundary.
    pub(crate) drain: bool,
}

/// A device's seat.
#[derive(Debug, Default)]
pub(crate) struct Seat {
    process: Process,
    log: NewsLog,
}

#[derive(Debug, Default)]
enum Process {
    #[default]
    Absent,
    Running(Running),
    Ending {
        key: TrainerKey,
        /// None once the kill is sent.
        kill_at: Option<Timestamp>,
    },
}

#[derive(Debug)]
struct Running {
    key: TrainerKey,
    told: Told,
    /// Set when it closed its link: it must be gone by then.
    kill_at: Option<Timestamp>,
}

/// What a trainer heard beyond its start. It only grows, so a repeated or late assignment takes nothing back.
#[derive(Debug, Default)]
struct Told {
    rendezvous: bool,
    drain: bool,
}

impl Seat {
    /// The process on the seat, running or ending.
    pub(crate) fn key(&self) -> Option<TrainerKey> {
        match &self.process {
            Process::Absent => None,
            Process::Running(running) => Some(running.key),
            Process::Ending { key, .. } => Some(*key),
        }
    }

    /// The news kept of the device.
    pub(crate) fn log(&self) -> &NewsLog {
        &self.log
    }

    /// Whether a trainer of the current generation is at work.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.process, Process::Running(_))
    }

    /// Whether the process that ends was sent SIGKILL.
    pub(crate) fn was_killed(&self) -> bool {
        matches!(self.process, Process::Ending { kill_at: None, .. })
    }

    /// Forgets the generations so far; only when the run is another.
    pub(crate) fn forget(&mut self) {
        self.log = NewsLog::default();
    }

    /// Brings the seat in line with `order`.
    pub(crate) fn reconcile(&mut self, now: Timestamp, order: Option<Order>, effects: &mut Vec<Effect>) {
        let Some(order) = order else {
            return self.end(now, effects);
        };
        let key = TrainerKey {
            generation: order.start.generation,
            device: order.start.device.index,
        };
        match &mut self.process {
            Process::Absent if self.log.generation() < key.generation => {
                self.log = NewsLog::new(key.generation);
                let mut running = Running {
                    key,
                    told: Told::default(),
                    kill_at: None,
                };
                effects.push(Effect::Spawn(key, Box::new(order.start)));
                running.catch_up(order.rendezvous, order.drain, effects);
                self.process = Process::Running(running);
            }
            Process::Running(running) if running.key == key => {
                running.catch_up(order.rendezvous, order.drain, effects);
            }
            Process::Running(_) => self.end(now, effects),
            Process::Absent | Process::Ending { .. } => {}
        }
    }

    /// Keeps `news` of the running trainer. `None` when it does not count: the trainer is ending or had said its last.
    pub(crate) fn hear(&mut self, news: News) -> Option<News> {
        if !self.is_running() || self.log.is_over() {
            return None;
        }
        self.log.push(news.clone());
        Some(news)
    }

    /// The trainer closed its link: it has [`GRACE`] to be gone.
    pub(crate) fn link_closed(&mut self, now: Timestamp) {
        if let Process::Running(running) = &mut self.process {
            running.kill_at = Some(now.after(GRACE));
        }
    }

    /// Asks a running trainer to end.
    pub(crate) fn end(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if let Process::Running(running) = &self.process {
            let key = running.key;
            effects.push(Effect::End(key));
            self.process = Process::Ending {
                key,
                kill_at: Some(now.after(GRACE)),
            };
        }
    }

    /// The process is gone.
    pub(crate) fn vacate(&mut self) {
        self.process = Process::Absent;
    }

    /// When a process must be killed, if one must.
    pub(crate) fn kill_at(&self) -> Option<Timestamp> {
        match &self.process {
            Process::Absent => None,
            Process::Running(running) => running.kill_at,
            Process::Ending { kill_at, .. } => *kill_at,
        }
    }

    /// Kills a process whose time is up.
    pub(crate) fn tick(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let (Some(key), Some(kill_at)) = (self.key(), self.kill_at()) else {
            return;
        };
        if kill_at <= now {
            effects.push(Effect::Notify(Notice::Killed(key)));
            effects.push(Effect::Kill(key));
            match &mut self.process {
                Process::Running(running) => running.kill_at = None,
                Process::Ending { kill_at, .. } => *kill_at = None,
                Process::Absent => {}
            }
        }
    }
}

impl Running {
    fn catch_up(&mut self, rendezvous: Option<Rendezvous>, drain: bool, effects: &mut Vec<Effect>) {
        if let Some(rendezvous) = rendezvous
            && !self.told.rendezvous
        {
            self.told.rendezvous = true;
            effects.push(Effect::Tell(self.key, ToTrainer::Join { rendezvous }));
        }
        if drain && !self.told.drain {
            self.told.drain = true;
            effects.push(Effect::Tell(self.key, ToTrainer::Drain));
        }
    }
}
