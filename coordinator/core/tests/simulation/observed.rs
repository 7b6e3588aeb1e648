//! What was seen so far, folded from inputs and effects by code of its own, so that the invariants do not take the core's
//! word for anything. It judges nothing: the invariants do.

use std::collections::{BTreeMap, BTreeSet};

use m2t_common::ledger::Account;
use m2t_common::machine_link::FromMachine;
use m2t_common::manifest::CheckpointName;
use m2t_common::report::News;
use m2t_common::shard::Shards;
use m2t_common::status::Status;
use m2t_common::{DeviceId, Generation, MachineName, Placement, Step, Timestamp};
use m2t_coordinator_core::{Effect, Input, Record, StreamId};

/// One thing the invariants look at.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event<'a> {
    /// The coordinator starts, for the first time or after a crash.
    Started,
    /// An input is about to be handled.
    Input(&'a Input),
    /// The core handled it; nothing is carried out yet.
    Handled(Handled<'a>),
    /// An effect is about to be carried out.
    Effect(&'a Effect),
    /// All effects of an input are carried out.
    Settled(Settled<'a>),
    /// Everything was healed and the run is over.
    Over(Over<'a>),
}

/// An input and what the core made of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handled<'a> {
    pub(crate) now: Timestamp,
    pub(crate) input: &'a Input,
    pub(crate) effects: &'a [Effect],
    /// The next deadline before the input.
    pub(crate) before: Option<Timestamp>,
    /// And after it.
    pub(crate) after: Option<Timestamp>,
}

/// The state after an input, and that of a core which folds the journal as it is now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settled<'a> {
    pub(crate) status: &'a Status,
    pub(crate) reloaded: &'a Status,
    /// The account of the journal, where the journal grew.
    pub(crate) account: Option<&'a Account>,
    /// Steps of the checkpoints on the disk.
    pub(crate) disk: &'a BTreeSet<u64>,
}

/// What is left of a run that is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Over<'a> {
    pub(crate) account: &'a Account,
    /// Steps of the checkpoints on the disk.
    pub(crate) disk: &'a BTreeSet<u64>,
}

/// What was seen so far.
#[derive(Debug)]
pub(crate) struct Observed {
    /// How positions follow from steps.
    pub(crate) shards: Shards,
    /// The last step of the run.
    pub(crate) last: Step,
    /// Every generation of the journal.
    pub(crate) placements: BTreeMap<Generation, Placement>,
    /// Checkpoints of the journal.
    pub(crate) checkpoints: BTreeSet<CheckpointName>,
    /// Checkpoints the shell found complete.
    pub(crate) verified: BTreeSet<CheckpointName>,
    /// Up to where steps count, by the journal.
    pub(crate) counted: Step,
    /// The last step of the metrics.
    pub(crate) metrics: Step,
    /// Whether the journal says that the run is paused.
    pub(crate) paused: bool,
    /// Machines the journal says are set aside.
    pub(crate) set_aside: BTreeSet<MachineName>,
    /// Streams that may be spoken on, and who is at their other end.
    pub(crate) streams: BTreeMap<StreamId, MachineName>,
    /// Members of the newest generation that said where they hold, as long as nothing tells that it is lost.
    pub(crate) survivors: BTreeMap<DeviceId, Step>,
    /// The same, but nothing is ever taken back.
    pub(crate) said: BTreeMap<DeviceId, Step>,
    /// Whether the journal says that nobody keeps the state of the newest generation.
    ended: bool,
}

impl Observed {
    pub(crate) fn new(shards: Shards, total: u64) -> Self {
        Self {
            shards,
            last: Step(total),
            placements: BTreeMap::new(),
            checkpoints: BTreeSet::new(),
            verified: BTreeSet::new(),
            counted: Step(0),
            metrics: Step(0),
            paused: false,
            set_aside: BTreeSet::new(),
            streams: BTreeMap::new(),
            survivors: BTreeMap::new(),
            said: BTreeMap::new(),
            ended: true,
        }
    }

    /// The newest generation of the journal.
    pub(crate) fn newest_generation(&self) -> Generation {
        self.placements.keys().next_back().copied().unwrap_or_default()
    }

    /// The step of the newest checkpoint of the journal.
    pub(crate) fn on_disk(&self) -> Step {
        self.checkpoints.last().map_or(Step(0), CheckpointName::step)
    }

    pub(crate) fn fold(&mut self, event: &Event<'_>) {
        match event {
            Event::Started => {
                self.streams.clear();
                self.survivors.clear();
                self.said.clear();
            }
            Event::Input(input) => self.fold_input(input),
            Event::Effect(effect) => self.fold_effect(effect),
            Event::Handled(_) | Event::Settled(_) | Event::Over(_) => {}
        }
    }

    fn fold_input(&mut self, input: &Input) {
        match input {
            Input::Started(disk) => {
                let found = disk.found.iter().map(|found| found.report.name.clone());
                self.verified.extend(found);
            }
            Input::CheckpointVerified(report) => {
                self.verified.insert(report.name.clone());
            }
            Input::StreamEnded { stream } => self.gone(*stream),
            Input::Message { stream, message } => match message {
                FromMachine::Hello(hello) => {
                    self.streams.insert(*stream, hello.machine.clone());
                }
                FromMachine::Device {
                    generation,
                    device,
                    news,
                } => {
                    if let Some(machine) = self.streams.get(stream).cloned() {
                        let index = *device;
                        self.fold_news(DeviceId { machine, index }, *generation, news);
                    }
                }
                _ => {}
            },
            Input::CheckpointBroken { .. } | Input::Stop | Input::Order { .. } | Input::Tick => {}
        }
    }

    fn fold_news(&mut self, device: DeviceId, generation: Generation, news: &News) {
        let is_newest = generation == self.newest_generation() && !self.ended;
        match news {
            News::Held { step, .. } if is_newest => {
                let placement = &self.placements[&generation];
                if placement.index_of(&device).is_some() {
                    self.survivors.insert(device.clone(), *step);
                    self.said.insert(device, *step);
                }
            }
            News::Warm | News::Failed { .. } | News::Stopped { .. } | News::Finished { .. } => {
                self.survivors.remove(&device);
            }
            _ => {}
        }
    }

    fn gone(&mut self, stream: StreamId) {
        self.streams.remove(&stream);
        let streams = &self.streams;
        self.survivors
            .retain(|device, _| streams.values().any(|machine| *machine == device.machine));
    }

    fn fold_effect(&mut self, effect: &Effect) {
        match effect {
            Effect::Persist(record) => self.fold_record(record),
            Effect::Close { stream } => self.gone(*stream),
            Effect::Metrics(step) => self.metrics = step.report.step,
            Effect::CutBack { after } => {
                self.metrics = self.metrics.min(*after);
                // From here on the new generation's words count.
                self.survivors.clear();
                self.said.clear();
            }
            _ => {}
        }
    }

    fn fold_record(&mut self, record: &Record) {
        match record {
            Record::Generation {
                generation,
                placement,
                start_from,
            } => {
                self.placements.insert(*generation, placement.clone());
                self.counted = self.counted.min(start_from.step());
                self.ended = false;
            }
            Record::Checkpoint(report) => {
                self.checkpoints.insert(report.name.clone());
            }
            Record::CheckpointDropped { name, .. } => {
                self.checkpoints.remove(name);
            }
            Record::Committed { upto } => self.counted = *upto,
            Record::Ended => {
                self.ended = true;
                self.survivors.clear();
            }
            Record::SetAside { machine, .. } => {
                self.set_aside.insert(machine.clone());
            }
            Record::Readmitted { machine } => {
                self.set_aside.remove(machine);
            }
            Record::Paused | Record::NoMajority { .. } => self.paused = true,
            Record::Resumed => self.paused = false,
            Record::Run { .. } | Record::Data(_) | Record::Replaced(_) | Record::Finished { .. } => {}
            Record::Vouched { .. } | Record::Differ { .. } => {}
        }
    }
}
