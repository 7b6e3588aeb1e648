//! Messages come in, machines introduce themselves.
//!
//! A machine has one living daemon. Another daemon process of the same name is let in only once the first one's stream
//! is gone; then the first one's trainers are gone too.

use std::collections::BTreeMap;

use m2t_common::machine_link::{FromMachine, Hello, ToMachine, Welcome};
use m2t_common::{DeviceId, MachineName};

use crate::assignments::say_last;
use crate::input::StreamId;
use crate::machine::{Link, Machine, Standing};
use crate::{Core, Effect, LostBy, Notice, Refusal};

impl Core {
    /// A message on a stream. On a stream of nobody only a Hello means anything; late ones of lost machines are dropped.
    pub(crate) fn message(&mut self, stream: StreamId, message: FromMachine, effects: &mut Vec<Effect>) {
        if let FromMachine::Hello(hello) = message {
            return self.hello(stream, hello, effects);
        }
        let Some(name) = self.streams.get(&stream).cloned() else {
            return effects.push(Effect::Close { stream });
        };
        if let Some(machine) = self.machines.get_mut(&name) {
            machine.heard = self.now;
        }
        match message {
            FromMachine::Hello(_) => {}
            FromMachine::Ready(facts) => self.ready(&name, facts, effects),
            FromMachine::OtherData { facts, difference } => {
                self.other_data(&name, facts, difference, effects);
            }
            FromMachine::Unable { reason } => self.unable(&name, reason, effects),
            FromMachine::Heartbeat => self.assign(&name, effects),
            FromMachine::Device {
                generation,
                device,
                news,
            } => {
                let device = DeviceId {
                    machine: name,
                    index: device,
                };
                self.news(&device, generation, news, effects);
            }
            FromMachine::Leaving => self.leaving(&name, effects),
        }
    }

    fn hello(&mut self, stream: StreamId, hello: Hello, effects: &mut Vec<Effect>) {
        if let Some(outcome) = self.phase.outcome() {
            return say_last(stream, ToMachine::Dismiss(outcome), effects);
        }
        let name = hello.machine.clone();
        if let Err(refusal) = self.admit(stream, &hello) {
            let reason = refusal.to_string();
            self.note(
                Notice::Refused {
                    machine: name,
                    refusal,
                },
                effects,
            );
            return say_last(stream, ToMachine::Refuse { reason }, effects);
        }
        let trainers = hello.trainers.clone();
        let known = self.machines.get(&name).map(|machine| machine.hello.instance);
        if known == Some(hello.instance) {
            self.reattach(stream, &name, effects);
        } else {
            if known.is_some() {
                self.lose(&name, LostBy::Restart, effects);
            }
            self.attach(stream, hello, effects);
        }
        self.welcome(&name, effects);
        self.recognise(&name, &trainers, effects);
        self.assign(&name, effects);
    }

    /// Whether a machine may take part, as far as its Hello tells.
    fn admit(&self, stream: StreamId, hello: &Hello) -> Result<(), Refusal> {
        let name = &hello.machine;
        if hello.version != self.settings.version {
            return Err(Refusal::OtherVersion {
                theirs: hello.version.clone(),
                ours: self.settings.version.clone(),
            });
        }
        if hello.devices.is_empty() {
            return Err(Refusal::NoDevices { name: name.clone() });
        }
        let mut indices: Vec<_> = hello.devices.iter().map(|device| device.index).collect();
        indices.sort_unstable();
        indices.dedup();
        if indices.len() < hello.devices.len() {
            return Err(Refusal::TwinDevices { name: name.clone() });
        }
        if let Some(owner) = self.streams.get(&stream).filter(|owner| *owner != name) {
            return Err(Refusal::StreamTaken { name: owner.clone() });
        }
        let living =
            |machine: &&Machine| machine.stream().is_some() && machine.hello.instance != hello.instance;
        if self.machines.get(name).filter(living).is_some() {
            return Err(Refusal::NameTaken { name: name.clone() });
        }
        Ok(())
    }

    fn attach(&mut self, stream: StreamId, hello: Hello, effects: &mut Vec<Effect>) {
        let (machine, n_devices) = (hello.machine.clone(), hello.devices.len());
        self.streams.insert(stream, machine.clone());
        self.machines.insert(
            machine.clone(),
            Machine {
                hello,
                link: Link::Up(stream),
                standing: Standing::Checking,
                heard: self.now,
                told_data: false,
                idle: BTreeMap::new(),
            },
        );
        self.note(Notice::Attached { machine, n_devices }, effects);
    }

    /// The same daemon on a new stream, or the same Hello again.
    fn reattach(&mut self, stream: StreamId, name: &MachineName, effects: &mut Vec<Effect>) {
        let Some(machine) = self.machines.get_mut(name) else {
            return;
        };
        machine.heard = self.now;
        let before = std::mem::replace(&mut machine.link, Link::Up(stream));
        self.streams.insert(stream, name.clone());
        match before {
            Link::Up(old) if old == stream => {}
            Link::Up(old) => {
                self.streams.remove(&old);
                effects.push(Effect::Close { stream: old });
            }
            Link::Down { .. } => self.note(
                Notice::Reconnected {
                    machine: name.clone(),
                },
                effects,
            ),
        }
    }

    /// Tells a machine what to look at; it answers by what it found.
    pub(crate) fn welcome(&mut self, name: &MachineName, effects: &mut Vec<Effect>) {
        let welcome = Welcome {
            recipe: self.settings.recipe.clone(),
            data: self.settings.data.clone(),
            output: self.settings.output.clone(),
            bound: self.history.data.clone(),
            probe: self.settings.probe.clone(),
            heartbeat_timeout: self.settings.heartbeat_timeout(),
        };
        let Some(machine) = self.machines.get_mut(name) else {
            return;
        };
        machine.told_data = welcome.bound.is_some();
        if let Some(stream) = machine.stream() {
            let message = ToMachine::Welcome(Box::new(welcome));
            effects.push(Effect::Send { stream, message });
        }
    }
}
