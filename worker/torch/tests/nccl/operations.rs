//! What a group computes, and in which order it calls NCCL and the driver.

use std::thread;

use m2t_torch::TorchError;
use m2t_torch::collective::nccl::Deadlines;
use m2t_torch::collective::{Collective, Handle, Nccl, Op};
use tch::{Device, Kind, Tensor};

use crate::fake::{Fake, PATIENT, SOON};

/// Does the same on all members at once, each on a thread of its own.
pub(crate) fn on_all<T: Send>(group: &[Nccl], body: impl Fn(&Nccl) -> T + Sync) -> Vec<T> {
    let body = &body;
    thread::scope(|scope| {
        let members: Vec<_> = group
            .iter()
            .map(|member| scope.spawn(move || body(member)))
            .collect();
        members.into_iter().map(|member| member.join().unwrap()).collect()
    })
}

pub(crate) fn sum(member: &Nccl, value: i64) -> Result<i64, TorchError> {
    let tensor = Tensor::from_slice(&[value]);
    member.all_reduce(&tensor, Op::Sum)?.wait()?;
    Ok(tensor.int64_value(&[0]))
}

#[test]
fn members_combine_every_kind_of_elements() {
    let fake = Fake::new();
    let group = fake.group(3);
    on_all(&group, |member| {
        let i = member.index() as i64;
        assert_eq!(member.size(), 3);
        for kind in [
            Kind::Uint8,
            Kind::Int,
            Kind::Int64,
            Kind::Float,
            Kind::Double,
            Kind::BFloat16,
        ] {
            let ramp = || Tensor::arange(1000, (Kind::Int64, Device::Cpu)).remainder(7i64);
            let of = |member: i64| (ramp() + 10 * member).to_kind(kind);
            let (total, largest) = (of(i), of(i));
            member.all_reduce(&total, Op::Sum).unwrap().wait().unwrap();
            member.all_reduce(&largest, Op::Max).unwrap().wait().unwrap();
            let sum = (ramp() * 3i64 + 30i64).to_kind(kind);
            assert!(total.equal(&sum), "sum of {kind:?}");
            assert!(largest.equal(&of(2)), "largest of {kind:?}");
            for root in 0..3 {
                let given = of(i);
                member.broadcast(&given, root).unwrap().wait().unwrap();
                assert!(given.equal(&of(root as i64)), "{kind:?} of {root}");
            }
        }
        let nothing = Tensor::zeros([0], (Kind::Float, Device::Cpu));
        member.all_reduce(&nothing, Op::Sum).unwrap().wait().unwrap();
        member.barrier().unwrap().wait().unwrap();
        member.working().unwrap();
    });
}

#[test]
fn calls_come_in_the_order_of_the_rules() {
    let fake = Fake::new();
    let group = fake.group(1);
    assert_eq!(sum(&group[0], 5).unwrap(), 5);
    let given = Tensor::from_slice(&[1.5f32, 2.5]);
    group[0].broadcast(&given, 0).unwrap().wait().unwrap();
    drop(group);
    let expected = [
        "ncclGetUniqueId",
        "cuStreamCreate 1 flags 1",
        "ncclCommInitRankConfig 0 of 1",
        // Stream 0 is libtorch's: before, the group's waits for it, and after it for the group's.
        "cuEventRecord on 0",
        "cuStreamWaitEvent of 0 on 1",
        "ncclAllReduce 0: 1 of type 4, op 0, stream 1",
        "cuEventRecord on 1",
        "cuStreamWaitEvent of 1 on 0",
        "cuEventRecord on 0",
        "cuStreamWaitEvent of 0 on 1",
        "ncclBroadcast 0: 2 of type 7, root 0, stream 1",
        "cuEventRecord on 1",
        "cuStreamWaitEvent of 1 on 0",
        // In peace the peers are let have what they were sent; then it is aborted, and never destroyed.
        "ncclCommFinalize 0",
        "ncclCommAbort 0",
        "cuStreamDestroy 1",
    ];
    assert_eq!(fake.calls(), expected);
}

/// NCCL takes its time after each call; a call before it is done is a violation.
#[test]
fn no_call_begins_before_the_last_is_done() {
    let fake = Fake::new();
    fake.tell(&["busy * for 5"]);
    let group = fake.group(3);
    on_all(&group, |member| {
        let tensors: Vec<Tensor> = (0..10).map(|k| Tensor::from_slice(&[k, 1])).collect();
        let started: Vec<Handle> = tensors
            .iter()
            .map(|tensor| member.all_reduce(tensor, Op::Sum).unwrap())
            .collect();
        for handle in started {
            handle.wait().unwrap();
        }
        for (k, tensor) in tensors.iter().enumerate() {
            assert_eq!(Vec::<i64>::try_from(tensor).unwrap(), [3 * k as i64, 3]);
        }
    });
    drop(group);
    assert_eq!(fake.calls_of("ncclAllReduce").len(), 30);
    assert_eq!(fake.calls_of("ncclCommFinalize").len(), 3);
}

