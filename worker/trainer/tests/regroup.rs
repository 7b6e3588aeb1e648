//! Trainers that outlive generations: real processes under a daemon that is played (`regroup/daemon.rs`).
//!
//! Devices are killed, held at each kind of wait, grown and shrunk; the digest of the final state is that of a run in which
//! nothing happened. A case that needs a device of which it decides each operation plays it itself, in this process.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints what it measured"
)]

#[path = "regroup/daemon.rs"]
mod daemon;

use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use daemon::{Device, HERE, Run, begin, donor, gather, hear_rendezvous, meet, place};
use m2t_common::machine_link::{Boundary, StartFrom};
use m2t_common::report::{News, Rendezvous};
use m2t_common::{Generation, Rank, Step};
use m2t_torch::collective::{Collective, Gloo, Meeting, Op, Timeouts};
use m2t_trainer::state::State;
use tch::Tensor;

/// What a device may take to answer on a busy machine; far below any timeout.
const AT_ONCE: Duration = Duration::from_secs(1);

/// The digest of the run when nothing happens.
fn calm() -> String {
    let run = Run::new();
    let mut device = [Device::warm(&run, 0)];
    meet(&run, 1, &mut device, &StartFrom::Initial);
    let [device] = device;
    device.hear_finished()
}

#[test]
fn a_killed_device_is_survived_shrunk_and_replaced_without_a_trace() {
    let calm = calm();
    for victim in 0..3 {
        let run = Run::new();
        let mut devices: Vec<Device> = (0..3).map(|number| Device::warm(&run, number)).collect();
        let (_, took) = meet(&run, 1, &mut devices, &StartFrom::Initial);
        println!("initial: three ready after {took:?}");
        for device in &mut devices {
            device.hear_step(3);
        }
        let killed = Instant::now();
        devices.remove(victim).kill();
        let mut steps = Vec::new();
        for device in &mut devices {
            let (step, broken, when) = device.hear_held(1);
            let after = when - killed;
            println!(
                "device {victim} killed: {} held after {after:?}: {broken:?}",
                device.number
            );
            assert!(broken.is_some() && after < AT_ONCE);
            steps.push((step, device.number));
        }
        let (newest, of) = *steps.iter().max().unwrap();
        assert!(steps.iter().all(|(step, _)| newest.0 - step.0 <= 1), "{steps:?}");

        let (ready, took) = meet(&run, 2, &mut devices, &donor(of, newest));
        println!("shrunk: two ready after {took:?}");
        assert_eq!(ready, newest);
        for device in &mut devices {
            device.hear_step(newest.0 + 2);
        }
        devices[0].boundary(2, Boundary::Hold);
        let held: Vec<Step> = devices.iter_mut().map(|device| device.hear_held(2).0).collect();
        assert_eq!(held[0], held[1]);

        let newcomer = u32::try_from(victim).unwrap();
        devices.insert(victim, Device::warm(&run, newcomer));
        let giver = (newcomer + 1) % 3;
        let (ready, took) = meet(&run, 3, &mut devices, &donor(giver, held[0]));
        println!("grown: three ready after {took:?}");
        assert_eq!(ready, held[0]);
        for device in devices {
            assert_eq!(device.hear_finished(), calm);
        }
    }
}

#[test]
fn a_hold_in_the_midst_of_steps_is_answered_at_once() {
    let run = Run::new();
    let mut devices: Vec<Device> = (0..3).map(|number| Device::warm(&run, number)).collect();
    meet(&run, 1, &mut devices, &StartFrom::Initial);
    devices[0].hear_step(3);
    let began = Instant::now();
    for device in &mut devices {
        device.hold(1);
    }
    let held: Vec<_> = devices.iter_mut().map(|device| device.hear_held(1)).collect();
    let newest = held.iter().map(|(step, ..)| *step).max().unwrap();
    for (step, _, when) in &held {
        println!("held at {step} after {:?}", *when - began);
        assert!(newest.0 - step.0 <= 1 && *when - began < AT_ONCE);
    }
}

#[test]
fn by_hand_a_device_trains_alone_and_prints_its_news() {
    let run = Run::new();
    let by_hand = |devices: &[u32]| {
        let start = run.start(1, &place(devices), 0, &StartFrom::Initial);
        let file = run.data().join("start.json");
        std::fs::write(&file, serde_json::to_vec(&start).unwrap()).unwrap();
        let mut program = Command::new(env!("CARGO_BIN_EXE_m2t-trainer"));
        program.arg("run").arg(file).output().unwrap()
    };
    let done = by_hand(&[0]);
    assert!(done.status.success());
    let lines = String::from_utf8(done.stdout).unwrap();
    let last: News = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    let state_digest = calm();
    assert_eq!(
        last,
        News::Finished {
            step: Step(24),
            state_digest
        }
    );
    let refused = by_hand(&[0, 1]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("trains alone"));
}

