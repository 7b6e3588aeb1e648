//! Machines come, say what they can do, and go.
//!
//! A machine has one living daemon. A stream that ends is waited for until the heartbeat timeout, because the trainers
//! go on without it; another daemon process of the same name is let in only once the first one's stream is gone, and
//! then the first one's trainers are gone too.

use m2t_common::machine_link::{
    Assignment, DataFacts, FromMachine, Hello, Outcome, ToMachine, Welcome, Work,
};
use m2t_common::{DeviceId, MachineName};

use crate::group::Drain;
use crate::input::StreamId;
use crate::machine::{Link, Machine, Standing};
use crate::phase::Phase;
use crate::{Core, DrainReason, Effect, EndCause, LostBy, Notice, Record, Refusal};

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
            FromMachine::Ready(facts) => self.ready(&name, &facts, effects),
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
        let known = self.machines.get(&name).map(|machine| machine.hello.instance);
        if known == Some(hello.instance) {
            self.reattach(stream, &name, effects);
        } else {
            if known.is_some() {
                self.lose(&name, LostBy::Restart, effects);
            }
            self.attach(stream, hello, effects);
        }
        let message = ToMachine::Welcome(Box::new(self.welcome()));
        effects.push(Effect::Send { stream, message });
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

    fn welcome(&self) -> Welcome {
        Welcome {
            recipe: self.settings.recipe.clone(),
            data: self.settings.data.clone(),
            output: self.settings.output.clone(),
            probe: self.settings.probe.clone(),
            heartbeat_timeout: self.settings.heartbeat_timeout(),
        }
    }

    fn ready(&mut self, name: &MachineName, facts: &DataFacts, effects: &mut Vec<Effect>) {
        if let Err(refusal) = self.bind(facts, effects) {
            return self.refuse(name, refusal, effects);
        }
        let Some(machine) = self.machines.get_mut(name) else {
            return;
        };
        if matches!(machine.standing, Standing::Checking | Standing::Unable { .. }) {
            machine.standing = Standing::Ready;
            self.note(
                Notice::Ready {
                    machine: name.clone(),
                },
                effects,
            );
        }
        self.assign(name, effects);
    }

    /// The first data set binds the run; every other must be the same.
    fn bind(&mut self, facts: &DataFacts, effects: &mut Vec<Effect>) -> Result<(), Refusal> {
        let other_size = |ours: u64| Refusal::OtherSize {
            theirs: facts.n_samples,
            ours,
        };
        if let Some(ours) = &self.history.data {
            if ours.n_samples != facts.n_samples {
                return Err(other_size(ours.n_samples));
            }
            if ours.fingerprint != facts.fingerprint {
                return Err(Refusal::OtherFingerprint {
                    theirs: facts.fingerprint.clone(),
                    ours: ours.fingerprint.clone(),
                });
            }
            return Ok(());
        }
        if let Some(ours) = self.n_samples_on_disk.filter(|&n| n != facts.n_samples) {
            return Err(other_size(ours));
        }
        let plan = self.settings.recipe.plan(facts.n_samples);
        let plan = plan.map_err(|e| Refusal::Unsuitable {
            problem: e.to_string(),
        })?;
        let notice = Notice::DataBound {
            n_samples: facts.n_samples,
            steps_per_epoch: plan.shards.steps_per_epoch(),
            total_steps: plan.schedule.total_steps,
        };
        self.persist(Record::Data(facts.clone()), effects);
        self.plan = Some(plan);
        self.note(notice, effects);
        Ok(())
    }

    fn unable(&mut self, name: &MachineName, reason: String, effects: &mut Vec<Effect>) {
        let Some(machine) = self.machines.get_mut(name) else {
            return;
        };
        let standing = Standing::Unable {
            reason: reason.clone(),
        };
        if machine.standing == standing {
            return;
        }
        machine.standing = standing;
        let machine = name.clone();
        self.note(Notice::Unable { machine, reason }, effects);
        self.assign(name, effects);
    }

    fn leaving(&mut self, name: &MachineName, effects: &mut Vec<Effect>) {
        let Some(machine) = self.machines.get_mut(name) else {
            return;
        };
        if machine.standing == Standing::Leaving {
            return self.assign(name, effects);
        }
        machine.standing = Standing::Leaving;
        self.note(
            Notice::Leaving {
                machine: name.clone(),
            },
            effects,
        );
        let is_member = self.phase.group().is_some_and(|group| group.has_machine(name));
        match &self.phase {
            Phase::Training { .. } if is_member => self.begin_drain(DrainReason::Leaving, effects),
            Phase::Draining { .. } if is_member => self.assign(name, effects),
            Phase::Forming { .. } if is_member => {
                let machine = name.clone();
                self.end_generation(EndCause::MachineLeaves { machine }, effects);
            }
            _ => self.let_go(name, effects),
        }
    }

    /// Lets a machine that wants to leave go.
    pub(crate) fn let_go(&mut self, name: &MachineName, effects: &mut Vec<Effect>) {
        let Some(machine) = self.forget(name) else {
            return;
        };
        if let Some(stream) = machine.stream() {
            say_last(stream, ToMachine::Dismiss(Outcome::Stopped), effects);
        }
        self.note(
            Notice::Left {
                machine: name.clone(),
            },
            effects,
        );
    }

    fn refuse(&mut self, name: &MachineName, refusal: Refusal, effects: &mut Vec<Effect>) {
        let Some(machine) = self.forget(name) else {
            return;
        };
        let reason = refusal.to_string();
        let machine_name = name.clone();
        self.note(
            Notice::Refused {
                machine: machine_name,
                refusal,
            },
            effects,
        );
        if let Some(stream) = machine.stream() {
            say_last(stream, ToMachine::Refuse { reason }, effects);
        }
        if self.phase.group().is_some_and(|group| group.needs_machine(name)) {
            let machine = name.clone();
            self.end_generation(EndCause::MachineLeaves { machine }, effects);
        }
    }

    /// A stream ended. The machine may come back; its trainers go on meanwhile.
    pub(crate) fn stream_ended(&mut self, stream: StreamId, effects: &mut Vec<Effect>) {
        let Some(name) = self.streams.remove(&stream) else {
            return;
        };
        let until = self.now.after(self.settings.heartbeat_timeout());
        let Some(machine) = self.machines.get_mut(&name) else {
            return;
        };
        machine.link = Link::Down { until };
        self.note(Notice::Disconnected { machine: name }, effects);
    }

    /// A machine is gone; a generation that needs it ends.
    pub(crate) fn lose(&mut self, name: &MachineName, by: LostBy, effects: &mut Vec<Effect>) {
        let Some(machine) = self.forget(name) else {
            return;
        };
        if let Some(stream) = machine.stream() {
            effects.push(Effect::Close { stream });
        }
        self.note(
            Notice::Lost {
                machine: name.clone(),
                by,
            },
            effects,
        );
        if self.phase.group().is_some_and(|group| group.needs_machine(name)) {
            let machine = name.clone();
            self.end_generation(EndCause::MachineLost { machine, by }, effects);
        }
    }

    fn forget(&mut self, name: &MachineName) -> Option<Machine> {
        let machine = self.machines.remove(name)?;
        if let Some(stream) = machine.stream() {
            self.streams.remove(&stream);
        }
        Some(machine)
    }

    /// Tells a machine its whole current assignment.
    pub(crate) fn assign(&self, name: &MachineName, effects: &mut Vec<Effect>) {
        let Some(stream) = self.machines.get(name).and_then(Machine::stream) else {
            return;
        };
        let message = ToMachine::Assign(self.assignment_of(name));
        effects.push(Effect::Send { stream, message });
    }

    /// Tells every machine its whole current assignment.
    pub(crate) fn assign_all(&self, effects: &mut Vec<Effect>) {
        for name in self.machines.keys() {
            self.assign(name, effects);
        }
    }

    fn assignment_of(&self, name: &MachineName) -> Assignment {
        let drain = match &self.phase {
            Phase::Draining { why, .. } if *why != DrainReason::LastStep => Drain::Yes,
            _ => Drain::No,
        };
        let work = match self.phase.group() {
            Some(group) if group.has_machine(name) => Work::Train(group.to_wire(drain)),
            _ => Work::Idle,
        };
        Assignment {
            generation: self.history.generation,
            work,
        }
    }
}

/// A last message on a stream.
pub(crate) fn say_last(stream: StreamId, message: ToMachine, effects: &mut Vec<Effect>) {
    effects.push(Effect::Send { stream, message });
    effects.push(Effect::Close { stream });
}
