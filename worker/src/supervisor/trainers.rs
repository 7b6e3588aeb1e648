//! The trainers' side of the supervisor: bringing the seats in line, and handing on what their trainers say.

use m2t_common::machine_link::{FromMachine, Welcome, Work};
use m2t_common::report::News;
use m2t_common::trainer_link::Start;
use m2t_common::{DeviceId, DeviceIndex, Timestamp};

use super::seat::{Order, Seat};
use super::{Course, Effect, Link, Manner, Notice, Place, Supervisor, TrainerEvent, TrainerKey};

impl Supervisor {
    /// Brings every seat in line with the assignment and the course; a daemon that is ending exits once all are empty.
    pub(super) fn reconcile(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let devices: Vec<DeviceIndex> = self.seats.keys().copied().collect();
        for device in devices {
            let order = self.order(device);
            if let Some(seat) = self.seats.get_mut(&device) {
                seat.reconcile(now, order, effects);
            }
        }
        if let Course::Ending(ending) = &self.course
            && self.seats.values().all(|seat| seat.key().is_none())
        {
            effects.push(Effect::Exit(ending.clone()));
        }
    }

    /// What `device` is to do; none: nothing.
    pub(super) fn order(&self, device: DeviceIndex) -> Option<Order> {
        let welcome = self.standing.welcome()?;
        let (Work::Train(group), Course::Staying | Course::Leaving { .. }) =
            (&self.assignment.work, &self.course)
        else {
            return None;
        };
        let device = DeviceId {
            machine: self.identity.machine.clone(),
            index: device,
        };
        group.placement.index_of(&device)?;
        let start = Start {
            generation: self.assignment.generation,
            device,
            placement: group.placement.clone(),
            recipe: welcome.recipe.clone(),
            data: self.place(welcome).data,
            n_samples: group.n_samples,
            output: welcome.output.clone(),
            start_from: group.start_from.clone(),
            address: self.address,
        };
        Some(Order {
            start,
            rendezvous: group.rendezvous.clone(),
            drain: group.drain,
        })
    }

    pub(super) fn trainer(
        &mut self,
        now: Timestamp,
        key: TrainerKey,
        event: TrainerEvent,
        effects: &mut Vec<Effect>,
    ) {
        let Some(seat) = self.seat_of(key) else {
            return;
        };
        match event {
            TrainerEvent::Said(news) => self.report(now, key, news, effects),
            TrainerEvent::LinkClosed => seat.link_closed(now),
            TrainerEvent::SpokeNonsense { reason } => {
                self.report(now, key, News::Failed { reason }, effects);
                if let Some(seat) = self.seat_of(key) {
                    seat.end(now, effects);
                }
            }
            TrainerEvent::Exited { how, manner } => {
                self.tell_of_a_cause(key, &how, manner, effects);
                // Does not count where the trainer had said its last word or was asked to end.
                self.report(now, key, News::Failed { reason: how }, effects);
                if let Some(seat) = self.seat_of(key) {
                    seat.vacate();
                }
                self.reconcile(now, effects);
            }
        }
    }

    /// A peer that lost the trainer may have been heard first, and this one been asked to end when it was gone already. People
    /// want the cause: an end that is not what being asked looks like is told all the same.
    fn tell_of_a_cause(&mut self, key: TrainerKey, how: &str, manner: Manner, effects: &mut Vec<Effect>) {
        let Some(seat) = self.seat_of(key) else {
            return;
        };
        let by_itself = match manner {
            Manner::Plain => false,
            Manner::Killed => !seat.was_killed(),
            Manner::Abnormal => true,
        };
        if by_itself && !seat.is_running() {
            let reason = how.to_owned();
            effects.push(Effect::Notify(Notice::TrainerFailed { key, reason }));
        }
    }

    /// The seat on which the process `key` sits; none if it is a matter of the past.
    fn seat_of(&mut self, key: TrainerKey) -> Option<&mut Seat> {
        self.seats
            .get_mut(&key.device)
            .filter(|seat| seat.key() == Some(key))
    }

    /// Keeps the news if it counts, and hands it on if the coordinator listens.
    fn report(&mut self, now: Timestamp, key: TrainerKey, news: News, effects: &mut Vec<Effect>) {
        let Some(news) = self.seat_of(key).and_then(|seat| seat.hear(news)) else {
            return;
        };
        if let News::Failed { reason } = &news {
            effects.push(Effect::Notify(Notice::TrainerFailed {
                key,
                reason: reason.clone(),
            }));
        }
        if self.link == Link::Admitted {
            let TrainerKey { generation, device } = key;
            self.send(
                now,
                FromMachine::Device {
                    generation,
                    device,
                    news,
                },
                effects,
            );
        }
    }

    /// Says again all that is kept of the current generation.
    pub(super) fn repeat_news(&self, effects: &mut Vec<Effect>) {
        let generation = self.assignment.generation;
        let current = |(_, seat): &(&DeviceIndex, &Seat)| seat.log().generation() == generation;
        for (&device, seat) in self.seats.iter().filter(current) {
            let said = seat.log().iter().cloned();
            let messages = said.map(|news| FromMachine::Device {
                generation,
                device,
                news,
            });
            effects.extend(messages.map(Effect::Send));
        }
    }

    /// The folders this machine must see for the run of `welcome`.
    pub(super) fn place(&self, welcome: &Welcome) -> Place {
        Place {
            data: self.identity.data.clone().unwrap_or_else(|| welcome.data.clone()),
            output: welcome.output.clone(),
            probe: welcome.probe.clone(),
            bound: welcome.bound.clone(),
        }
    }
}
