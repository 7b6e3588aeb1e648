//! Which faults happen when, to whom and for how long: drawn from the seed, a pure function.
//!
//! Every kind comes up before any comes again. A machine, or the coordinator, that suffers a fault gets no second one
//! before the first is over; and at each moment one machine at least is left in peace, or the state in memory would be lost and steps
//! done again.

use std::time::Duration;

use m2t_common::random::Stream;

/// What the plan must know of the fleet.
pub(super) struct Shape {
    /// Machines; the last is the spare, which is not there at the beginning.
    pub(super) n_machines: usize,
    /// Whether a machine can be cut off.
    pub(super) has_cables: bool,
}

/// Something that goes wrong, or that an operator does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// SIGKILL to one trainer.
    KillTrainer,
    /// SIGKILL to a daemon.
    KillDaemon,
    /// SIGSTOP to one trainer.
    StopTrainer,
    /// SIGSTOP to a daemon.
    StopDaemon,
    /// A machine is cut off.
    Cut,
    /// `m2t drain`.
    Drain,
    /// The spare machine comes, and is told to leave later.
    Spare,
    /// SIGKILL to the coordinator.
    KillCoordinator,
    /// `m2t pause`.
    Pause,
}

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// When, from the first step on.
    pub(super) at: Duration,
    /// What.
    pub(super) kind: Kind,
    /// Whose: a machine's number. The coordinator's faults have none to it, it is 0 there.
    pub(super) machine: usize,
    /// Which of the machine's trainers, counted round.
    pub(super) trainer: usize,
    /// How long until it is undone.
    pub(super) lasts: Duration,
}

/// All faults of a run, in order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan(pub(super) Vec<Fault>);

/// A victim has so long to recover before its next fault.
const RESPITE: Duration = Duration::from_millis(1500);
/// An order needs a coordinator for so long.
const ORDER: Duration = Duration::from_secs(1);

impl Kind {
    const ALL: [Self; 9] = [
        Self::KillTrainer,
        Self::KillDaemon,
        Self::StopTrainer,
        Self::StopDaemon,
        Self::Cut,
        Self::Drain,
        Self::Spare,
        Self::KillCoordinator,
        Self::Pause,
    ];

    /// Its key in the report.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::KillTrainer => "kill_trainer",
            Self::KillDaemon => "kill_daemon",
            Self::StopTrainer => "stop_trainer",
            Self::StopDaemon => "stop_daemon",
            Self::Cut => "cut",
            Self::Drain => "drain",
            Self::Spare => "spare",
            Self::KillCoordinator => "kill_coordinator",
            Self::Pause => "pause",
        }
    }
}

impl Plan {
    /// Draws `n_faults` over `time`; a few less where they find no room.
    pub(super) fn draw(seed: u64, time: Duration, n_faults: u32, shape: &Shape) -> Self {
        let mut stream = Stream::new("chaos", &[seed]);
        let mut bag: Vec<Kind> = Vec::new();
        let mut free = Free {
            machines: vec![Duration::ZERO; shape.n_machines],
            coordinator: Duration::ZERO,
        };
        let mut faults = Vec::new();
        for i in 0..n_faults {
            if bag.is_empty() {
                bag = Kind::ALL.to_vec();
                bag.retain(|kind| shape.has_cables || *kind != Kind::Cut);
                stream.shuffle(&mut bag);
            }
            let kind = bag.pop().expect("it was just filled");
            let share = (f64::from(i) + stream.unit()) / f64::from(n_faults);
            let fault = Fault {
                at: time.mul_f64(share),
                kind,
                machine: match kind {
                    Kind::Spare => shape.n_machines - 1,
                    Kind::KillCoordinator | Kind::Pause => 0,
                    _ => stream.below(shape.n_machines as u64 - 1) as usize,
                },
                trainer: stream.below(1 << 16) as usize,
                lasts: Duration::from_secs_f64(stream.uniform(0.3, 5.0)),
            };
            let fault = free.find_room(fault);
            if fault.at + fault.lasts <= time {
                free.occupy(&fault);
                faults.push(fault);
            }
        }
        faults.sort_by_key(|fault| fault.at);
        Self(faults)
    }
}

