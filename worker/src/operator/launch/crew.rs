//! Who is where: the decisions of a launcher, as a state machine that starts and reaches nothing.
//!
//! ```text
//!  greeting ── all hosts greeted ──► starting ── the coordinator listens ──► running
//!     │ one refused: nothing began       │            │ a daemon is refused, or Ctrl-C: the coordinator is told to stop
//!     ▼                                  ▼            ▼
//!   finish                            ending: the coordinator ends, then the daemons by themselves; those that do not are
//!                                     told to stop, then killed ──► finish
//! ```
//! [`Crew::take`] takes news in, [`Crew::interrupt`] a Ctrl-C, [`Crew::tick`] what [`Crew::deadline`] announced; each adds
//! acts, which are carried out in order.

use std::time::Duration;

use tokio::time::Instant;

use super::link::{Ask, News};
use super::plan::Plan;
use super::wire::LISTENING;

/// How long daemons may take to go once the coordinator has gone, and once they were told to.
const FAREWELL: Duration = Duration::from_secs(10);
const STOPPING: Duration = Duration::from_secs(30);
/// The coordinator's number; hosts follow from 1.
const COORDINATOR: usize = 0;
/// Exit codes of both programs.
const FINISHED: u8 = 0;
const REFUSED: u8 = 2;
const STOPPED: u8 = 4;

/// What is to be done.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// Print it.
    Say(String),
    /// Tell a host.
    Ask(usize, Ask),
    /// The launch is over, with this exit code.
    Finish(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not reached yet.
    Awaited,
    /// Reached.
    Greeted,
    /// Its program was asked for.
    Busy,
    /// Its program ended.
    Gone,
}

/// How sharply those are asked that have not gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Farewell {
    /// The coordinator ends the run.
    Coordinator,
    /// Its daemons follow.
    Daemons,
    /// They were told to stop.
    Told,
    /// All were killed.
    Killed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Greeting,
    Starting,
    Running,
    Ending(Farewell),
}

/// The coordinator and the daemons of a launch.
pub(super) struct Crew {
    plan: Plan,
    states: Vec<State>,
    phase: Phase,
    token: Option<String>,
    /// Of what was refused, or else of the coordinator.
    refused: Option<u8>,
    ended: Option<u8>,
    deadline: Option<Instant>,
}

impl Crew {
    /// Of links that were opened for all of `plan`.
    pub(super) fn new(plan: Plan) -> Self {
        let states = vec![State::Awaited; 1 + plan.hosts.len()];
        Self {
            plan,
            states,
            phase: Phase::Greeting,
            token: None,
            refused: None,
            ended: None,
            deadline: None,
        }
    }

    /// When [`Self::tick`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Takes in what happened at `number`.
    pub(super) fn take(&mut self, now: Instant, number: usize, news: News) -> Vec<Act> {
        let mut acts = Vec::new();
        match news {
            News::Greeted => self.greeted(number, &mut acts),
            News::Started => {}
            News::Token(token) => self.token = Some(token),
            News::Said(line) => {
                acts.push(Act::Say(format!("{} | {line}", self.plan.label(number))));
                self.said(number, &line, &mut acts);
            }
            News::Cut(reason, wait) => acts.push(Act::Say(format!(
                "m2t: {}: {reason}; its part of the run goes on, and is looked for again in {wait:?}",
                self.plan.label(number)
            ))),
            News::Back => acts.push(Act::Say(format!(
                "m2t: {}: connected again",
                self.plan.label(number)
            ))),
            News::Refused(reason) => {
                acts.push(Act::Say(format!("m2t: {}: {reason}", self.plan.label(number))));
                self.gone(now, number, REFUSED, &mut acts);
            }
            News::Ended(code) => self.gone(now, number, code, &mut acts),
        }
        acts
    }

    /// Ctrl-C or SIGTERM: the first stops the run at a step that is checkpointed, the second ends all at once.
    pub(super) fn interrupt(&mut self, now: Instant) -> Vec<Act> {
        let mut acts = Vec::new();
        match self.phase {
            Phase::Greeting => acts.push(Act::Finish(STOPPED)),
            Phase::Starting | Phase::Running => {
                acts.push(Act::Say(
                    "m2t: the run stops at its next step, which is checkpointed; once more ends it at once"
                        .to_owned(),
                ));
                self.stop(&mut acts);
            }
            Phase::Ending(_) => self.kill(now, &mut acts),
        }
        acts
    }

