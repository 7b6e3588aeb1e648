//! A model of the coordinator's process: core, journal, and the shell that carries effects out. All the core does passes
//! the invariants here; a mutation may tamper with it before. What concerns others is handed to them.

use m2t_common::Timestamp;
use m2t_common::ledger::Account;
use m2t_common::machine_link::{Outcome, StartFrom};
use m2t_common::recipe::resolve;
use m2t_common::recipe::written::Source;
use m2t_common::report::CheckpointReport;
use m2t_common::status::Status;
use m2t_coordinator_core::{Core, DiskFacts, Effect, FoundCheckpoint, Input, Notice, Record, Settings};

use crate::history::Setting;
use crate::invariants::{Violation, violated};
use crate::mutations::Mutation;
use crate::network::{Network, Packet};
use crate::observed::{Event, Handled, Observed, Over, Settled};
use crate::trainer::{Cluster, checkpoint};
use crate::world::Seen;

/// Images of the data set: three steps an epoch.
pub(crate) const N_SAMPLES: u64 = 24;

#[derive(Debug)]
pub(crate) struct Shell {
    settings: Settings,
    core: Core,
    journal: Vec<Record>,
    observed: Observed,
    /// What a core that folds the journal knows, and how long that journal was.
    reloaded: (usize, Status),
    mutation: Option<Mutation>,
    /// The coordinator crashes after so many more effects.
    pub(crate) fuse: Option<usize>,
    /// Checkpoints to look at.
    pub(crate) verifying: Vec<CheckpointReport>,
    /// How the process ended, if it did.
    pub(crate) ended: Option<Outcome>,
    /// Whether the process is gone without a word.
    pub(crate) crashed: bool,
    /// The first event that violated invariants, and which.
    pub(crate) broken: Vec<Violation>,
    pub(crate) seen: Seen,
    recovering: bool,
}

impl Shell {
    pub(crate) fn new(setting: &Setting, mutation: Option<Mutation>) -> Self {
        let (total, restarts) = (setting.total, setting.restarts);
        let toml = format!(
            "world = 4\nbatch = 8\nsteps = {total}\nwarmup_epochs = 1\n[run]\nkeep_checkpoints = 2\nrestarts = {restarts}"
        );
        let toml = toml.as_str();
        let settings = Settings {
            recipe: resolve(Source::Experiment { name: "test", toml }, &[], None).unwrap(),
            min_devices: setting.min_devices,
            replace_wait: setting.replace_wait,
            data: "/data".into(),
            output: "/output".into(),
            probe: "probe".into(),
            version: "1".into(),
        };
        let core = Core::new(settings.clone(), Vec::new()).unwrap();
        let shards = settings.recipe.plan(N_SAMPLES).unwrap().shards;
        Self {
            reloaded: (0, core.status()),
            observed: Observed::new(shards, total),
            settings,
            core,
            journal: Vec::new(),
            mutation,
            fuse: None,
            verifying: Vec::new(),
            ended: None,
            crashed: false,
            broken: Vec::new(),
            seen: Seen::default(),
            recovering: false,
        }
    }

    /// The process starts, the first time, after a crash or after an exit, and looks at the disk.
    pub(crate) fn start(&mut self, now: Timestamp, network: &mut Network, cluster: &mut Cluster) {
        self.verifying.clear();
        (self.ended, self.crashed) = (None, false);
        self.core = Core::new(self.settings.clone(), self.journal.clone()).unwrap();
        self.look(&Event::Started);
        let found = cluster.disk.iter().map(|&step| FoundCheckpoint {
            report: checkpoint(step),
            n_samples: N_SAMPLES,
        });
        let disk = DiskFacts {
            found: found.collect(),
            damaged: Vec::new(),
            evaluations: Vec::new(),
            samples: self.observed.metrics,
            metrics: self.observed.metrics,
        };
        self.input(now, &Input::Started(disk), network, cluster);
    }

