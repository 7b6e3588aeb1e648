//! A random history: a setting and a list of actions, both made from a seed, so that one number replays it. A history that
//! violates an invariant is shortened to the actions that matter.

use std::fmt;
use std::time::Duration;

use m2t_common::random::Stream;

use crate::action::{self, Action};
use crate::invariants::Violation;
use crate::mutations::Mutation;
use crate::world::{Seen, World};

/// What a world begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) n_machines: usize,
    pub(crate) min_devices: u32,
    pub(crate) replace_wait: Duration,
    /// How often the trainers of a device may fail.
    pub(crate) restarts: u32,
    /// Steps of the run.
    pub(crate) total: u64,
}

/// What a history is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Anything, all the time.
    Chaos,
    /// One fault at a time, and time to get over it.
    Gentle,
}

/// A setting, and what happens in it.
#[derive(Clone, Debug)]
pub(crate) struct History {
    kind: Kind,
    seed: u64,
    setting: Setting,
    actions: Vec<Action>,
}

impl History {
    pub(crate) fn new(kind: Kind, seed: u64) -> Self {
        let draw = &mut Stream::new("simulation", &[kind as u64, seed]);
        let (setting, actions) = match kind {
            Kind::Chaos => {
                let setting = Setting {
                    n_machines: 2 + draw.below(3) as usize,
                    min_devices: 1 + draw.below(4) as u32,
                    replace_wait: Duration::from_secs([0, 0, 2][draw.below(3) as usize]),
                    restarts: [0, 1, 3][draw.below(3) as usize],
                    total: 12,
                };
                let n_actions = draw.below(400);
                (setting, (0..n_actions).map(|_| action::chaos(draw)).collect())
            }
            Kind::Gentle => {
                let setting = Setting {
                    n_machines: 3,
                    min_devices: 1,
                    replace_wait: Duration::ZERO,
                    restarts: 3,
                    total: 70,
                };
                let mut actions = Vec::new();
                for _ in 0..1 + draw.below(3) {
                    actions.extend((0..20 + draw.below(4)).map(|_| Action::Round));
                    actions.push(action::fault(draw));
                }
                (setting, actions)
            }
        };
        Self {
            kind,
            seed,
            setting,
            actions,
        }
    }

    /// Lives through it, then heals everything and lets the run finish.
    pub(crate) fn run(&self, mutation: Option<Mutation>) -> Result<Seen, Vec<Violation>> {
        let mut world = World::new(&self.setting, mutation);
        for &action in &self.actions {
            world.act(action);
        }
        world.heal_and_finish();
        let seen = world.end()?;
        // Of whatever else is left, one survivor is enough: no step that was committed is ever done again.
        if self.kind == Kind::Gentle && seen.steps != self.setting.total {
            let what = format!(
                "{} steps were done in a run of {}",
                seen.steps, self.setting.total
            );
            let invariant = "no_step_twice";
            return Err(vec![Violation { invariant, what }]);
        }
        Ok(seen)
    }

    /// Lives through it; a failure is told with what people need to look into it.
    pub(crate) fn check(&self) -> Seen {
        match self.run(None) {
            Ok(seen) => seen,
            Err(violations) => panic!("{}", self.tell(&violations)),
        }
    }

    fn tell(&self, violations: &[Violation]) -> String {
        let short = self.shortened();
        let again = short.run(None).err().unwrap_or_default();
        format!(
            "history {self} violates an invariant:\n  {violations:#?}\nreplay it with\n  M2T_SEED={self} cargo test --release -p \
             m2t-coordinator-core --test simulation one_history\nshortened to {} of {} actions, it says\n  {again:#?}\n{:#?}\n{:?}",
            short.actions.len(),
            self.actions.len(),
            short.setting,
            short.actions,
        )
    }

    /// Takes actions out, large pieces first, as long as it still fails. Any part of a history is one.
    fn shortened(&self) -> Self {
        let mut short = self.clone();
        let mut piece = short.actions.len().div_ceil(2);
        while piece > 0 {
            let mut at = 0;
            while at < short.actions.len() {
                let mut shorter = short.clone();
                let end = (at + piece).min(short.actions.len());
                shorter.actions.drain(at..end);
                if shorter.run(None).is_err() {
                    short = shorter;
                } else {
                    at += piece;
                }
            }
            piece /= 2;
        }
        short
    }
}

/// As `M2T_SEED` has it.
impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Chaos => "chaos",
            Kind::Gentle => "gentle",
        };
        write!(f, "{kind}:{}", self.seed)
    }
}

impl std::str::FromStr for History {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (kind, seed) = text.split_once(':')?;
            let kind = match kind {
                "chaos" => Kind::Chaos,
                "gentle" => Kind::Gentle,
                _ => return None,
            };
            Some(Self::new(kind, seed.parse().ok()?))
        };
        parse().ok_or_else(|| format!("M2T_SEED is chaos:NUMBER or gentle:NUMBER, not {text}"))
    }
}
