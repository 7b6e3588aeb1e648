//! The supervisor: a pure state machine that decides what a machine's daemon does. It does no I/O and reads no clock.
//!
//! Its driver calls [`Supervisor::handle`] with each [`Input`] and carries out the [`Effect`]s in order. Time enters
//! with each input and never runs backwards; [`Supervisor::next_deadline`] says when an [`Input::Tick`] is due at the
//! latest (an early or repeated tick does nothing). After [`Effect::Exit`] nothing more is to be handled.
//!
//! ```text
//!  link      Down ── Connected/Hello ──► Greeted ── answer to Welcome ──► Admitted (news flow, kept ones are repeated)
//!              ▲───────────────────────── Disconnected ─────────────────────┘
//!  standing  Stranger ── Welcome ──► Surveying ── Surveyed ──► Surveyed (fit or not)
//!  course    Staying ── StopRequested ──► Leaving ── Dismiss, deadline ──► Ending ── all trainers gone ──► Exit
//!               └──────────── Dismiss, Refuse ─────────────────────────────►┘
//!  a device  see `seat`
//! ```
//!
//! Why level-triggered: the supervisor keeps the newest whole assignment and brings its seats in line with it after
//! every input that matters. It never acts on a difference between two messages, so a lost, late or repeated one does
//! no harm. A lost connection changes nothing for the trainers: they go on.

mod contract;
mod course;
mod news_log;
mod notice;
mod order;
mod process;
mod restarts;
mod seat;
mod trainers;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use m2t_common::machine_link::{Assignment, FromMachine, Hello, ToMachine, Welcome, Work};
use m2t_common::{DeviceIndex, Generation, Timestamp};

pub use contract::{Effect, Found, Identity, Input, Manner, Place, TrainerEvent, TrainerKey};
pub use notice::Notice;
use seat::Seat;

use crate::ending::Ending;

/// The state machine. See the module for its contract.
#[derive(Debug)]
pub struct Supervisor {
    identity: Identity,
    /// The address this machine last reached the coordinator from.
    address: IpAddr,
    link: Link,
    standing: Standing,
    course: Course,
    /// The newest assignment; its generation is the newest seen.
    assignment: Assignment,
    seats: BTreeMap<DeviceIndex, Seat>,
    last_sent: Timestamp,
    /// When the coordinator was last known to be there.
    last_heard: Timestamp,
}

#[derive(Debug, PartialEq, Eq)]
enum Link {
    Down,
    Greeted,
    Admitted,
}

#[derive(Debug)]
enum Standing {
    Stranger,
    Surveying(Box<Welcome>),
    Surveyed {
        welcome: Box<Welcome>,
        found: Result<Found, String>,
    },
}

#[derive(Debug)]
enum Course {
    Staying,
    Leaving { until: Timestamp },
    Ending(Ending),
}

impl Supervisor {
    /// A supervisor for the machine `identity`, not connected to anything.
    pub fn new(identity: Identity) -> Self {
        let seats = identity
            .devices
            .iter()
            .map(|device| (device.index, Seat::new(device.index)))
            .collect();
        Self {
            identity,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            link: Link::Down,
            standing: Standing::Stranger,
            course: Course::Staying,
            assignment: Assignment {
                generation: Generation(0),
                work: Work::Idle,
            },
            seats,
            last_sent: Timestamp(0),
            last_heard: Timestamp(0),
        }
    }

    /// Takes `input` in and says what is to be done. Never fails.
    pub fn handle(&mut self, now: Timestamp, input: Input, effects: &mut Vec<Effect>) {
        if matches!(input, Input::Message(_)) {
            self.last_heard = now;
        }
        match input {
            Input::Connected { address } => self.connected(now, address, effects),
            Input::Disconnected => self.disconnected(now),
            Input::Message(ToMachine::Welcome(welcome)) => self.welcomed(now, welcome, effects),
            Input::Message(ToMachine::Assign(assignment)) => self.assigned(now, assignment, effects),
            Input::Message(ToMachine::Refuse { reason }) => {
                self.end(now, Ending::Refused { reason }, effects);
            }
            Input::Message(ToMachine::Dismiss(outcome)) => self.end(now, outcome.into(), effects),
            Input::Surveyed(place, found) => self.surveyed(now, &place, found, effects),
            Input::Trainer(key, event) => self.trainer(now, key, event, effects),
            Input::StopRequested => self.stop_requested(now, effects),
            Input::Tick => self.tick(now, effects),
        }
    }

