//! A device's process: where it is in its life, and when its patience with it ends. The moves are made by `seat`.

use std::time::Duration;

use m2t_common::machine_link::Boundary;
use m2t_common::report::Rendezvous;
use m2t_common::trainer_link::ToTrainer;
use m2t_common::{DeviceIndex, Generation, Timestamp};

use super::{Effect, Notice, TrainerKey};

/// The process on a seat.
#[derive(Debug)]
pub(super) enum Process {
    /// None.
    Absent {
        /// Before then none is started to stand by: the last ones failed.
        may_start: Timestamp,
    },
    /// None, and one is started then.
    Delayed { until: Timestamp },
    /// One that lives.
    Living(Living),
    /// One that is on its way out.
    Ending {
        key: TrainerKey,
        /// The newest it was in.
        generation: Generation,
        /// None once the kill is sent.
        kill_at: Option<Timestamp>,
        why: Why,
    },
}

/// Why a process is on its way out.
#[derive(Debug)]
pub(super) enum Why {
    /// It is not wanted any more.
    Asked,
    /// It did not answer.
    Hung { within: Duration },
}

/// A process that lives.
#[derive(Debug)]
pub(super) struct Living {
    pub(super) key: TrainerKey,
    pub(super) at: At,
    /// Set when it closed its link: it must be gone by then.
    pub(super) kill_at: Option<Timestamp>,
}

/// Where a living process is.
#[derive(Debug)]
pub(super) enum At {
    /// It was told to make ready.
    Preparing,
    /// It waits for a group; its machine's generation is newer than the last it was in.
    Warm { last: Generation },
    /// It is in a group.
    In(In),
    /// It left its group and waits for the next.
    Holding { generation: Generation },
    /// It said its last word and ends by itself.
    Over { generation: Generation },
}

/// A process's part in a generation: what it heard beyond its start. It only grows, so a repeated or late assignment takes
/// nothing back.
#[derive(Debug)]
pub(super) struct In {
    pub(super) generation: Generation,
    has_joined: bool,
    boundary: Boundary,
    hold: Option<Asked>,
}

/// A question that must be answered.
#[derive(Debug)]
struct Asked {
    until: Timestamp,
    within: Duration,
}

impl Default for Process {
    fn default() -> Self {
        Self::Absent {
            may_start: Timestamp(0),
        }
    }
}

impl Process {
    pub(super) fn key(&self) -> Option<TrainerKey> {
        match self {
            Self::Absent { .. } | Self::Delayed { .. } => None,
            Self::Living(living) => Some(living.key),
            Self::Ending { key, .. } => Some(*key),
        }
    }

    pub(super) fn at(&self) -> Option<&At> {
        match self {
            Self::Living(living) => Some(&living.at),
            Self::Absent { .. } | Self::Delayed { .. } | Self::Ending { .. } => None,
        }
    }

    /// No process is to be started in a while.
    pub(super) fn wait_no_more(&mut self) {
        if let Self::Delayed { until } = *self {
            *self = Self::Absent { may_start: until };
        }
    }

    pub(super) fn deadline(&self) -> Option<Timestamp> {
        match self {
            Self::Absent { .. } => None,
            Self::Delayed { until } => Some(*until),
            Self::Living(living) => living.kill_at.into_iter().chain(living.answer_by()).min(),
            Self::Ending { kill_at, .. } => *kill_at,
        }
    }

    /// Kills a process whose time is up.
    pub(super) fn tick(&mut self, now: Timestamp, device: DeviceIndex, effects: &mut Vec<Effect>) {
        let mut kill = |key, generation, within| {
            effects.push(Effect::Notify(Notice::Killed {
                device,
                generation,
                within,
            }));
            effects.push(Effect::Kill(key));
        };
        match self {
            Self::Living(living) => {
                let (key, generation) = (living.key, living.at.generation());
                if let Some(within) = living.unanswered(now) {
                    kill(key, generation, Some(within));
                    *self = Self::Ending {
                        key,
                        generation,
                        kill_at: None,
                        why: Why::Hung { within },
                    };
                } else if living.kill_at.is_some_and(|at| at <= now) {
                    kill(key, generation, None);
                    living.kill_at = None;
                }
            }
            Self::Ending {
                key,
                generation,
                kill_at,
                ..
            } if kill_at.is_some_and(|at| at <= now) => {
                kill(*key, *generation, None);
                *kill_at = None;
            }
            Self::Absent { .. } | Self::Delayed { .. } | Self::Ending { .. } => {}
        }
    }
}

impl Living {
    pub(super) fn new(key: TrainerKey, at: At) -> Self {
        Self {
            key,
            at,
            kill_at: None,
        }
    }

    fn asked(&self) -> Option<&Asked> {
        match &self.at {
            At::In(group) => group.hold.as_ref(),
            At::Preparing | At::Warm { .. } | At::Holding { .. } | At::Over { .. } => None,
        }
    }

    fn answer_by(&self) -> Option<Timestamp> {
        self.asked().map(|asked| asked.until)
    }

    /// The time it had to answer, if that is over.
    fn unanswered(&self, now: Timestamp) -> Option<Duration> {
        self.asked()
            .filter(|asked| asked.until <= now)
            .map(|asked| asked.within)
    }
}

impl At {
    /// The newest generation it was in; 0 before the first.
    pub(super) fn generation(&self) -> Generation {
        match self {
            Self::Preparing => Generation(0),
            Self::Warm { last } => *last,
            Self::In(group) => group.generation,
            Self::Holding { generation } | Self::Over { generation } => *generation,
        }
    }
}

impl In {
    pub(super) fn new(generation: Generation) -> Self {
        Self {
            generation,
            has_joined: false,
            boundary: Boundary::GoOn,
            hold: None,
        }
    }

    /// Says what it has not heard yet. One that was told to hold needs no more.
    pub(super) fn catch_up(
        &mut self,
        key: TrainerKey,
        rendezvous: Option<Rendezvous>,
        boundary: Boundary,
        effects: &mut Vec<Effect>,
    ) {
        let generation = self.generation;
        if self.hold.is_some() {
            return;
        }
        if let Some(rendezvous) = rendezvous
            && !self.has_joined
        {
            self.has_joined = true;
            effects.push(Effect::Tell(
                key,
                ToTrainer::Join {
                    generation,
                    rendezvous,
                },
            ));
        }
        if boundary > self.boundary {
            self.boundary = boundary;
            effects.push(Effect::Tell(key, ToTrainer::Boundary { generation, boundary }));
        }
    }

    /// Tells it once to leave the group. Said again, only a shorter time counts.
    pub(super) fn hold(
        &mut self,
        key: TrainerKey,
        until: Timestamp,
        within: Duration,
        effects: &mut Vec<Effect>,
    ) {
        match &mut self.hold {
            Some(asked) if until < asked.until => *asked = Asked { until, within },
            Some(_) => {}
            None => {
                self.hold = Some(Asked { until, within });
                let generation = self.generation;
                effects.push(Effect::Tell(key, ToTrainer::Hold { generation }));
            }
        }
    }
}
