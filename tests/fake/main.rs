//! The fake trainer as its daemon sees it: the test plays the daemon of every device, and the coordinator.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command};

use m2t_common::machine_link::{Boundary, StartFrom};
use m2t_common::recipe::resolve;
use m2t_common::recipe::written::Source;
use m2t_common::report::{News, Rendezvous};
use m2t_common::trainer_link::{Prepare, Said, Start, ToTrainer};
use m2t_common::{DeviceId, DeviceIndex, Generation, Placement, Recipe, Step};
use m2t_tests::fake::{CONTROL_VARIABLE, Control, Fault, State};
use tempfile::TempDir;

const N_SAMPLES: u64 = 100_000;

struct Trainer {
    process: Child,
    link: UnixStream,
    lines: std::io::Lines<BufReader<UnixStream>>,
}

impl Drop for Trainer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Trainer {
    /// The trainer of device `index`, warm.
    fn warm(folder: &Path, index: u32) -> Self {
        let socket = folder.join(format!("{index}.sock"));
        let listener = UnixListener::bind(&socket).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_m2t-fake-trainer"))
            .args(["run", "--link"])
            .arg(&socket)
            .env(CONTROL_VARIABLE, folder)
            .spawn()
            .unwrap();
        let (link, _) = listener.accept().unwrap();
        let lines = BufReader::new(link.try_clone().unwrap()).lines();
        let mut trainer = Self { process, link, lines };
        let (recipe, data) = (recipe(), folder.to_owned());
        trainer.tell(&ToTrainer::Prepare(Box::new(Prepare { recipe, data })));
        trainer.expect(0, &News::Warm);
        trainer
    }

    fn tell(&mut self, line: &ToTrainer) {
        let mut bytes = serde_json::to_vec(line).unwrap();
        bytes.push(b'\n');
        self.link.write_all(&bytes).unwrap();
    }

