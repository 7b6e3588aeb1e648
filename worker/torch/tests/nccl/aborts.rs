//! Groups that do not come about, hang, lose a member, and are made anew.

use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use m2t_torch::TorchError;
use m2t_torch::collective::nccl::{Deadlines, UniqueId};
use m2t_torch::collective::{Collective, Departure, Handle, Nccl, Op};
use tch::Tensor;

use crate::fake::{Fake, NEVER, PATIENT, SOON};
use crate::operations::{on_all, sum};

/// Starts an operation of each member that can never end, and aborts while threads wait for it. What they were told.
fn abort_while_waiting(group: &[Nccl], abort: impl FnOnce()) -> Vec<TorchError> {
    thread::scope(|scope| {
        let (started, all_started) = channel();
        let waiters: Vec<_> = group
            .iter()
            .map(|member| {
                let started = started.clone();
                scope.spawn(move || {
                    let tensor = Tensor::from_slice(&[1i64]);
                    let handle = member.all_reduce(&tensor, Op::Sum).unwrap();
                    started.send(()).unwrap();
                    handle.wait().unwrap_err()
                })
            })
            .collect();
        for _ in group {
            all_started.recv().unwrap();
        }
        abort();
        waiters.into_iter().map(|waiter| waiter.join().unwrap()).collect()
    })
}

fn is_aborted(result: &Result<(), TorchError>) -> bool {
    matches!(result, Err(TorchError::Aborted))
}

