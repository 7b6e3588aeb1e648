//! One device's seat: the process that drives it, over the generations it lives through, and what it said in the newest.
//!
//! ```text
//!                         Spawn + Prepare                     Start                        Held, Warm
//!  Absent, Delayed ──────────────────────► Preparing ─Warm─► Warm ───► In generation ─────────────────► Holding
//!   ▲                     Spawn + Start                       ▲  ▲       │ ▲     │                      │  │ ▲
//!   │    └───────────────────────────────────────────────────────────────┘ └ Start of a newer one ──────┘  │ │
//!   │                                                         │  └── the machine's generation is newer ────┘ │
//!   │                                                         │          │ Hold unanswered: Kill             │
//!   │ exit                                                    │          ▼                                   │
//!   └──── Ending ◄── End (Idle, nonsense), Kill ── any that lives      Ending      Stopped, Finished, Failed: Over
//! ```
//! At most one process at a time: a successor waits until its predecessor is gone, so that two never hold one device.
//! A device that failed in a generation is not started again in it, for the group is broken and only a new generation
//! mends it. One that dies while it stands by is started again, each time a little later.
//!
//! A process hears of a newer generation only when it left the older one. So a line tells by its own generation what it is
//! about; a late one is handed on with it and changes nothing here.

use std::time::Duration;

use m2t_common::report::News;
use m2t_common::trainer_link::{Prepare, Said, ToTrainer};
use m2t_common::{DeviceIndex, Generation, Timestamp};

use super::news_log::NewsLog;
use super::order::{Order, TrainOrder, Wait};
use super::process::{At, In, Living, Process, Why};
use super::restarts::Restarts;
use super::{Effect, Notice, TrainerKey};

/// How long a trainer that was asked to end has before it is killed. A healthy one ends within milliseconds; only
/// one that hangs or is stopped uses it up.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// A device's seat.
#[derive(Debug)]
pub(crate) struct Seat {
    device: DeviceIndex,
    /// Of the newest process; 0 before the first.
    serial: u64,
    process: Process,
    /// The newest generation a process of the seat was started in.
    started: Generation,
    restarts: Restarts,
    log: NewsLog,
}

/// What a line or an end comes to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Heard {
    /// Nothing new.
    Nothing,
    /// News for the coordinator.
    News(Said),
    /// It breaks the protocol: why, in a sentence.
    Nonsense(String),
}

impl Seat {
    /// The empty seat of `device`.
    pub(crate) fn new(device: DeviceIndex) -> Self {
        Self {
            device,
            serial: 0,
            process: Process::default(),
            started: Generation(0),
            restarts: Restarts::default(),
            log: NewsLog::default(),
        }
    }

    /// The process on the seat, living or ending.
    pub(crate) fn key(&self) -> Option<TrainerKey> {
        self.process.key()
    }

    /// The news kept of the device.
    pub(crate) fn log(&self) -> &NewsLog {
        &self.log
    }

    /// Whether its process is in a group.
    pub(crate) fn is_in_group(&self) -> bool {
        matches!(self.process.at(), Some(At::In(_)))
    }

    /// Whether its process is in a group or just left one, so that others may need what it keeps.
    pub(crate) fn keeps_state(&self) -> bool {
        matches!(self.process.at(), Some(At::In(_) | At::Holding { .. }))
    }

    /// Whether its process waits for a group and holds nothing that the present generation knows of.
    pub(crate) fn is_warm(&self) -> bool {
        matches!(self.process.at(), Some(At::Warm { .. }))
    }

    /// The generation its process is in or was last in; of a process that did its work and went, too.
    pub(crate) fn lived_in(&self) -> Option<Generation> {
        let living = self.process.at().map(At::generation);
        let done = self.log.has_done_its_work().then(|| self.log.generation());
        living.or(done).filter(|generation| *generation > Generation(0))
    }

    /// Whether its process is on its way out because it was told to.
    pub(crate) fn is_ending(&self) -> bool {
        matches!(self.process, Process::Ending { .. })
    }

    /// Whether the process that ends was sent SIGKILL.
    pub(crate) fn was_killed(&self) -> bool {
        matches!(self.process, Process::Ending { kill_at: None, .. })
    }