    fn hear(&mut self) -> Said {
        let line = self.lines.next().expect("the trainer says more").unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn expect(&mut self, generation: u64, news: &News) {
        let said = self.hear();
        assert_eq!((said.generation.0, &said.news), (generation, news));
    }

    /// Passes over steps and checkpoints to the first word that is neither.
    fn hear_last(&mut self) -> News {
        loop {
            match self.hear().news {
                News::Stepped(_) | News::Checkpointed(_) => {}
                other => return other,
            }
        }
    }

    fn hear_until_step(&mut self, step: u64) {
        while !matches!(self.hear().news, News::Stepped(report) if report.step.0 >= step) {}
    }
}

fn recipe() -> Recipe {
    resolve(Source::Preset("8x_2080ti_100e"), &[], Some(4)).unwrap()
}

fn device(index: u32) -> DeviceId {
    DeviceId {
        machine: "a".parse().unwrap(),
        index: DeviceIndex(index),
    }
}

fn donor(index: u32, step: u64) -> StartFrom {
    StartFrom::Donor {
        device: device(index),
        step: Step(step),
        distrusted: BTreeSet::new(),
    }
}

/// Starts the trainers `members` in `generation` and lets them meet; all are ready.
fn start(folder: &Path, trainers: &mut [Trainer], members: &[u32], generation: u64, start_from: &StartFrom) {
    let devices: Vec<DeviceId> = members.iter().map(|index| device(*index)).collect();
    let placement = Placement::place(4, &devices, &std::collections::BTreeMap::new()).unwrap();
    let generation = Generation(generation);
    for index in members {
        trainers[*index as usize].tell(&ToTrainer::Start(Box::new(Start {
            generation,
            device: device(*index),
            placement: placement.clone(),
            recipe: recipe(),
            data: folder.to_owned(),
            n_samples: N_SAMPLES,
            output: folder.to_owned(),
            start_from: start_from.clone(),
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        })));
    }
    if members.len() > 1 {
        let News::Rendezvous { rendezvous } = trainers[members[0] as usize].hear().news else {
            panic!("the first device makes the meeting point");
        };
        for index in members {
            join(&mut trainers[*index as usize], generation, &rendezvous);
        }
    }
    for index in members {
        let step = start_from.step();
        trainers[*index as usize].expect(generation.0, &News::Ready { step });
    }
}

fn join(trainer: &mut Trainer, generation: Generation, rendezvous: &Rendezvous) {
    let rendezvous = rendezvous.clone();
    trainer.tell(&ToTrainer::Join {
        generation,
        rendezvous,
    });
}

fn tell_boundary(trainer: &mut Trainer, generation: u64, boundary: Boundary) {
    let generation = Generation(generation);
    trainer.tell(&ToTrainer::Boundary { generation, boundary });
}

#[test]
fn the_state_is_the_same_whatever_becomes_of_the_group() {
    let folder = TempDir::new().unwrap();
    let (path, control) = (folder.path(), Control::new(folder.path()));
    let mut trainers: Vec<Trainer> = (0..3).map(|index| Trainer::warm(path, index)).collect();

    // Held in mid-step: each says where it stands, once more when asked again, and goes on living.
    control.hold(7);
    start(path, &mut trainers, &[0, 1, 2], 1, &StartFrom::Initial);
    for trainer in &mut trainers {
        trainer.hear_until_step(7);
        for _ in 0..2 {
            let generation = Generation(1);
            trainer.tell(&ToTrainer::Hold { generation });
        }
    }
    let held = |step| News::Held {
        step: Step(step),
        broken: None,
    };
    for trainer in &mut trainers {
        trainer.expect(1, &held(7));
        trainer.expect(1, &held(7));
    }

    // A smaller group goes on, and one of it dies: the other is told by its broken star, and lives.
    control.hold(20);
    control.fault("a:1", 13, Fault::Die);
    start(path, &mut trainers, &[0, 1], 2, &donor(0, 7));
    let News::Held {
        step,
        broken: Some(_),
    } = trainers[0].hear_last()
    else {
        panic!("the group broke");
    };
    assert_eq!(step, Step(13));

    // The third is six steps behind; both stop at a boundary, with what the donor gave.
    start(path, &mut trainers, &[0, 2], 3, &donor(0, 13));
    for index in [0, 2] {
        trainers[index].hear_until_step(20);
    }
    for index in [0, 2] {
        tell_boundary(&mut trainers[index], 3, Boundary::Hold);
    }
    for index in [0, 2] {
        assert_eq!(trainers[index].hear_last(), held(20));
    }

    // And stop for good, with a checkpoint of the state that an undisturbed run has.
    start(path, &mut trainers, &[0, 2], 4, &donor(2, 20));
    tell_boundary(&mut trainers[2], 3, Boundary::Stop); // Of another generation: dropped.
    control.hold(30);
    for index in [0, 2] {
        trainers[index].hear_until_step(30);
    }
    for index in [0, 2] {
        tell_boundary(&mut trainers[index], 4, Boundary::Stop);
    }
    let News::Checkpointed(report) = trainers[0].hear().news else {
        panic!("a stop ends with a checkpoint");
    };
    assert_eq!(report.state_digest, State::at(&recipe(), 30).digest());
    for index in [0, 2] {
        trainers[index].expect(4, &News::Stopped { step: Step(30) });
        assert!(trainers[index].process.wait().unwrap().success());
    }
}

#[test]
fn one_that_waits_for_its_group_leaves_it_and_has_no_state_to_keep() {
    let folder = TempDir::new().unwrap();
    let mut trainers: Vec<Trainer> = (0..2).map(|index| Trainer::warm(folder.path(), index)).collect();
    let placement = Placement::place(4, &[device(0), device(1)], &std::collections::BTreeMap::new()).unwrap();
    let generation = Generation(5);
    trainers[1].tell(&ToTrainer::Start(Box::new(Start {
        generation,
        device: device(1),
        placement,
        recipe: recipe(),
        data: folder.path().to_owned(),
        n_samples: N_SAMPLES,
        output: folder.path().to_owned(),
        start_from: donor(0, 3),
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
    })));
    trainers[1].tell(&ToTrainer::Hold { generation });
    trainers[1].expect(5, &News::Warm);
    // A donor that has nothing to give has failed.
    start_alone_without_state(&mut trainers[0], folder.path());
}

fn start_alone_without_state(trainer: &mut Trainer, folder: &Path) {
    let placement = Placement::place(4, &[device(0)], &std::collections::BTreeMap::new()).unwrap();
    trainer.tell(&ToTrainer::Start(Box::new(Start {
        generation: Generation(6),
        device: device(0),
        placement,
        recipe: recipe(),
        data: folder.to_owned(),
        n_samples: N_SAMPLES,
        output: folder.to_owned(),
        start_from: donor(0, 3),
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
    })));
    let News::Failed { reason } = trainer.hear().news else {
        panic!("it has nothing to give");
    };
    assert!(reason.contains("give its state at step 3"), "{reason}");
    assert_eq!(trainer.process.wait().unwrap().code(), Some(1));
}