    /// A wait is over.
    pub(super) fn tick(&mut self, now: Instant) -> Vec<Act> {
        let mut acts = Vec::new();
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return acts;
        }
        self.deadline = None;
        match self.phase {
            Phase::Greeting | Phase::Starting | Phase::Ending(Farewell::Coordinator) => {}
            Phase::Running => {
                acts.push(Act::Say(
                    "m2t: all daemons have ended, and the run with them".to_owned(),
                ));
                self.stop(&mut acts);
            }
            Phase::Ending(Farewell::Daemons) => {
                // Without a coordinator they wait for one; there is none to come.
                self.ask_all(&Ask::Stop, &mut acts);
                self.phase = Phase::Ending(Farewell::Told);
                self.deadline = Some(now + STOPPING);
            }
            Phase::Ending(Farewell::Told) => self.kill(now, &mut acts),
            Phase::Ending(Farewell::Killed) => {
                for number in self.busy() {
                    let program = self.plan.program(number);
                    acts.push(Act::Say(format!(
                        "m2t: {}: what becomes of {program} there cannot be seen; look with: ps -C {program}",
                        self.plan.label(number)
                    )));
                }
                acts.push(Act::Finish(self.code()));
            }
        }
        acts
    }

    fn greeted(&mut self, number: usize, acts: &mut Vec<Act>) {
        self.states[number] = State::Greeted;
        if self.states.iter().all(|&state| state == State::Greeted) {
            self.phase = Phase::Starting;
            self.states[COORDINATOR] = State::Busy;
            acts.push(Act::Ask(COORDINATOR, Ask::Run(self.plan.coordinator())));
        }
    }

    /// The coordinator's word that it can be joined starts the daemons.
    fn said(&mut self, number: usize, line: &str, acts: &mut Vec<Act>) {
        let Some(address) = line
            .strip_prefix(LISTENING)
            .filter(|_| number == COORDINATOR && self.phase == Phase::Starting)
        else {
            return;
        };
        self.phase = Phase::Running;
        for number in 1..self.states.len() {
            self.states[number] = State::Busy;
            let daemon = self.plan.daemon(number, address, self.token.clone());
            acts.push(Act::Ask(number, Ask::Run(daemon)));
        }
    }

    fn gone(&mut self, now: Instant, number: usize, code: u8, acts: &mut Vec<Act>) {
        self.states[number] = State::Gone;
        if number == COORDINATOR {
            self.ended = Some(code);
        }
        if code == REFUSED {
            self.refused = Some(code);
        }
        match self.phase {
            Phase::Greeting => return acts.push(Act::Finish(code)),
            Phase::Starting | Phase::Running if number == COORDINATOR => self.follow(now),
            Phase::Starting | Phase::Running if code == REFUSED => self.stop(acts),
            Phase::Starting | Phase::Running => {
                if code != FINISHED {
                    acts.push(Act::Say(format!(
                        "m2t: {}: its daemon ended with code {code}",
                        self.plan.label(number)
                    )));
                }
                if self.busy() == [COORDINATOR] {
                    // A run that ended has dismissed them, and its coordinator ends by itself.
                    self.deadline = Some(now + FAREWELL);
                }
            }
            Phase::Ending(_) if number == COORDINATOR => self.follow(now),
            Phase::Ending(_) => {}
        }
        if matches!(self.phase, Phase::Ending(_)) && self.busy().is_empty() {
            acts.push(Act::Finish(self.code()));
        }
    }

    /// Tells the coordinator to stop the run.
    fn stop(&mut self, acts: &mut Vec<Act>) {
        self.deadline = None;
        self.phase = Phase::Ending(Farewell::Coordinator);
        acts.push(Act::Ask(COORDINATOR, Ask::Stop));
    }

    /// The coordinator has gone; its daemons have a moment to go, too.
    fn follow(&mut self, now: Instant) {
        if self.phase != Phase::Ending(Farewell::Killed) {
            self.phase = Phase::Ending(Farewell::Daemons);
            self.deadline = Some(now + FAREWELL);
        }
    }

    fn kill(&mut self, now: Instant, acts: &mut Vec<Act>) {
        self.ask_all(&Ask::Kill, acts);
        self.phase = Phase::Ending(Farewell::Killed);
        self.deadline = Some(now + FAREWELL);
    }

    fn ask_all(&self, ask: &Ask, acts: &mut Vec<Act>) {
        acts.extend(
            self.busy()
                .into_iter()
                .map(|number| Act::Ask(number, ask.clone())),
        );
    }

    /// Whose programs run, or may.
    fn busy(&self) -> Vec<usize> {
        let is_busy = |&number: &usize| self.states[number] == State::Busy;
        (0..self.states.len()).filter(is_busy).collect()
    }

    fn code(&self) -> u8 {
        self.refused.or(self.ended).unwrap_or(STOPPED)
    }
}

#[cfg(test)]
mod tests;
