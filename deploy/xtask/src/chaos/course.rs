//! The run among faults: does what the plan says when it is due, undoes it in its time, and watches the run until its end.
//!
//! Orders that the run may refuse for good reasons (a drain of a machine that has just lost its connection) are counted as
//! refused and are no faults. Everything done goes to `faults.log`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::Chaos;
use super::fleet::{Answer, Fleet, folder};
use super::load::{Load, Watch};
use super::plan::{Fault, Kind, Plan};
use super::setting::Pace;
use crate::fleet::in_short;
use crate::fleet::machines::Machines;
use crate::fleet::steps::Steps;

/// How often everything is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// A run without a step for so long does not proceed.
const STALL: Duration = Duration::from_secs(90);
/// An order that was refused is given again so much later.
const AGAIN: Duration = Duration::from_millis(500);

/// How it went.
pub(super) struct Done {
    /// From the first step to the end.
    pub(super) took: Duration,
    pub(super) output: PathBuf,
    /// Done, by kind.
    pub(super) faults: BTreeMap<&'static str, u32>,
    pub(super) refused: u32,
    pub(super) steps_lost: u64,
    pub(super) load: Load,
}

/// Runs to the end.
pub(super) fn run(chaos: &Chaos<'_>, plan: &Plan, n_steps: u64, machines: Option<Machines>) -> Result<Done> {
    chaos.setting.set_pace(&chaos.work, Pace::Chaos)?;
    let places = &chaos.setting.machines;
    let folder = folder(chaos, "chaos");
    let mut fleet = Fleet::start(chaos, folder.clone(), n_steps, places, machines)?;
    for i in 0..places.len() - 1 {
        fleet.start_daemon(i)?;
    }
    let log = folder.join("faults.log");
    let mut course = Course {
        chaos,
        steps: Steps::follow(fleet.output().join("metrics.jsonl")),
        fleet,
        watch: Watch::default(),
        due: BTreeMap::new(),
        n_due: 0,
        began: Instant::now(),
        log: File::create(&log).with_context(|| format!("cannot write {}", log.display()))?,
        faults: BTreeMap::new(),
        refused: 0,
    };
    while course.steps.last().is_none() {
        ensure!(!course.look()?, "the run ended before its first step");
    }
    course.began = Instant::now();
    for fault in &plan.0 {
        course.plan(fault.at, Action::Begin(*fault));
    }
    course.go_on()?;
    Ok(Done {
        took: course.began.elapsed(),
        output: course.fleet.output(),
        faults: course.faults,
        refused: course.refused,
        steps_lost: course.steps.done_again(),
        load: course.watch.load(),
    })
}

/// What is due at some time.
enum Action {
    Begin(Fault),
    Undo(Undo),
}

/// How a fault ends. Machines by their numbers.
enum Undo {
    StartDaemon(usize),
    ContinueDaemon(usize),
    ContinueTrainer(usize, Pid),
    Heal(usize),
    /// A drained machine comes back.
    Return(usize),
    /// The spare is told to leave.
    Dismiss(usize),
    StartCoordinator,
    Resume,
}

/// A run under way.
struct Course<'a> {
    chaos: &'a Chaos<'a>,
    fleet: Fleet<'a>,
    steps: Steps,
    watch: Watch,
    /// By time, and number where two are due at once.
    due: BTreeMap<(Duration, u32), Action>,
    n_due: u32,
    began: Instant,
    log: File,
    faults: BTreeMap<&'static str, u32>,
    refused: u32,
}