    /// Hands an input to the core and carries out its effects, unless the fuse burns down in between.
    pub(crate) fn input(
        &mut self,
        now: Timestamp,
        input: &Input,
        network: &mut Network,
        cluster: &mut Cluster,
    ) {
        if self.is_down() {
            return;
        }
        self.look(&Event::Input(input));
        let before = self.core.next_deadline();
        let mut effects = Vec::new();
        self.core.handle(now, input.clone(), &mut effects);
        if let Some(mutation) = self.mutation {
            mutation.tamper(&self.observed, &mut effects);
        }
        self.look(&Event::Handled(Handled {
            now,
            input,
            effects: &effects,
            before: self.mutation.map_or(before, |mutation| mutation.delay(before)),
            after: self.core.next_deadline(),
        }));
        for effect in effects {
            if self.fuse == Some(0) {
                self.fuse = None;
                self.seen.crashes += 1;
                self.crashed = true;
                return;
            }
            self.fuse = self.fuse.map(|left| left - 1);
            self.look(&Event::Effect(&effect));
            self.carry_out(effect, network, cluster);
        }
        self.settled(cluster);
    }

    /// Whether nobody hears what is said.
    pub(crate) fn is_down(&self) -> bool {
        self.ended.is_some() || self.crashed || self.is_broken()
    }

    /// Whether an invariant was violated: then nothing means anything any more.
    pub(crate) fn is_broken(&self) -> bool {
        !self.broken.is_empty()
    }

    /// The run is over: what is left must be whole.
    pub(crate) fn over(&mut self, cluster: &Cluster) {
        let account = self.core.account();
        self.look(&Event::Over(Over {
            account: &account,
            disk: &cluster.disk,
        }));
    }

    /// Something is wrong that is no single event's fault.
    pub(crate) fn fail(&mut self, invariant: &'static str, what: String) {
        if !self.is_broken() {
            self.broken.push(Violation { invariant, what });
        }
    }

    pub(crate) fn status(&self) -> Status {
        self.core.status()
    }

    fn look(&mut self, event: &Event<'_>) {
        if !self.is_broken() {
            self.broken = violated(&self.observed, event);
            self.observed.fold(event);
        }
    }

    /// A reload is compared after each input; it is another one only where the journal grew.
    fn settled(&mut self, cluster: &Cluster) {
        let mut account: Option<Account> = None;
        if self.reloaded.0 != self.journal.len() {
            let reloaded = Core::new(self.settings.clone(), self.journal.iter().cloned()).unwrap();
            self.reloaded = (self.journal.len(), reloaded.status());
            account = Some(reloaded.account());
        }
        let mut status = self.core.status();
        if let Some(mutation) = self.mutation {
            mutation.misreport(&mut status);
        }
        let reloaded = self.reloaded.1.clone();
        self.look(&Event::Settled(Settled {
            status: &status,
            reloaded: &reloaded,
            account: account.as_ref(),
            disk: &cluster.disk,
        }));
    }

    fn carry_out(&mut self, effect: Effect, network: &mut Network, cluster: &mut Cluster) {
        match effect {
            Effect::Persist(record) => {
                if let Record::Generation { start_from, .. } = &record {
                    self.seen.generations += 1;
                    match start_from {
                        StartFrom::Initial => {}
                        StartFrom::Checkpoint(_) => self.seen.from_checkpoint += 1,
                        StartFrom::Donor { .. } => self.seen.from_memory += 1,
                    }
                }
                self.seen.set_aside += u64::from(matches!(record, Record::SetAside { .. }));
                self.journal.push(record);
            }
            Effect::Send { stream, message } => network.send(Packet::Down(stream, message)),
            Effect::Close { stream } => network.send(Packet::DownEnded(stream)),
            Effect::Metrics(_) => self.seen.steps += 1,
            Effect::VerifyCheckpoint(report) => self.verifying.push(report),
            Effect::DeleteCheckpoint(name) | Effect::SetAsideCheckpoint(name) => {
                cluster.disk.remove(&name.step().0);
            }
            Effect::Notice { notice, .. } => self.notice(&notice),
            Effect::CutBack { .. } | Effect::Samples(_) | Effect::Evaluated(_) | Effect::Answer { .. } => {}
            Effect::Exit(outcome) => self.ended = Some(outcome),
        }
    }

    fn notice(&mut self, notice: &Notice) {
        match notice {
            Notice::Recovering { .. } => self.recovering = true,
            Notice::Training { .. } if self.recovering => {
                self.recovering = false;
                self.seen.went_on += 1;
            }
            Notice::Ended { .. } => self.recovering = false,
            _ => {}
        }
    }
}