    /// Forgets the generations so far; only when the run is another.
    pub(crate) fn forget(&mut self) {
        self.log = NewsLog::default();
        self.started = Generation(0);
        self.restarts = Restarts::default();
    }

    /// Brings the seat in line with `order`. What the device has to say of it, if anything.
    pub(crate) fn reconcile(
        &mut self,
        now: Timestamp,
        order: Order,
        effects: &mut Vec<Effect>,
    ) -> Option<Said> {
        match order {
            Order::Nothing => {
                self.end(now, effects);
                self.process.wait_no_more();
                None
            }
            Order::StandBy(wait) => self.stand_by(now, wait, effects),
            Order::Train(order) => {
                self.train(now, *order, effects);
                None
            }
        }
    }

    fn stand_by(&mut self, now: Timestamp, wait: Wait, effects: &mut Vec<Effect>) -> Option<Said> {
        match &mut self.process {
            Process::Absent { may_start } => {
                if let Some(prepare) = wait.prepare {
                    let (may_start, is_again) = (*may_start, self.restarts.is_any());
                    if is_again {
                        effects.push(Effect::Notify(Notice::StartsAgain {
                            device: self.device,
                            after: may_start.since(now),
                        }));
                    }
                    if may_start <= now {
                        self.prepare(prepare, effects);
                    } else {
                        self.process = Process::Delayed { until: may_start };
                    }
                }
                None
            }
            Process::Delayed { until } => {
                match wait.prepare {
                    Some(prepare) if *until <= now => self.prepare(prepare, effects),
                    Some(_) => {}
                    None => self.process.wait_no_more(),
                }
                None
            }
            Process::Living(living) => match &mut living.at {
                At::In(group) => {
                    group.hold(living.key, now.after(wait.within), wait.within, effects);
                    None
                }
                At::Holding { generation } if *generation < wait.generation => {
                    let last = *generation;
                    living.at = At::Warm { last };
                    Some(WARM)
                }
                At::Over { .. } => {
                    self.end(now, effects);
                    None
                }
                At::Preparing | At::Warm { .. } | At::Holding { .. } => None,
            },
            Process::Ending { .. } => None,
        }
    }

    fn train(&mut self, now: Timestamp, order: TrainOrder, effects: &mut Vec<Effect>) {
        let generation = order.start.generation;
        let is_new = self.started < generation;
        self.process.wait_no_more();
        match &mut self.process {
            Process::Absent { .. } if is_new => {
                let key = self.next_key();
                let start = order.start.clone();
                effects.push(Effect::Spawn(key, ToTrainer::Start(Box::new(start))));
                self.begin(key, order, effects);
            }
            Process::Living(living) => match &mut living.at {
                At::In(group) if group.generation == generation => {
                    group.catch_up(living.key, order.rendezvous, order.boundary, effects);
                }
                At::In(group) => group.hold(living.key, now.after(order.within), order.within, effects),
                At::Warm { .. } | At::Holding { .. } if is_new => {
                    let key = living.key;
                    let start = order.start.clone();
                    effects.push(Effect::Tell(key, ToTrainer::Start(Box::new(start))));
                    self.begin(key, order, effects);
                }
                At::Over { generation: last } if *last < generation => self.end(now, effects),
                // One that prepares says `Warm` soon, and then it is started.
                At::Preparing | At::Warm { .. } | At::Holding { .. } | At::Over { .. } => {}
            },
            Process::Absent { .. } | Process::Delayed { .. } | Process::Ending { .. } => {}
        }
    }

    /// The process `key` was told the start of `order`.
    fn begin(&mut self, key: TrainerKey, order: TrainOrder, effects: &mut Vec<Effect>) {
        let generation = order.start.generation;
        let mut group = In::new(generation);
        group.catch_up(key, order.rendezvous, order.boundary, effects);
        self.started = generation;
        self.log = NewsLog::new(generation);
        self.process = Process::Living(Living::new(key, At::In(group)));
    }

    fn prepare(&mut self, prepare: Box<Prepare>, effects: &mut Vec<Effect>) {
        let key = self.next_key();
        effects.push(Effect::Spawn(key, ToTrainer::Prepare(prepare)));
        self.process = Process::Living(Living::new(key, At::Preparing));
    }

    fn next_key(&mut self) -> TrainerKey {
        self.serial += 1;
        TrainerKey {
            device: self.device,
            serial: self.serial,
        }
    }