fn until(condition: impl Fn() -> bool) {
    while !condition() {
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn an_abort_wakes_whoever_waits_for_an_operation_that_hangs() {
    let fake = Fake::new();
    let group = fake.group(3);
    fake.tell(&["ncclAllReduce 2 hang"]);
    let errors = abort_while_waiting(&group, || group.iter().for_each(Nccl::abort));
    assert!(
        errors.iter().all(|error| matches!(error, TorchError::Aborted)),
        "{errors:?}"
    );
    for member in &group {
        assert_eq!(member.departed(NEVER), Departure::Over);
        assert!(is_aborted(&member.working()));
        assert!(is_aborted(&member.barrier().map(drop)));
        assert!(is_aborted(&sum(member, 1).map(drop)));
        member.abort();
        assert_eq!(member.departed(NEVER), Departure::Over);
    }
    drop(group);
    let aborts = fake.calls_of("ncclCommAbort");
    assert_eq!(aborts.len(), 3, "{aborts:?}");
    assert!(fake.calls_of("ncclCommFinalize").is_empty());
}

#[test]
fn an_abort_before_and_after_operations_ends_the_group() {
    let fake = Fake::new();
    for n_operations in [0, 1, 5] {
        let group = fake.group(2);
        for _ in 0..n_operations {
            assert_eq!(on_all(&group, |member| sum(member, 2).unwrap()), [4, 4]);
        }
        for member in &group {
            member.abort();
            assert_eq!(member.departed(NEVER), Departure::Over);
        }
    }
}

/// NCCL is in the middle of a call, in progress, and stays so: the abort does not wait for it.
#[test]
fn an_abort_does_not_wait_for_a_call_in_progress() {
    let fake = Fake::new();
    let group = fake.group(2);
    fake.tell(&["busy * for 3600000"]);
    let errors = abort_while_waiting(&group, || {
        until(|| fake.calls_of("ncclAllReduce").len() == 2);
        group.iter().for_each(Nccl::abort);
    });
    assert!(
        errors.iter().all(|error| matches!(error, TorchError::Aborted)),
        "{errors:?}"
    );
    for member in &group {
        assert_eq!(member.departed(NEVER), Departure::Over);
    }
}

#[test]
fn an_abort_that_hangs_wakes_the_waiters_and_is_told() {
    let fake = Fake::new();
    let group = fake.group(2);
    fake.tell(&["ncclAllReduce * hang", "ncclCommAbort 0 hang"]);
    let errors = abort_while_waiting(&group, || group.iter().for_each(Nccl::abort));
    assert!(
        errors.iter().all(|error| matches!(error, TorchError::Aborted)),
        "{errors:?}"
    );
    assert_eq!(group[0].departed(SOON), Departure::Stuck);
    assert_eq!(group[1].departed(NEVER), Departure::Over);
    // Its memory is not given back: the GPU may still write to it.
    assert_eq!(fake.calls_of("cuStreamDestroy").len(), 1);
    // The drop would wait as long as is allowed, which here is for ever.
    std::mem::forget(group);
}

#[test]
fn an_abort_that_fails_is_told_at_once() {
    let fake = Fake::new();
    let group = fake.group(1);
    fake.tell(&["ncclCommAbort 0 fail 1"]);
    group[0].abort();
    assert_eq!(group[0].departed(NEVER), Departure::Stuck);
    drop(group);
    assert!(fake.calls_of("cuStreamDestroy").is_empty());
}

/// The thread that runs operations never comes back from NCCL. Waiters are woken all the same, and nobody aborts under it.
#[test]
fn no_abort_begins_while_a_thread_is_inside() {
    let fake = Fake::new();
    let group = fake.group(1);
    fake.tell(&["ncclAllReduce 0 block"]);
    let errors = abort_while_waiting(&group, || {
        until(|| fake.calls_of("ncclAllReduce").len() == 1);
        group[0].abort();
    });
    assert!(matches!(errors[..], [TorchError::Aborted]), "{errors:?}");
    assert_eq!(group[0].departed(SOON), Departure::Stuck);
    assert!(fake.calls_of("ncclCommAbort").is_empty());
    std::mem::forget(group);
}

/// Each abort by itself would wait for that of the other for ever.
#[test]
fn groups_of_one_process_are_aborted_as_one() {
    let fake = Fake::new();
    let group = fake.group(2);
    fake.tell(&["ncclAllReduce * hang", "ncclCommAbort * hang_alone"]);
    let members: Vec<&Nccl> = group.iter().collect();
    let errors = abort_while_waiting(&group, || Nccl::abort_together(&members));
    assert!(
        errors.iter().all(|error| matches!(error, TorchError::Aborted)),
        "{errors:?}"
    );
    for member in &group {
        assert_eq!(member.departed(NEVER), Departure::Over);
        member.abort();
    }
    let calls = fake.calls();
    let begun = calls.iter().position(|call| call == "ncclGroupStart").unwrap();
    assert_eq!(
        calls[begun..begun + 4],
        [
            "ncclGroupStart",
            "ncclCommAbort 0",
            "ncclCommAbort 1",
            "ncclGroupEnd"
        ]
    );
}

#[test]
fn a_group_whose_members_do_not_all_come_is_given_up() {
    let fake = Fake::new();
    let deadlines = Deadlines {
        connecting: SOON,
        ..PATIENT
    };
    for result in fake.connect(3, [0, 2], deadlines) {
        let error = result.map(drop).unwrap_err();
        assert_eq!(error.to_string(), "NCCL: waited 300ms for all devices to come");
    }
    let aborts = fake.calls_of("ncclCommAbort");
    assert_eq!(aborts.len(), 2, "{aborts:?}");
    // And the process is as good as before.
    assert_eq!(on_all(&fake.group(2), |member| sum(member, 3).unwrap()), [6, 6]);
}

/// A hold of the generation while some of its devices are still on their way.
#[test]
fn an_abort_ends_the_wait_for_devices_that_do_not_come() {
    let fake = Fake::new();
    let backend = fake.backend();
    let id = UniqueId::fresh(&backend.library).unwrap();
    let group = Nccl::begin(&backend, id, (0, 2), PATIENT).unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| group.until_whole());
        until(|| fake.calls_of("ncclCommInitRankConfig").len() == 1);
        group.abort();
        assert!(is_aborted(&waiter.join().unwrap()));
    });
    assert_eq!(group.departed(NEVER), Departure::Over);
    drop(group);
    assert_eq!(fake.calls_of("ncclCommAbort").len(), 1);
}

#[test]
fn a_group_that_cannot_be_made_says_why() {
    let fake = Fake::new();
    for (told, reason) in [
        (
            "ncclCommInitRankConfig 0 fail 2",
            "NCCL: ncclCommInitRankConfig: an error of the fake: no more is known",
        ),
        (
            "ncclCommGetAsyncError 0 state 6",
            "NCCL: the group: remote process exited or there was a network error: no more is known",
        ),
    ] {
        fake.tell(&[told]);
        let result = fake.connect(1, [0], PATIENT).remove(0);
        assert_eq!(result.map(drop).unwrap_err().to_string(), reason);
    }
    // Of the first there was nothing to abort.
    assert_eq!(fake.calls_of("ncclCommAbort").len(), 1);
    fake.tell(&["ncclCommInitRankConfig 0 fail 2"]);
    let mut results = fake.connect(
        2,
        0..2,
        Deadlines {
            connecting: SOON,
            ..PATIENT
        },
    );
    assert!(results.remove(0).is_err() && results.remove(0).is_err());
}

