//! The trainers' side of the supervisor: bringing the seats in line, and handing on what their trainers say.

use m2t_common::machine_link::{FromMachine, Welcome};
use m2t_common::report::News;
use m2t_common::trainer_link::Said;
use m2t_common::{DeviceIndex, Timestamp};

use super::seat::{Heard, Seat, WARM};
use super::{Course, Effect, Link, Manner, Notice, Place, Supervisor, TrainerEvent, TrainerKey};

impl Supervisor {
    /// Brings every seat in line with the assignment and the course; a daemon that is ending exits once all are empty.
    pub(super) fn reconcile(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let devices: Vec<DeviceIndex> = self.seats.keys().copied().collect();
        for device in devices {
            let order = self.order(device);
            let said = self
                .seats
                .get_mut(&device)
                .and_then(|seat| seat.reconcile(now, order, effects));
            if let Some(said) = said {
                self.report(now, device, said, effects);
            }
        }
        if let Course::Ending(ending) = &self.course
            && self.seats.values().all(|seat| seat.key().is_none())
        {
            effects.push(Effect::Exit(ending.clone()));
        }
    }

    pub(super) fn trainer(
        &mut self,
        now: Timestamp,
        key: TrainerKey,
        event: TrainerEvent,
        effects: &mut Vec<Effect>,
    ) {
        let assigned = self.assignment.generation;
        let Some(seat) = self.seat_of(key) else {
            return;
        };
        let heard = match event {
            TrainerEvent::LinkClosed => return seat.link_closed(now),
            TrainerEvent::Said(said) => seat.hear(said, assigned),
            TrainerEvent::SpokeNonsense { reason } => Heard::Nonsense(reason),
            TrainerEvent::Exited { how, manner } => {
                self.tell_of_a_cause(key, &how, manner, effects);
                // Says nothing new where the trainer had said its last word or was asked to end.
                self.seat_of(key)
                    .map_or(Heard::Nothing, |seat| seat.vacate(now, how, assigned))
            }
        };
        match heard {
            Heard::Nothing => {}
            Heard::News(said) => self.report(now, key.device, said, effects),
            Heard::Nonsense(reason) => self.part_with(now, key, reason, effects),
        }
        self.reconcile(now, effects);
    }

    /// A trainer that cannot be understood has failed, and is ended.
    fn part_with(&mut self, now: Timestamp, key: TrainerKey, reason: String, effects: &mut Vec<Effect>) {
        let assigned = self.assignment.generation;
        let Some(Heard::News(said)) = self.seat_of(key).map(|seat| seat.fail(reason, assigned)) else {
            return;
        };
        self.report(now, key.device, said, effects);
        if let Some(seat) = self.seat_of(key) {
            seat.end(now, effects);
        }
    }

    /// A peer that lost the trainer may have been heard first, and this one been asked to end when it was gone already. People
    /// want the cause: an end that is not what being asked looks like is told all the same.
    fn tell_of_a_cause(&mut self, key: TrainerKey, how: &str, manner: Manner, effects: &mut Vec<Effect>) {
        let generation = self.assignment.generation;
        let Some(seat) = self.seat_of(key) else {
            return;
        };
        let by_itself = match manner {
            Manner::Plain => false,
            Manner::Killed => !seat.was_killed(),
            Manner::Abnormal => true,
        };
        if by_itself && seat.is_ending() {
            let reason = how.to_owned();
            effects.push(Effect::Notify(Notice::TrainerFailed { generation, reason }));
        }
    }

    /// The seat on which the process `key` sits; none if it is a matter of the past.
    fn seat_of(&mut self, key: TrainerKey) -> Option<&mut Seat> {
        self.seats
            .get_mut(&key.device)
            .filter(|seat| seat.key() == Some(key))
    }

    /// Hands news on if the coordinator listens, and tells people of what they may want to know.
    fn report(&mut self, now: Timestamp, device: DeviceIndex, said: Said, effects: &mut Vec<Effect>) {
        let Said { generation, news } = said;
        match &news {
            News::Failed { reason } => effects.push(Effect::Notify(Notice::TrainerFailed {
                generation,
                reason: reason.clone(),
            })),
            News::Held { step, broken } => effects.push(Effect::Notify(Notice::Held {
                device,
                generation,
                step: *step,
                broken: broken.clone(),
            })),
            _ => {}
        }
        if self.link == Link::Admitted {
            let message = FromMachine::Device {
                generation,
                device,
                news,
            };
            self.send(now, message, effects);
        }
    }

    /// Says again all that is kept of the current generation, and who stands by.
    pub(super) fn repeat_news(&self, effects: &mut Vec<Effect>) {
        let assigned = self.assignment.generation;
        for (&device, seat) in &self.seats {
            let kept = seat.log().iter().filter(|_| seat.log().generation() == assigned);
            let kept = kept.cloned().map(|news| Said {
                generation: assigned,
                news,
            });
            for Said { generation, news } in kept.chain(seat.is_warm().then_some(WARM)) {
                effects.push(Effect::Send(FromMachine::Device {
                    generation,
                    device,
                    news,
                }));
            }
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
