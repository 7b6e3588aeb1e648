//! A group that loses a device, or is aborted for another reason: the survivors go on in a new group, in the same process.
//!
//! The devices are processes of their own: this program again, each driven by lines on its standard input (`abort/device.rs`).
//! Every wait of a case has a deadline (`abort/process.rs`) far below the group's own timeout of 300 s, so a case that
//! ends shows that no operation waited for that timeout. What a case measured, it prints.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and prints what it measured"
)]

#[path = "abort/device.rs"]
mod device;
#[path = "abort/process.rs"]
mod process;

use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use process::{Device, meet, sum};
use rustix::process::Signal;

/// Elements of a tensor: one that fills no buffer of the kernel, and one that no buffer holds.
const SMALL: usize = 4;
const LARGE: usize = 1 << 20;

fn main() {
    if std::env::var_os(process::ROLE).is_some() {
        device::obey();
        return;
    }
    let mut arguments = Arguments::from_args();
    // Times are measured, and the devices of one case use every core.
    arguments.test_threads = Some(1);
    let cases: [(&str, fn()); 5] = [
        ("a_killed_device_is_survived", a_killed_device_is_survived),
        ("a_silent_device_is_left_behind", a_silent_device_is_left_behind),
        ("a_pending_operation_is_woken", a_pending_operation_is_woken),
        (
            "abort_at_any_moment_ends_nothing_but_the_group",
            abort_at_any_moment,
        ),
        ("forty_regroups_leave_nothing_behind", forty_regroups),
    ];
    let trials = cases.map(|(name, case)| {
        Trial::test(name, move || {
            case();
            Ok::<(), Failed>(())
        })
    });
    libtest_mimic::run(&arguments, trials.into()).exit();
}

fn a_killed_device_is_survived() {
    for victim in 0..3 {
        let mut devices = Device::start(3);
        let mut before = counts_after_a_first_group(&mut devices);
        before.remove(victim);
        meet(&mut devices);
        loop_all(&mut devices, LARGE);
        let killed = Instant::now();
        devices.remove(victim).signal(Signal::KILL);
        for device in &mut devices {
            let broken = device.await_line("broke");
            assert!(broken.starts_with("broke lost"), "{broken}");
            println!("device {victim} killed: after {:?} {broken:?}", killed.elapsed());
        }
        abort_all(&mut devices);
        for (device, before) in devices.iter_mut().zip(&before) {
            assert_eq!(device.ask("sum 1"), "failed aborted");
            println!("{}", device.ask("drop"));
            assert_eq!(&device.ask(&format!("settle {before}")), before, "left behind");
        }
        meet(&mut devices);
        assert_eq!(sum(&mut devices, &[5, 7]), ["sum 12", "sum 12"]);
        println!("device {victim} killed: new group after {:?}", killed.elapsed());
    }
}

fn a_silent_device_is_left_behind() {
    for victim in 0..3 {
        let mut devices = Device::start(3);
        meet(&mut devices);
        loop_all(&mut devices, LARGE);
        let mut silent = devices.remove(victim);
        silent.stop();
        let woken = abort_all(&mut devices);
        println!("device {victim} stopped in mid-operation: the others woken after {woken:?}");
        for device in &mut devices {
            let broken = device.await_line("broke");
            assert!(broken.starts_with("broke aborted"), "{broken}");
            device.ask("drop");
        }
        meet(&mut devices);
        assert_eq!(sum(&mut devices, &[5, 7]), ["sum 12", "sum 12"]);
        loop_all(&mut devices, LARGE);
        silent.signal(Signal::CONT);
        let broken = silent.await_line("broke");
        assert!(broken.starts_with("broke lost"), "{broken}");
        assert_eq!(silent.ask("sum 1").split(' ').next(), Some("failed"));
        // The new group never noticed: its loop ends because it is told to, without a failure.
        for device in &mut devices {
            device.tell("enough");
        }
        for device in &mut devices {
            assert!(device.await_line("broke").starts_with("broke never"));
        }
        assert_eq!(sum(&mut devices, &[1, 2]), ["sum 3", "sum 3"]);
    }
}

