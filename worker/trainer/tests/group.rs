//! Groups of GPUs as trainers make them: the id that goes round, holds at each moment, and ends that do not end. The GPUs and NCCL are
//! the fakes of m2t-torch's tests; devices are threads, each with a membership of its own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(
    dead_code,
    reason = "the fakes of another crate's tests, which use more of them"
)]
#[path = "../../torch/tests/nccl/fake.rs"]
mod fake;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use fake::Fake;
use m2t_common::machine_link::StartFrom;
use m2t_common::placement::{Homes, Placement};
use m2t_common::recipe::resolve;
use m2t_common::recipe::written::Source;
use m2t_common::report::{News, Rendezvous};
use m2t_common::trainer_link::Start;
use m2t_common::{DeviceId, DeviceIndex, Generation};
use m2t_torch::TorchError;
use m2t_torch::collective::{Collective, Op};
use m2t_trainer::group;
use m2t_trainer::hardware::Hardware;
use m2t_trainer::leave::Leave;
use m2t_trainer::link::Link;
use m2t_trainer::membership::Membership;
use tch::Tensor;

/// The shortest that recipes may name: a wait that should not end must not take long here.
const EXPERIMENT: &str = "world = 4\nbatch = 8\n[run]\nheartbeat_timeout = \"100ms\"\n";

/// The daemons and the coordinator between the devices of one generation: what the first device meets by goes to all others.
struct Devices {
    starts: Vec<Start>,
    memberships: Vec<Arc<Membership>>,
    hardware: Hardware,
    heard: Mutex<Vec<Rendezvous>>,
}

impl Link for Devices {
    fn tell(&self, generation: Generation, news: News) {
        let News::Rendezvous { rendezvous } = news else {
            panic!("{news:?}");
        };
        assert_eq!(generation, self.starts[0].generation);
        self.heard.lock().unwrap().push(rendezvous.clone());
        for membership in &self.memberships[1..] {
            membership.meet_at(rendezvous.clone());
        }
    }
}