#[test]
fn a_device_that_is_behind_gets_the_donors_state() {
    let calm = calm();
    let run = Run::new();
    let mut devices: Vec<Device> = (0..2).map(|number| Device::warm(&run, number)).collect();
    // Each trains alone for a while, and the second one is further.
    for (i, step) in [(0, 2), (1, 6)] {
        meet(&run, 1, &mut devices[i..=i], &StartFrom::Initial);
        devices[i].hear_step(step);
        devices[i].hold(1);
    }
    let steps: Vec<Step> = devices.iter_mut().map(|device| device.hear_held(1).0).collect();
    assert_ne!(steps[0], steps[1]);
    let (ready, _) = meet(&run, 2, &mut devices, &donor(1, steps[1]));
    assert_eq!(ready, steps[1]);
    for device in devices {
        assert_eq!(device.hear_finished(), calm);
    }
}

#[test]
fn a_hold_while_meeting_is_answered_at_once() {
    let run = Run::new();
    let (first, second) = (place(&[0, 1]), place(&[1, 2]));
    let mut devices = [Device::warm(&run, 1)];
    meet(&run, 1, &mut devices, &StartFrom::Initial);
    devices[0].hold(1);
    let (kept, _, _) = devices[0].hear_held(1);
    let [mut device] = devices;
    let answer = |device: &mut Device, generation| {
        let began = Instant::now();
        device.hold(generation);
        let (step, broken, when) = device.hear_held(generation);
        println!("held after {:?}", when - began);
        assert!(when - began < AT_ONCE);
        assert_eq!((step, broken), (kept, None));
    };
    // It made the meeting point, and nobody comes.
    device.start(run.start(3, &second, 1, &donor(1, kept)));
    hear_rendezvous(&mut device);
    answer(&mut device, 3);
    // It waits for the meeting point.
    device.start(run.start(4, &first, 1, &donor(1, kept)));
    answer(&mut device, 4);
    // It is at the meeting point, and nobody answers there.
    let silent = TcpListener::bind((HERE, 0)).unwrap();
    device.start(run.start(5, &first, 1, &donor(1, kept)));
    device.join(
        5,
        &Rendezvous(silent.local_addr().unwrap().to_string().into_bytes()),
    );
    let _connection = silent.accept().unwrap();
    answer(&mut device, 5);
    // None of it is in the way of a group that works.
    let mut devices = [device];
    let (ready, _) = meet(&run, 6, &mut devices, &donor(1, kept));
    assert_eq!(ready, kept);
    // And none of it when the process ends.
    let [device] = devices;
    device.hear_finished();
}

/// A device of this process in a group of two with the trainer.
fn peer(meeting: Meeting, index: usize) -> Gloo {
    {
        let minute = Duration::from_secs(60);
        Gloo::connect(
            meeting,
            HERE,
            (index, 2),
            Timeouts {
                connecting: minute,
                operation: minute,
            },
        )
    }
    .unwrap()
}

fn somebody_needs_it(group: &Gloo, own: f64) -> f64 {
    let flag = Tensor::from_slice(&[own]);
    group.all_reduce(&flag, Op::Max).unwrap().wait().unwrap();
    flag.double_value(&[0])
}

#[test]
fn a_hold_in_the_broadcast_leaves_its_receiver_warm() {
    let run = Run::new();
    let mut device = Device::warm(&run, 1);
    let meeting = Meeting::open(HERE, Duration::from_secs(60)).unwrap();
    device.start(run.start(1, &place(&[0, 1]), 1, &donor(0, Step(5))));
    device.join(1, &Rendezvous(meeting.address().to_string().into_bytes()));
    let group = peer(meeting, 0);
    assert_eq!(somebody_needs_it(&group, 0.0), 1.0);
    // The first of several vectors; the others never come.
    let state = State::initial(&run.recipe, &[Rank(0)], tch::Device::Cpu).unwrap();
    group.broadcast(&state.student.flat, 0).unwrap().wait().unwrap();
    device.hold(1);
    assert_eq!(device.hear(), (Generation(1), News::Warm));
    // It repeats where it stands for who asks again, and can begin anew.
    device.hold(1);
    assert_eq!(device.hear(), (Generation(1), News::Warm));
    let mut devices = [device];
    meet(&run, 2, &mut devices, &StartFrom::Initial);
    devices[0].hear_step(1);
}