    /// Takes in a line of the living process. `assigned` is the machine's generation.
    pub(crate) fn hear(&mut self, said: Said, assigned: Generation) -> Heard {
        let Process::Living(living) = &mut self.process else {
            return Heard::Nothing;
        };
        let own = living.at.generation();
        if let News::Failed { reason } = said.news {
            return self.fail(reason, assigned);
        }
        if said.generation > own {
            return Heard::Nonsense(format!(
                "the trainer of device {} broke the protocol: it spoke of generation {}, which it was never started in",
                self.device, said.generation
            ));
        }
        if said.generation < own {
            let is_known = matches!(living.at, At::Over { .. }) || said.news == News::Warm;
            return if is_known {
                Heard::Nothing
            } else {
                Heard::News(said)
            };
        }
        match (&living.at, &said.news) {
            (At::Preparing, News::Warm) => living.at = At::Warm { last: own },
            (At::In(_), News::Held { .. } | News::Warm) => living.at = At::Holding { generation: own },
            (At::In(_), News::Stopped { .. } | News::Finished { .. }) => {
                living.at = At::Over { generation: own };
            }
            (At::In(_), _) => {}
            // Written in the background, and still on its way when the group was left.
            (At::Holding { .. } | At::Warm { .. }, News::Checkpointed(_) | News::CheckpointFailed { .. }) => {
            }
            _ => return Heard::Nothing,
        }
        if matches!(said.news, News::Stepped(_)) {
            self.restarts.reset();
        }
        if own > Generation(0) && self.log.generation() == own {
            self.log.push(said.news.clone());
        }
        Heard::News(said)
    }

    /// The living process cannot go on, and why; nothing if it had said its last word.
    pub(crate) fn fail(&mut self, reason: String, assigned: Generation) -> Heard {
        let Process::Living(living) = &mut self.process else {
            return Heard::Nothing;
        };
        let generation = match &living.at {
            At::Over { .. } => return Heard::Nothing,
            At::In(group) => group.generation,
            At::Preparing | At::Warm { .. } | At::Holding { .. } => assigned,
        };
        living.at = At::Over { generation };
        self.failed(reason, generation)
    }

    fn failed(&mut self, reason: String, generation: Generation) -> Heard {
        self.restarts.count();
        let news = News::Failed { reason };
        // The failure of one that stood by is not kept: repeated, it would count twice.
        if self.log.generation() == generation && generation > Generation(0) {
            self.log.push(news.clone());
        }
        Heard::News(Said { generation, news })
    }

    /// The trainer closed its link: it has [`GRACE`] to be gone.
    pub(crate) fn link_closed(&mut self, now: Timestamp) {
        if let Process::Living(living) = &mut self.process {
            living.kill_at = Some(now.after(GRACE));
        }
    }

    /// Asks the living process to end.
    pub(crate) fn end(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if let Process::Living(living) = &self.process {
            let key = living.key;
            effects.push(Effect::End(key));
            self.process = Process::Ending {
                key,
                generation: living.at.generation(),
                kill_at: Some(now.after(GRACE)),
                why: Why::Asked,
            };
        }
    }

    /// The process is gone, and how. What that comes to.
    pub(crate) fn vacate(&mut self, now: Timestamp, how: String, assigned: Generation) -> Heard {
        let heard = match &self.process {
            Process::Ending {
                generation,
                why: Why::Hung { within },
                ..
            } => {
                let (device, generation) = (self.device, *generation);
                let reason = format!(
                    "the trainer of device {device} did not answer within {} and was killed",
                    super::notice::span(*within)
                );
                self.failed(reason, generation)
            }
            Process::Living(_) => self.fail(how, assigned),
            Process::Absent { .. } | Process::Delayed { .. } | Process::Ending { .. } => Heard::Nothing,
        };
        let may_start = now.after(self.restarts.delay());
        self.process = Process::Absent { may_start };
        heard
    }

    /// When something is due here, if it is.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        self.process.deadline()
    }

    /// Kills a process whose time is up.
    pub(crate) fn tick(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        self.process.tick(now, self.device, effects);
    }
}

/// What a process says that stands by.
pub(crate) const WARM: Said = Said {
    generation: Generation(0),
    news: News::Warm,
};