    /// When a tick is due at the latest.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let seats = self.seats.values().filter_map(Seat::deadline);
        let leave = match self.course {
            Course::Leaving { until } => Some(until),
            Course::Staying | Course::Ending(_) => None,
        };
        let others = [leave, self.heartbeat_due(), self.finished_unheard_at()];
        seats.chain(others.into_iter().flatten()).min()
    }

    fn connected(&mut self, now: Timestamp, address: IpAddr, effects: &mut Vec<Effect>) {
        self.address = address;
        self.link = Link::Greeted;
        let Identity {
            machine,
            version,
            instance,
            devices,
            ..
        } = self.identity.clone();
        let lived_in = |(&device, seat): (&DeviceIndex, &Seat)| Some((device, seat.lived_in()?));
        let trainers = self.seats.iter().filter_map(lived_in).collect();
        let hello = Hello {
            machine,
            version,
            instance,
            devices,
            address,
            trainers,
        };
        self.send(now, FromMachine::Hello(hello), effects);
    }

    fn disconnected(&mut self, now: Timestamp) {
        if self.link == Link::Admitted {
            self.last_heard = now;
        }
        self.link = Link::Down;
    }

    fn welcomed(&mut self, now: Timestamp, welcome: Box<Welcome>, effects: &mut Vec<Effect>) {
        match &self.standing {
            Standing::Stranger => effects.push(Effect::Notify(Notice::Welcomed {
                experiment: welcome.recipe.name.clone(),
            })),
            Standing::Surveying(known) | Standing::Surveyed { welcome: known, .. } => {
                if !is_same_run(known, &welcome) {
                    self.forget_run(now, effects);
                }
            }
        }
        if self.link == Link::Admitted {
            self.link = Link::Greeted; // Whoever says welcome wants an answer.
        }
        let place = self.place(&welcome);
        self.standing = match std::mem::replace(&mut self.standing, Standing::Stranger) {
            Standing::Surveying(known) if self.place(&known) == place => Standing::Surveying(welcome),
            Standing::Surveyed {
                welcome: known,
                found: Ok(found),
            } if found.holds_for(&self.place(&known), &place) => Standing::Surveyed {
                welcome,
                found: Ok(found),
            },
            _ => {
                effects.push(Effect::Survey(place));
                Standing::Surveying(welcome)
            }
        };
        self.answer_welcome(now, effects);
    }

    fn surveyed(
        &mut self,
        now: Timestamp,
        place: &Place,
        found: Result<Found, String>,
        effects: &mut Vec<Effect>,
    ) {
        let Standing::Surveying(welcome) = &self.standing else {
            return;
        };
        if self.place(welcome) != *place {
            return;
        }
        effects.push(Effect::Notify(match &found {
            Ok(Found {
                difference: Some(difference),
                ..
            }) => Notice::OtherData {
                difference: difference.clone(),
            },
            Ok(found) => Notice::Fit {
                n_samples: found.facts.n_samples,
            },
            Err(reason) => Notice::Unfit {
                reason: reason.clone(),
            },
        }));
        self.standing = Standing::Surveyed {
            welcome: welcome.clone(),
            found,
        };
        self.answer_welcome(now, effects);
    }

    /// Says what the survey found, once it is done; then whatever the coordinator may have missed.
    fn answer_welcome(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let (Link::Greeted, Standing::Surveyed { found, .. }) = (&self.link, &self.standing) else {
            return;
        };
        match found.clone() {
            Ok(Found {
                facts,
                difference: Some(difference),
            }) => self.send(now, FromMachine::OtherData { facts, difference }, effects),
            Ok(found) => self.send(now, FromMachine::Ready(found.facts), effects),
            Err(reason) => self.send(now, FromMachine::Unable { reason }, effects),
        }
        self.link = Link::Admitted;
        self.repeat_news(effects);
        if matches!(self.course, Course::Leaving { .. }) {
            self.ask_to_leave(now, effects);
        }
    }

    fn assigned(&mut self, now: Timestamp, assignment: Assignment, effects: &mut Vec<Effect>) {
        if matches!(self.standing, Standing::Stranger) {
            return effects.push(Effect::Notify(Notice::NotWelcomed));
        }
        let (offered, seen) = (assignment.generation, self.assignment.generation);
        if offered < seen {
            return effects.push(Effect::Notify(Notice::OldGeneration { offered, seen }));
        }
        let before = std::mem::replace(&mut self.assignment, assignment);
        effects.extend(self.notice_of_work(&before).map(Effect::Notify));
        self.reconcile(now, effects);
    }

    /// What is to be said of an assignment that is not as the one before it.
    fn notice_of_work(&self, before: &Assignment) -> Option<Notice> {
        let Assignment { generation, work } = &self.assignment;
        let generation = *generation;
        let is_newer = generation > before.generation;
        match (work, &before.work) {
            (Work::Train(group), _) if is_newer => {
                let here = group.placement.of_machine(&self.identity.machine);
                let devices = here.map(|placed| placed.device.index).collect();
                Some(Notice::Generation { generation, devices })
            }
            (Work::StandBy, Work::StandBy) if !is_newer => None,
            (Work::StandBy, _) => Some(Notice::StandingBy { generation }),
            (Work::Hold { .. }, Work::Hold { .. }) if !is_newer => None,
            (Work::Hold { .. }, _) => Some(Notice::Holding { generation }),
            (Work::Train(_) | Work::Idle, _) => None,
        }
    }
}

impl Found {
    /// Whether what was found at `before` needs no second look for `now`: the same folders, and data that the run, if it
    /// was bound meanwhile, is bound to.
    fn holds_for(&self, before: &Place, now: &Place) -> bool {
        let is_ours = now.bound.as_ref().is_none_or(|bound| *bound == self.facts);
        let bound = before.bound.clone();
        let same_folders = *before == Place { bound, ..now.clone() };
        self.difference.is_none() && is_ours && same_folders
    }
}

impl Standing {
    /// The newest welcome.
    fn welcome(&self) -> Option<&Welcome> {
        match self {
            Self::Stranger => None,
            Self::Surveying(welcome) | Self::Surveyed { welcome, .. } => Some(welcome),
        }
    }
}

/// Whether two welcomes are of one run: the same mathematics into the same folder.
fn is_same_run(one: &Welcome, other: &Welcome) -> bool {
    one.output == other.output && one.recipe.digest() == other.recipe.digest()
}

#[cfg(test)]
mod tests;