impl Devices {
    fn new(hardware: &Hardware, size: u32) -> Self {
        let id = |index| DeviceId {
            machine: "here".parse().unwrap(),
            index: DeviceIndex(index),
        };
        let devices: Vec<DeviceId> = (0..size).map(id).collect();
        let source = Source::Experiment {
            name: "group",
            toml: EXPERIMENT,
        };
        let start = Start {
            generation: Generation(7),
            device: id(0),
            placement: Placement::place(4, &devices, &Homes::new()).unwrap(),
            recipe: resolve(source, &[], None).unwrap(),
            data: PathBuf::new(),
            n_samples: 8,
            output: PathBuf::new(),
            start_from: StartFrom::Initial,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        let start_of = |device: &DeviceId| Start {
            device: device.clone(),
            ..start.clone()
        };
        Self {
            starts: devices.iter().map(start_of).collect(),
            memberships: devices
                .iter()
                .map(|_| Arc::new(Membership::new(start.generation)))
                .collect(),
            hardware: hardware.clone(),
            heard: Mutex::default(),
        }
    }

    fn join(&self, device: usize) -> Result<Arc<dyn Collective>, Leave> {
        group::join(
            &self.starts[device],
            self,
            &self.memberships[device],
            &self.hardware,
        )
    }

    /// On a thread a device.
    fn on_all<T: Send>(&self, body: impl Fn(usize) -> T + Sync) -> Vec<T> {
        let body = &body;
        thread::scope(|scope| {
            let devices: Vec<_> = (0..self.starts.len())
                .map(|device| scope.spawn(move || body(device)))
                .collect();
            devices.into_iter().map(|device| device.join().unwrap()).collect()
        })
    }
}

fn sum(group: &dyn Collective, value: i64) -> Result<i64, TorchError> {
    let tensor = Tensor::from_slice(&[value]);
    group.all_reduce(&tensor, Op::Sum)?.wait()?;
    Ok(tensor.int64_value(&[0]))
}

fn until(condition: impl Fn() -> bool) {
    while !condition() {
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn gpus_meet_by_an_id_in_hexadecimal_and_shares_of_the_cpu_by_an_address() {
    let fake = Fake::new();
    let gpu = Hardware::Gpu(fake.backend());
    for hardware in [&gpu, &Hardware::Cpu] {
        let devices = Devices::new(hardware, 3);
        let sums = devices.on_all(|device| {
            let group = devices
                .join(device)
                .map_err(|leave| format!("{leave:?}"))
                .unwrap();
            assert_eq!((group.index(), group.size()), (device, 3));
            let total = sum(&*group, 1 << device).unwrap();
            group.barrier().unwrap().wait().unwrap();
            devices.memberships[device].leave().unwrap();
            total
        });
        assert_eq!(sums, [7; 3]);
        let heard = devices.heard.into_inner().unwrap();
        let [Rendezvous(bytes)] = &heard[..] else {
            panic!("{heard:?}");
        };
        let is_hex = bytes.len() == 256 && bytes.iter().all(u8::is_ascii_hexdigit);
        assert_eq!(is_hex, matches!(hardware, Hardware::Gpu(_)), "{heard:?}");
    }
    assert_eq!(fake.calls_of("ncclCommInitRankConfig").len(), 3);
    assert_eq!(fake.calls_of("ncclCommFinalize").len(), 3);
}

#[test]
fn a_gpu_alone_needs_no_nccl() {
    let fake = Fake::new();
    let devices = Devices::new(&Hardware::Gpu(fake.backend()), 1);
    let group = devices.join(0).map_err(|leave| format!("{leave:?}")).unwrap();
    assert_eq!(sum(&*group, 5).unwrap(), 5);
    assert!(fake.calls().is_empty(), "{:?}", fake.calls());
}

#[test]
fn a_hold_ends_the_wait_for_gpus_that_do_not_come() {
    let fake = Fake::new();
    let devices = Devices::new(&Hardware::Gpu(fake.backend()), 2);
    thread::scope(|scope| {
        let first = scope.spawn(|| devices.join(0).map(drop));
        until(|| fake.calls_of("ncclCommInitRankConfig").len() == 1);
        devices.memberships[0].hold();
        assert!(matches!(first.join().unwrap(), Err(Leave::Held)));
    });
    assert_eq!(fake.calls_of("ncclCommAbort").len(), 1);
}

#[test]
fn a_hold_ends_an_operation_and_the_same_processes_meet_anew() {
    let fake = Fake::new();
    let hardware = Hardware::Gpu(fake.backend());
    let devices = Devices::new(&hardware, 3);
    let groups = devices.on_all(|device| {
        devices
            .join(device)
            .map_err(|leave| format!("{leave:?}"))
            .unwrap()
    });
    // The third never starts it.
    thread::scope(|scope| {
        let waiters: Vec<_> = groups[..2]
            .iter()
            .map(|group| scope.spawn(|| sum(&**group, 1)))
            .collect();
        until(|| fake.calls_of("ncclAllReduce").len() == 2);
        for membership in &devices.memberships {
            membership.hold();
        }
        for waiter in waiters {
            assert!(matches!(waiter.join().unwrap(), Err(TorchError::Aborted)));
        }
    });
    for (group, start) in groups.iter().zip(&devices.starts) {
        group::departed(start, &**group)
            .map_err(|leave| format!("{leave:?}"))
            .unwrap();
    }
    assert_eq!(fake.calls_of("ncclCommAbort").len(), 3);
    let fewer = Devices::new(&hardware, 2);
    let sums = fewer.on_all(|device| sum(&*fewer.join(device).ok().unwrap(), 1).unwrap());
    assert_eq!(sums, [2, 2]);
}

#[test]
fn a_gpu_that_is_not_let_go_ends_its_process_and_a_peer_that_does_not_come_does_not() {
    let fake = Fake::new();
    let hardware = Hardware::Gpu(fake.backend());
    let devices = Devices::new(&hardware, 2);
    let groups = devices.on_all(|device| devices.join(device).ok().unwrap());
    fake.tell(&["ncclCommAbort 0 hang"]);
    devices.memberships[0].hold();
    let end = group::departed(&devices.starts[0], &*groups[0]);
    let Err(Leave::Failed(error)) = end else {
        panic!("{end:?}");
    };
    assert!(
        error
            .to_string()
            .starts_with("the group of generation 7 was aborted and did not let go"),
        "{error}"
    );
    fake.tell(&["ncclCommGetAsyncError 0 state 6", "ncclCommAbort 0 hang"]);
    let stuck = Devices::new(&hardware, 2).join(0).map(drop);
    let Err(Leave::Failed(error)) = stuck else {
        panic!("{stuck:?}");
    };
    assert!(error.to_string().contains("end this process"), "{error}");
    fake.tell(&["ncclCommInitRankConfig 0 fail 2"]);
    let broken = Devices::new(&hardware, 2).join(0).map(drop);
    let Err(Leave::Broken(reason)) = broken else {
        panic!("{broken:?}");
    };
    assert!(
        reason.starts_with("device 0 of 2 cannot connect with the others: NCCL: "),
        "{reason}"
    );
}

#[test]
fn an_id_that_is_none_fails_in_words() {
    let fake = Fake::new();
    let devices = Devices::new(&Hardware::Gpu(fake.backend()), 2);
    devices.memberships[1].meet_at(Rendezvous(b"10.0.0.1:4711".to_vec()));
    let end = devices.join(1).map(drop);
    let Err(Leave::Failed(error)) = end else {
        panic!("{end:?}");
    };
    let text = format!("{error:#}");
    assert!(
        text.contains("10.0.0.1:4711") && text.contains("256 hexadecimal digits"),
        "{text}"
    );
}