/// The first operations lag, so that later ones are launched while they are on the way.
#[test]
fn operations_are_launched_while_earlier_ones_are_on_the_way() {
    let fake = Fake::new();
    let group = fake.group(2);
    fake.tell(&["ncclAllReduce 1 lag 200"]);
    on_all(&group, |member| {
        let tensors: Vec<Tensor> = (0..4).map(|k| Tensor::from_slice(&[k])).collect();
        let started: Vec<Handle> = tensors
            .iter()
            .map(|tensor| member.all_reduce(tensor, Op::Sum).unwrap())
            .collect();
        for (k, handle) in started.into_iter().enumerate() {
            handle.wait().unwrap();
            assert_eq!(tensors[k].int64_value(&[0]), 2 * k as i64);
        }
    });
    drop(group);
    // All four of a member were launched before libtorch was let wait for the end of the first.
    let calls = fake.calls();
    let position = |start: &str| calls.iter().position(|call| call.starts_with(start)).unwrap();
    let last_launch = calls
        .iter()
        .rposition(|call| call.starts_with("ncclAllReduce 0"))
        .unwrap();
    assert!(
        last_launch < position("cuStreamWaitEvent of 1 on 0").min(position("cuStreamWaitEvent of 2 on 0"))
    );
}

#[test]
fn a_handle_that_is_dropped_leaves_its_operation_running() {
    let fake = Fake::new();
    let group = fake.group(2);
    fake.tell(&["ncclAllReduce * lag 50"]);
    let tensors = on_all(&group, |member| {
        let tensor = Tensor::from_slice(&[1 + member.index() as i64; 100]);
        drop(member.all_reduce(&tensor, Op::Sum).unwrap());
        tensor
    });
    // The end of a group waits for what was started, and so does each member's.
    thread::scope(|scope| {
        for member in group {
            scope.spawn(move || drop(member));
        }
    });
    for tensor in tensors {
        assert_eq!(tensor.min().int64_value(&[]), 3);
        assert_eq!(tensor.max().int64_value(&[]), 3);
    }
}

#[test]
fn tensors_that_nccl_cannot_take_are_refused_and_the_group_goes_on() {
    let fake = Fake::new();
    let group = fake.group(1);
    let half = Tensor::zeros([4], (Kind::Half, Device::Cpu));
    let across = Tensor::zeros([4, 4], (Kind::Float, Device::Cpu))
        .transpose(0, 1)
        .narrow(0, 0, 2);
    for (tensor, fault) in [(half, "kind Half"), (across, "not contiguous")] {
        let error = group[0]
            .all_reduce(&tensor, Op::Sum)
            .map(drop)
            .unwrap_err()
            .to_string();
        assert!(error.contains(fault), "{error}");
    }
    assert_eq!(sum(&group[0], 1).unwrap(), 1);
}

#[test]
fn an_operation_past_its_deadline_breaks_the_group() {
    let fake = Fake::new();
    let deadlines = Deadlines {
        operation: SOON,
        ..PATIENT
    };
    let group: Vec<Nccl> = fake
        .connect(2, 0..2, deadlines)
        .into_iter()
        .map(Result::unwrap)
        .collect();
    // The other never starts it.
    let error = sum(&group[0], 1).unwrap_err().to_string();
    assert_eq!(error, "NCCL: waited 300ms for an operation to end");
    assert_eq!(group[0].working().unwrap_err().to_string(), error);
    assert_eq!(sum(&group[0], 1).unwrap_err().to_string(), error);
    fake.tell(&["busy 1 for 3600000"]);
    let error = sum(&group[1], 1).unwrap_err().to_string();
    assert_eq!(error, "NCCL: waited 300ms for NCCL to take a call");
}

#[test]
fn a_call_that_fails_breaks_the_group_with_the_words_of_nccl() {
    let fake = Fake::new();
    let group = fake.group(1);
    fake.tell(&["ncclBroadcast 0 fail 3"]);
    let tensor = Tensor::from_slice(&[1i64]);
    let error = group[0]
        .broadcast(&tensor, 0)
        .and_then(Handle::wait)
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "NCCL: ncclBroadcast: an error of the fake: no more is known"
    );
    assert_eq!(group[0].working().unwrap_err().to_string(), error);
}

#[test]
fn an_event_that_fails_breaks_the_group_with_the_words_of_the_driver() {
    let fake = Fake::new();
    let group = fake.group(1);
    fake.tell(&["cuEventQuery * fail 700"]);
    let error = sum(&group[0], 1).unwrap_err().to_string();
    assert_eq!(error, "cuEventQuery: an error of the fake (CUDA error 700)");
    fake.tell(&["cuEventRecord * fail 999"]);
    drop(group);
    let group = fake.group(1);
    let error = sum(&group[0], 1).unwrap_err().to_string();
    assert_eq!(
        error,
        "cuEventRecord: an error that the driver has no words for (CUDA error 999)"
    );
}