/// When each part of the fleet is free of faults.
struct Free {
    machines: Vec<Duration>,
    coordinator: Duration,
}

impl Free {
    fn find_room(&self, mut fault: Fault) -> Fault {
        if needs_coordinator(fault.kind) {
            fault.at = fault.at.max(self.coordinator);
        }
        if is_of_machine(fault.kind) {
            fault.at = fault.at.max(self.machines[fault.machine]);
            // The spare comes and goes, so it is nobody to rely on.
            let others = self.machines[..self.machines.len() - 1].iter().enumerate();
            let peaceful = others.filter(|(i, _)| *i != fault.machine).map(|(_, free)| *free);
            fault.at = fault.at.max(peaceful.min().unwrap_or_default());
        }
        fault
    }

    fn occupy(&mut self, fault: &Fault) {
        let over = fault.at + fault.lasts + RESPITE;
        match fault.kind {
            Kind::KillCoordinator | Kind::Pause => self.coordinator = over,
            Kind::Drain => self.coordinator = fault.at + ORDER,
            _ => {}
        }
        if is_of_machine(fault.kind) {
            self.machines[fault.machine] = over;
        }
    }
}

fn needs_coordinator(kind: Kind) -> bool {
    matches!(kind, Kind::KillCoordinator | Kind::Pause | Kind::Drain)
}

fn is_of_machine(kind: Kind) -> bool {
    !matches!(kind, Kind::KillCoordinator | Kind::Pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const FOUR: Shape = Shape {
        n_machines: 4,
        has_cables: true,
    };

    #[test]
    fn a_seed_draws_the_same_plan_again_and_another_draws_another() {
        assert_eq!(Plan::draw(7, HOUR, 600, &FOUR), Plan::draw(7, HOUR, 600, &FOUR));
        assert_ne!(Plan::draw(7, HOUR, 600, &FOUR), Plan::draw(8, HOUR, 600, &FOUR));
    }

    #[test]
    fn every_kind_comes_up_and_a_cut_only_where_there_are_cables() {
        let minute = Duration::from_secs(60);
        let kinds = |has_cables| {
            let shape = Shape {
                n_machines: 4,
                has_cables,
            };
            let plan = Plan::draw(1, minute * 10, 100, &shape);
            let mut kinds: Vec<Kind> = plan.0.iter().map(|fault| fault.kind).collect();
            kinds.sort_unstable();
            kinds.dedup();
            kinds
        };
        assert_eq!(kinds(true), Kind::ALL);
        assert!(!kinds(false).contains(&Kind::Cut));
    }

    #[test]
    fn a_machine_suffers_one_fault_at_a_time_and_one_machine_has_peace() {
        for seed in 0..50 {
            let plan = Plan::draw(seed, HOUR, 1800, &FOUR).0;
            assert!(plan.len() > 1000, "{}", plan.len());
            assert!(plan.is_sorted_by_key(|fault| fault.at));
            for (i, fault) in plan
                .iter()
                .enumerate()
                .filter(|(_, fault)| is_of_machine(fault.kind))
            {
                let before = plan[..i].iter().filter(|other| is_of_machine(other.kind));
                let mut busy: Vec<usize> = before
                    .filter(|other| other.at + other.lasts > fault.at)
                    .map(|other| other.machine)
                    .collect();
                assert!(!busy.contains(&fault.machine), "seed {seed}: {fault:?}");
                busy.push(fault.machine);
                assert!(
                    (0..3).any(|machine| !busy.contains(&machine)),
                    "seed {seed}: {fault:?}"
                );
            }
        }
    }
}