impl Course<'_> {
    /// Until the run has ended.
    fn go_on(&mut self) -> Result<()> {
        while !self.look()? {
            while let Some(entry) = self.due.first_entry()
                && entry.key().0 <= self.began.elapsed()
            {
                match entry.remove() {
                    Action::Begin(fault) => self.begin(&fault)?,
                    Action::Undo(undo) => self.undo(&undo)?,
                }
            }
        }
        Ok(())
    }

    /// Looks at everything, then waits a moment; whether the run is finished.
    fn look(&mut self) -> Result<bool> {
        self.chaos.interrupt.check()?;
        self.steps.look()?;
        self.watch.look(self.fleet.coordinator_id());
        if let Some(status) = self.fleet.coordinator_ended()? {
            let log = self.fleet.coordinator_log();
            ensure!(
                status.success(),
                "the coordinator ended by itself ({status}); its log is {}",
                log.display()
            );
            self.steps.look()?;
            return Ok(true);
        }
        self.fleet.look_at_daemons()?;
        let alive = self.steps.last().map_or(self.began, |seen| seen.at);
        if alive.elapsed() > STALL {
            let status = self.fleet.status();
            bail!("no step for {} s; {}", STALL.as_secs(), in_short(status.as_ref()));
        }
        std::thread::sleep(LOOK_EVERY);
        Ok(false)
    }

    fn plan(&mut self, at: Duration, action: Action) {
        self.n_due += 1;
        self.due.insert((at, self.n_due), action);
    }

    fn begin(&mut self, fault: &Fault) -> Result<()> {
        let name = self.name(fault);
        match self.suffer(fault)? {
            Ok(undo) => {
                *self.faults.entry(fault.kind.name()).or_default() += 1;
                self.note(&format!("{name} for {:.1} s", fault.lasts.as_secs_f64()))?;
                if let Some(undo) = undo {
                    self.plan(self.began.elapsed() + fault.lasts, Action::Undo(undo));
                }
            }
            Err(why) => {
                self.refused += 1;
                self.note(&format!("not done: {name}: {why}"))?;
            }
        }
        Ok(())
    }

    /// Does it; how it is undone, or why it cannot be done now.
    fn suffer(&mut self, fault: &Fault) -> Result<Result<Option<Undo>, String>> {
        let i = fault.machine;
        let undo = match fault.kind {
            Kind::KillTrainer | Kind::StopTrainer => {
                let trainers = self
                    .fleet
                    .daemon(i)
                    .map(crate::fleet::member::Member::children)
                    .unwrap_or_default();
                if trainers.is_empty() {
                    return Ok(Err("there is no trainer".to_owned()));
                }
                let trainer = trainers[fault.trainer % trainers.len()];
                let is_kill = fault.kind == Kind::KillTrainer;
                // It may have ended since it was listed; then nothing is left to do.
                let _ = kill_process(trainer, if is_kill { Signal::KILL } else { Signal::STOP });
                (!is_kill).then_some(Undo::ContinueTrainer(i, trainer))
            }
            Kind::KillDaemon => {
                self.fleet.kill_daemon(i)?;
                Some(Undo::StartDaemon(i))
            }
            Kind::StopDaemon => {
                self.signal(i, Signal::STOP)?;
                Some(Undo::ContinueDaemon(i))
            }
            Kind::Cut => {
                self.fleet.cut(i)?;
                Some(Undo::Heal(i))
            }
            Kind::Drain => {
                let machine = self.chaos.setting.machines[i].name.as_str();
                if let Answer::Refused(why) = self.fleet.order(&["drain", machine])? {
                    return Ok(Err(why));
                }
                self.fleet.expect_leave(i);
                Some(Undo::Return(i))
            }
            Kind::Spare => {
                self.fleet.start_daemon(i)?;
                Some(Undo::Dismiss(i))
            }
            Kind::KillCoordinator => {
                self.fleet.kill_coordinator();
                Some(Undo::StartCoordinator)
            }
            Kind::Pause => {
                if let Answer::Refused(why) = self.fleet.order(&["pause"])? {
                    return Ok(Err(why));
                }
                Some(Undo::Resume)
            }
        };
        Ok(Ok(undo))
    }

    fn undo(&mut self, undo: &Undo) -> Result<()> {
        match *undo {
            Undo::StartDaemon(i) => self.fleet.start_daemon(i)?,
            Undo::ContinueDaemon(i) => self.signal(i, Signal::CONT)?,
            Undo::ContinueTrainer(i, trainer) => {
                // It may have been killed meanwhile, and its number be somebody else's.
                let is_there = |daemon: &crate::fleet::member::Member| daemon.children().contains(&trainer);
                if self.fleet.daemon(i).is_some_and(is_there) {
                    let _ = kill_process(trainer, Signal::CONT);
                }
            }
            Undo::Heal(i) => self.fleet.heal(i)?,
            Undo::Return(i) => {
                if self.fleet.is_leaving(i) {
                    self.note(&format!("m{i} has not left yet, and is killed"))?;
                }
                self.fleet.start_daemon(i)?;
            }
            Undo::Dismiss(i) => {
                self.signal(i, Signal::TERM)?;
                self.fleet.expect_leave(i);
            }
            Undo::StartCoordinator => self.fleet.start_coordinator()?,
            Undo::Resume => {
                if let Answer::Refused(why) = self.fleet.order(&["resume"])? {
                    self.note(&format!("not resumed yet: {why}"))?;
                    self.plan(self.began.elapsed() + AGAIN, Action::Undo(Undo::Resume));
                }
            }
        }
        Ok(())
    }

    fn signal(&self, i: usize, signal: Signal) -> Result<()> {
        match self.fleet.daemon(i) {
            Some(daemon) => daemon.signal(signal),
            None => Ok(()),
        }
    }

    fn name(&self, fault: &Fault) -> String {
        let kind = fault.kind.name();
        match fault.kind {
            Kind::KillCoordinator | Kind::Pause => kind.to_owned(),
            _ => format!("{kind} {}", self.chaos.setting.machines[fault.machine].name),
        }
    }

    fn note(&mut self, what: &str) -> Result<()> {
        let step = self.steps.last().map_or(0, |seen| seen.step);
        let line = format!(
            "{:7.2} s, step {step}: {what}",
            self.began.elapsed().as_secs_f64()
        );
        eprintln!("{line}");
        writeln!(self.log, "{line}").context("cannot write faults.log")
    }
}
