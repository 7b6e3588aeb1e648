//! One thing that happens, and how often chance picks it.

use m2t_common::random::Stream;

/// One thing that happens. Numbers choose among what there is, so that any action means something, or nothing, at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A packet arrives, not necessarily the oldest.
    Deliver(u8),
    /// A packet is doubled.
    Repeat(u8),
    /// A packet is lost.
    Lose(u8),
    /// A trainer does the next thing.
    Work(u8),
    /// A daemon gives a sign of life.
    Heartbeat(u8),
    /// A daemon starts, or attaches again.
    Attach(u8),
    /// A stream breaks.
    BreakStream(u8),
    /// A trainer dies.
    KillTrainer(u8),
    /// A daemon dies with its trainers.
    KillDaemon(u8),
    /// A daemon wants to leave.
    Leave(u8),
    /// For a moment all goes well: everything under way arrives in order, every trainer does one thing.
    Round,
    /// The shell finished verifying a checkpoint.
    Verify,
    /// Time passes.
    Advance(u64),
    /// The coordinator crashes after so many effects of the next input, and starts again.
    CrashCoordinator(usize),
    /// The coordinator is asked to stop.
    StopCoordinator,
    /// An operator asks something.
    Order(u8),
}

/// How an action is made of a draw.
type Make = fn(u8, &mut Stream) -> Action;

/// How often each comes, in shares.
const CHAOS: [(u64, Make); 16] = [
    (12, |_, _| Action::Round),
    (24, |index, _| Action::Deliver(index)),
    (24, |index, _| Action::Work(index)),
    (3, |index, _| Action::Heartbeat(index)),
    (3, |index, _| Action::Repeat(index)),
    (2, |index, _| Action::Lose(index)),
    (4, |index, _| Action::Attach(index)),
    (2, |index, _| Action::BreakStream(index)),
    (1, |index, _| Action::KillTrainer(index)),
    (1, |index, _| Action::KillDaemon(index)),
    (1, |index, _| Action::Leave(index)),
    (4, |_, _| Action::Verify),
    (4, |_, draw| Action::Advance(1 + draw.below(2_000))),
    (1, |_, draw| Action::CrashCoordinator(draw.below(6) as usize)),
    (1, |_, _| Action::StopCoordinator),
    (2, |index, _| Action::Order(index)),
];

/// Faults a run with one survivor gets over without losing a step.
const FAULTS: [(u64, Make); 5] = [
    (3, |index, _| Action::KillTrainer(index)),
    (3, |index, _| Action::KillDaemon(index)),
    (2, |index, _| Action::Leave(index)),
    (2, |index, _| Action::BreakStream(index)),
    (2, |_, draw| Action::CrashCoordinator(draw.below(6) as usize)),
];

/// Anything.
pub(crate) fn chaos(draw: &mut Stream) -> Action {
    pick(&CHAOS, draw)
}

/// A fault.
pub(crate) fn fault(draw: &mut Stream) -> Action {
    pick(&FAULTS, draw)
}

fn pick(table: &[(u64, Make)], draw: &mut Stream) -> Action {
    let total = table.iter().map(|(share, _)| share).sum();
    let index = draw.below(256) as u8;
    let mut left = draw.below(total);
    for (share, make) in table {
        if left < *share {
            return make(index, draw);
        }
        left -= share;
    }
    Action::Round
}
