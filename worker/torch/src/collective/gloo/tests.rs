//! Devices as threads of one process: what a group computes. Lost and silent peers are in `tests/abort.rs`.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

use tch::{Device, Kind};

use super::*;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PATIENCE: Duration = Duration::from_secs(20);

/// Three devices as threads of one process: c10d does not mind.
fn group_of_three<T: Send>(body: impl Fn(Gloo) -> T + Sync) -> Vec<T> {
    let first = Meeting::open(HERE, PATIENCE).unwrap();
    let address = first.address();
    thread::scope(|scope| {
        let body = &body;
        let mut meetings = vec![first];
        meetings.extend((1..3).map(|_| Meeting::join(address, PATIENCE).unwrap()));
        let devices: Vec<_> = meetings
            .into_iter()
            .enumerate()
            .map(|(i, meeting)| {
                scope.spawn(move || {
                    body(
                        Gloo::connect(
                            meeting,
                            HERE,
                            (i, 3),
                            Timeouts {
                                connecting: PATIENCE,
                                operation: PATIENCE,
                            },
                        )
                        .unwrap(),
                    )
                })
            })
            .collect();
        devices.into_iter().map(|device| device.join().unwrap()).collect()
    })
}

#[test]
fn three_devices_sum_find_the_largest_and_hand_round() {
    let results = group_of_three(|group| {
        let i = group.index() as i64;
        let sum = Tensor::from_slice(&[1i64 << 60, i]);
        group.all_reduce(&sum, Op::Sum).unwrap().wait().unwrap();
        let largest = Tensor::from_slice(&[i as f64, -(i as f64), f64::INFINITY]);
        group.all_reduce(&largest, Op::Max).unwrap().wait().unwrap();
        let given = Tensor::from_slice(&[10.0 * i as f32]);
        group.broadcast(&given, 2).unwrap().wait().unwrap();
        (
            Vec::<i64>::try_from(sum).unwrap(),
            Vec::<f64>::try_from(largest).unwrap(),
            given.double_value(&[0]),
        )
    });
    for result in results {
        assert_eq!(result, (vec![3 << 60, 3], vec![2.0, 0.0, f64::INFINITY], 20.0));
    }
}

#[test]
fn tensors_of_any_length_are_summed_to_equal_bits() {
    const MESSAGE: i64 = 1 << 18;
    for n in [0, 1, 2, 3, 7, MESSAGE + 1, 3 * MESSAGE, 20 * MESSAGE + 5] {
        let results = group_of_three(|group| {
            let i = group.index() as i64;
            let integers = Tensor::arange(n, (Kind::Int64, Device::Cpu)) * (i + 1);
            let floats = Tensor::arange(n, (Kind::Float, Device::Cpu)).sin() * (0.1 + i as f64);
            group.all_reduce(&integers, Op::Sum).unwrap().wait().unwrap();
            group.all_reduce(&floats, Op::Sum).unwrap().wait().unwrap();
            group.barrier().unwrap().wait().unwrap();
            (integers, floats)
        });
        let sum = Tensor::arange(n, (Kind::Int64, Device::Cpu)) * 6;
        for (integers, floats) in &results {
            assert!(integers.equal(&sum), "{n} elements");
            assert!(floats.equal(&results[0].1), "{n} elements");
        }
    }
}

#[test]
fn a_tensor_reaches_all_from_any_root() {
    let results = group_of_three(|group| {
        (0..3)
            .map(|root| {
                let tensor = Tensor::full([100_000], 10 * group.index() as i64, (Kind::Int, Device::Cpu));
                group.broadcast(&tensor, root).unwrap().wait().unwrap();
                (tensor.min().int64_value(&[]), tensor.max().int64_value(&[]))
            })
            .collect::<Vec<_>>()
    });
    assert_eq!(results, vec![vec![(0, 0), (10, 10), (20, 20)]; 3]);
}

#[test]
fn a_lost_device_breaks_the_operation_of_the_others() {
    let errors = group_of_three(|group| {
        if group.index() == 1 {
            return None; // leaves: its sockets close
        }
        let tensor = Tensor::ones([1 << 20], (Kind::Float, Device::Cpu));
        let broken = (0..50).find_map(|_| group.all_reduce(&tensor, Op::Sum).and_then(Handle::wait).err());
        Some(
            broken
                .expect("an operation without all devices cannot succeed")
                .to_string(),
        )
    });
    assert_eq!(errors.iter().flatten().count(), 2, "{errors:?}");
}

#[test]
fn a_meeting_nobody_opened_is_an_error_in_time() {
    let nobody: SocketAddr = "127.0.0.1:1".parse().unwrap();
    assert!(Meeting::join(nobody, Duration::from_millis(200)).is_err());
}