#[test]
fn a_group_that_neither_comes_about_nor_ends_asks_for_the_end_of_the_process() {
    let fake = Fake::new();
    let deadlines = Deadlines {
        connecting: SOON,
        parting: SOON,
        ..PATIENT
    };
    for told in [
        &["ncclCommInitRankConfig 0 block"][..],
        &["ncclCommInitRankConfig 0 hang", "ncclCommAbort 0 hang"],
    ] {
        fake.tell(told);
        let error = fake
            .connect(1, [0], deadlines)
            .remove(0)
            .map(drop)
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "NCCL: waited 300ms for all devices to come; and the group cannot be aborted: end this process to free its GPU"
        );
    }
}

#[test]
fn a_dead_peer_that_nccl_notices_breaks_the_group() {
    let fake = Fake::new();
    let mut group = fake.group(3);
    let dead = group.remove(1);
    dead.abort();
    assert_eq!(dead.departed(NEVER), Departure::Over);
    // One waits for an operation, the other for nothing.
    let expected = "NCCL: the group: remote process exited or there was a network error: no more is known";
    let (waiting, idle) = (&group[0], &group[1]);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| sum(waiting, 1).unwrap_err().to_string());
        until(|| fake.calls_of("ncclAllReduce 0").len() == 1);
        fake.tell(&["ncclCommGetAsyncError * state 6"]);
        assert_eq!(waiter.join().unwrap(), expected);
    });
    until(|| idle.working().is_err());
    for member in &group {
        assert_eq!(member.working().unwrap_err().to_string(), expected);
        assert_eq!(sum(member, 1).unwrap_err().to_string(), expected);
        member.abort();
        assert!(is_aborted(&member.working()));
        assert_eq!(member.departed(NEVER), Departure::Over);
    }
    assert!(fake.calls_of("ncclCommFinalize").is_empty());
}

/// NCCL notices nothing; what ends the wait is the abort, as the coordinator's push makes it.
#[test]
fn survivors_of_a_death_go_on_in_a_new_group_in_the_same_process() {
    let fake = Fake::new();
    for round in 0..10 {
        let mut group = fake.group(3);
        assert_eq!(
            on_all(&group, |member| sum(member, round).unwrap()),
            [3 * round; 3]
        );
        let dead = group.remove(round as usize % 3);
        dead.abort();
        let errors = abort_while_waiting(&group, || group.iter().for_each(Nccl::abort));
        assert!(
            errors.iter().all(|error| matches!(error, TorchError::Aborted)),
            "{errors:?}"
        );
        for member in &group {
            assert_eq!(member.departed(NEVER), Departure::Over);
        }
        drop(group);
        let survivors = fake.group(2);
        assert_eq!(
            on_all(&survivors, |member| sum(member, round).unwrap()),
            [2 * round; 2]
        );
    }
    assert_eq!(fake.calls_of("ncclGetUniqueId").len(), 20);
    assert_eq!(fake.calls_of("ncclCommInitRankConfig").len(), 50);
    assert_eq!(fake.calls_of("ncclCommAbort").len(), 50);
    assert_eq!(fake.calls_of("cuStreamDestroy").len(), 50);
}

/// Whenever it comes, before a launch, in it or after it.
#[test]
fn an_abort_at_any_moment_breaks_no_rule() {
    let fake = Fake::new();
    fake.tell(&["busy * for 1"]);
    for round in 0..20 {
        let group = fake.group(2);
        thread::scope(|scope| {
            for member in &group {
                scope.spawn(move || {
                    while sum(member, 1).map(|total| assert_eq!(total, 2)).is_ok() {}
                    assert!(is_aborted(&member.working()));
                });
            }
            until(|| fake.calls_of("ncclAllReduce").len() >= 5 * round);
            group.iter().for_each(Nccl::abort);
        });
        for member in &group {
            assert_eq!(member.departed(NEVER), Departure::Over);
        }
    }
}

#[test]
fn a_group_given_up_in_peace_does_not_wait_for_ever_to_be_finalized() {
    let fake = Fake::new();
    fake.tell(&["ncclCommFinalize 0 hang"]);
    let deadlines = Deadlines {
        parting: SOON,
        ..PATIENT
    };
    let group = fake.connect(1, [0], deadlines).remove(0).unwrap();
    group.barrier().and_then(Handle::wait).unwrap();
    drop(group);
    until(|| fake.calls_of("ncclCommAbort").len() == 1);
    assert_eq!(fake.calls_of("ncclCommFinalize").len(), 1);
}