/// The silent device never starts the operation, so it is pending for sure; aborted from a second thread.
fn a_pending_operation_is_woken() {
    for n_elements in [SMALL, LARGE] {
        let mut devices = Device::start(3);
        meet(&mut devices);
        let mut silent = devices.remove(1);
        silent.stop();
        for device in &mut devices {
            device.tell(&format!("loop {n_elements}"));
            device.await_line("started");
        }
        let woken = abort_all(&mut devices);
        println!("{n_elements} elements pending: woken after {woken:?}");
        for device in &mut devices {
            assert_eq!(device.await_line("broke"), "broke aborted 0");
            device.ask("drop");
        }
        silent.signal(Signal::CONT);
        assert_eq!(silent.ask("sum 1").split(' ').next(), Some("failed"));
    }
}

fn abort_at_any_moment() {
    const N_ROUNDS: u64 = 50;
    const LATEST: u64 = 60_000; // microseconds
    const APART: u64 = 3_000;
    let mut devices = Device::start(3);
    let mut seeds = Seeds(20_260_731);
    // Before the first operation, and after the last.
    for after in [false, true] {
        meet(&mut devices);
        if after {
            assert_eq!(sum(&mut devices, &[1, 2, 3]), ["sum 6"; 3]);
        }
        abort_all(&mut devices);
        for device in &mut devices {
            assert_eq!(device.ask("sum 1"), "failed aborted");
            device.ask("drop");
        }
    }
    let mut n_done = 0;
    for round in 0..N_ROUNDS {
        meet(&mut devices);
        let n_elements = if round % 2 == 0 { SMALL } else { LARGE };
        let about = seeds.next() % LATEST;
        let moments: Vec<u64> = devices.iter().map(|_| about + seeds.next() % APART).collect();
        for device in &mut devices {
            device.tell(&format!("loop {n_elements}"));
        }
        for (device, moment) in devices.iter_mut().zip(&moments) {
            device.tell(&format!("abort_in {moment}"));
        }
        for device in &mut devices {
            device.await_line("aborted");
            let broken = device.await_line("broke");
            let mut words = broken.split(' ').skip(1);
            let (reason, n) = (words.next().unwrap(), words.next().unwrap());
            assert!(
                ["aborted", "lost"].contains(&reason),
                "round {round}, {moments:?}: {broken}"
            );
            n_done += n.parse::<u64>().unwrap();
            assert_eq!(device.ask("sum 1"), "failed aborted", "round {round}");
            device.ask("drop");
        }
    }
    println!("{N_ROUNDS} rounds: {n_done} operations done before the aborts");
}

fn forty_regroups() {
    let mut devices = Device::start(2);
    let before = counts_after_a_first_group(&mut devices);
    let started = Instant::now();
    for round in 0..40 {
        meet(&mut devices);
        assert_eq!(
            sum(&mut devices, &[round, 1]),
            [format!("sum {}", round + 1), format!("sum {}", round + 1)]
        );
        // Every second group ends in peace.
        if round % 2 == 0 {
            loop_all(&mut devices, SMALL);
            abort_all(&mut devices);
        }
        for (device, before) in devices.iter_mut().zip(&before) {
            device.ask("drop");
            assert_eq!(&device.ask(&format!("settle {before}")), before, "round {round}");
        }
    }
    println!(
        "40 regroups in {:?}; {before:?} before and after",
        started.elapsed()
    );
}

/// Threads and descriptors of each device. The first group of a process makes some that stay: libuv's pipe for signals.
fn counts_after_a_first_group(devices: &mut [Device]) -> Vec<String> {
    meet(devices);
    for device in &mut *devices {
        device.ask("drop");
    }
    devices.iter_mut().map(|device| device.ask("count")).collect()
}

/// All devices all-reduce in a loop, and have done so once at least.
fn loop_all(devices: &mut [Device], n_elements: usize) {
    for device in &mut *devices {
        device.tell(&format!("loop {n_elements}"));
    }
    for device in devices {
        device.await_line("looping");
    }
}

/// Aborts on all devices; how long it took until each loop, if any, was over.
fn abort_all(devices: &mut [Device]) -> Duration {
    let begun = Instant::now();
    for device in &mut *devices {
        device.tell("abort_in 0");
    }
    for device in devices {
        device.await_line("aborted");
        device.ask("rest");
    }
    begun.elapsed()
}

/// SplitMix64.
struct Seeds(u64);

impl Seeds {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}