#[test]
fn a_hold_in_the_broadcast_leaves_its_donor_held() {
    let run = Run::new();
    let mut devices = [Device::warm(&run, 0)];
    meet(&run, 1, &mut devices, &StartFrom::Initial);
    devices[0].hear_step(2);
    devices[0].hold(1);
    let (step, broken, _) = devices[0].hear_held(1);
    assert!(step >= Step(2) && broken.is_none());
    let [mut device] = devices;
    device.start(run.start(2, &place(&[0, 1]), 0, &donor(0, step)));
    let Rendezvous(point) = hear_rendezvous(&mut device);
    let point = String::from_utf8(point).unwrap().parse().unwrap();
    let group = peer(Meeting::join(point, Duration::from_secs(60)).unwrap(), 1);
    assert_eq!(somebody_needs_it(&group, 1.0), 1.0);
    device.hold(2);
    loop {
        match device.hear() {
            (Generation(2), News::Ready { step: ready }) => assert_eq!(ready, step),
            said => {
                assert_eq!(said, (Generation(2), News::Held { step, broken: None }));
                break;
            }
        }
    }
}

#[test]
fn a_group_held_at_a_boundary_stops_at_one_step_without_a_checkpoint() {
    let run = Run::new();
    let mut devices: Vec<Device> = (0..3).map(|number| Device::warm(&run, number)).collect();
    meet(&run, 4, &mut devices, &StartFrom::Initial);
    for device in &mut devices {
        // Of no generation it is in.
        device.hold(3);
        device.boundary(5, Boundary::Stop);
    }
    devices[2].hear_step(2);
    // One device's wish is enough, and a weaker one afterwards is none.
    devices[1].boundary(4, Boundary::Hold);
    devices[1].boundary(4, Boundary::GoOn);
    let held: Vec<_> = devices.iter_mut().map(|device| device.hear_held(4)).collect();
    println!("held at {:?}", held[0].0);
    for (step, broken, _) in &held {
        assert_eq!((*step, broken), (held[0].0, &None));
    }
    assert_eq!(run.checkpoints(), 0);

    // A generation in which one wishes to hold and another to stop, both before the first step: the stop wins everywhere.
    let step = held[0].0;
    begin(&run, 5, &mut devices, &donor(1, step));
    devices[0].hold(4);
    devices[1].boundary(5, Boundary::Stop);
    devices[2].boundary(5, Boundary::Hold);
    gather(5, &mut devices);
    for device in devices {
        assert_eq!(device.hear_stopped(), step.next());
    }
    assert_eq!(run.checkpoints(), 1);
}

#[test]
fn a_hold_is_answered_while_the_disk_hangs() {
    let run = Run::new();
    let mut devices = [Device::warm(&run, 0)];
    // Whoever opens a pipe that nobody writes to waits for ever.
    let images: Vec<_> = std::fs::read_dir(run.data())
        .unwrap()
        .flat_map(|class| std::fs::read_dir(class.unwrap().path()).unwrap())
        .map(|image| image.unwrap().path())
        .collect();
    let aside = |image: &std::path::Path| image.with_extension("aside");
    for image in &images {
        std::fs::rename(image, aside(image)).unwrap();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, image, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    }
    meet(&run, 1, &mut devices, &StartFrom::Initial);
    let began = Instant::now();
    devices[0].hold(1);
    let (step, broken, when) = devices[0].hear_held(1);
    println!("held after {:?}", when - began);
    assert!(when - began < AT_ONCE);
    assert_eq!((step, broken), (Step(0), None));
    for image in &images {
        std::fs::rename(aside(image), image).unwrap();
    }
    meet(&run, 2, &mut devices, &donor(0, Step(0)));
    let [device] = devices;
    device.hear_finished();
}

#[test]
fn a_donor_without_the_state_fails_and_says_so() {
    let run = Run::new();
    let mut device = Device::warm(&run, 0);
    device.start(run.start(1, &place(&[0]), 0, &donor(0, Step(7))));
    let (generation, news) = device.hear();
    let News::Failed { reason } = news else {
        panic!("{news:?} and not failed");
    };
    assert_eq!(generation, Generation(1));
    assert!(reason.contains("step 7") && reason.contains("none"), "{reason}");
}
