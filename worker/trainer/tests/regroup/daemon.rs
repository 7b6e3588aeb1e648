//! A daemon as far as trainers can tell: it starts them, speaks the link's lines, and hears what they say with the time.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use m2t_common::machine_link::{Boundary, StartFrom};
use m2t_common::placement::{Homes, Placement};
use m2t_common::recipe::written::Source;
use m2t_common::recipe::{Recipe, resolve};
use m2t_common::report::{News, Rendezvous};
use m2t_common::trainer_link::{Prepare, Said, Start, ToTrainer};
use m2t_common::{DeviceId, DeviceIndex, Generation, Step};
use m2t_data::synth::{Synth, generate};
use tempfile::TempDir;

pub(crate) const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// For any one answer: far above what a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

const EXPERIMENT: &str = "arch = \"resnet18\"\nchannels = 4\nstem = \"small\"\nhidden_dim = 16\nlow_dim = 8\npixels = 32\n\
    world = 3\nbatch = 12\nlr256 = 0.5\nsteps = 24\nwarmup_epochs = 0\nreduction = \"exact\"\n";

/// A run: its recipe, its data, its output.
pub(crate) struct Run {
    folder: TempDir,
    pub(crate) recipe: Recipe,
    n_samples: u64,
}

impl Run {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = generate(&Synth {
            classes: 2,
            train_per_class: 60,
            val_per_class: 1,
            pixels: 48,
            ..Synth::new(folder.path().join("data"))
        });
        let source = Source::Experiment {
            name: "regroup",
            toml: EXPERIMENT,
        };
        Self {
            folder,
            recipe: resolve(source, &[], None).unwrap(),
            n_samples: made.unwrap().train,
        }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data/train")
    }

    pub(crate) fn checkpoints(&self) -> usize {
        let entries = std::fs::read_dir(self.folder.path().join("output/checkpoints"));
        entries.map_or(0, Iterator::count)
    }

    pub(crate) fn start(
        &self,
        generation: u64,
        placement: &Placement,
        device: u32,
        from: &StartFrom,
    ) -> Start {
        Start {
            generation: Generation(generation),
            device: id(device),
            placement: placement.clone(),
            recipe: self.recipe.clone(),
            data: self.data(),
            n_samples: self.n_samples,
            output: self.folder.path().join("output"),
            start_from: from.clone(),
            address: HERE,
        }
    }
}

pub(crate) fn id(device: u32) -> DeviceId {
    DeviceId {
        machine: "here".parse().unwrap(),
        index: DeviceIndex(device),
    }
}

/// All ranks on these devices, in their order.
pub(crate) fn place(devices: &[u32]) -> Placement {
    let devices: Vec<DeviceId> = devices.iter().map(|&device| id(device)).collect();
    Placement::place(3, &devices, &Homes::new()).unwrap()
}

pub(crate) fn donor(device: u32, step: Step) -> StartFrom {
    StartFrom::Donor {
        device: id(device),
        step,
        distrusted: BTreeSet::new(),
    }
}

/// A trainer process.
pub(crate) struct Device {
    pub(crate) number: u32,
    process: Child,
    lines: UnixStream,
    heard: Receiver<(Instant, Said)>,
}

impl Device {
    /// Starts the program; it is told nothing yet.
    pub(crate) fn spawn(run: &Run, number: u32) -> Self {
        let socket = tempfile::Builder::new()
            .prefix("link")
            .make_in(run.folder.path(), |path| UnixListener::bind(path))
            .unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_m2t-trainer"))
            .args(["run", "--link"])
            .arg(socket.path())
            .spawn()
            .unwrap();
        let (connected, connection) = channel();
        let (said, heard) = channel();
        std::thread::spawn(move || {
            let (stream, _) = socket.as_file().accept().unwrap();
            connected.send(stream.try_clone().unwrap()).unwrap();
            for line in BufReader::new(stream).lines() {
                let Ok(line) = line else { return };
                let line: Said = serde_json::from_str(&line).unwrap();
                if said.send((Instant::now(), line)).is_err() {
                    return;
                }
            }
        });
        Self {
            number,
            process,
            lines: connection.recv_timeout(PATIENCE).expect("the trainer connects"),
            heard,
        }
    }

    /// Starts the program and waits until it is warm.
    pub(crate) fn warm(run: &Run, number: u32) -> Self {
        let mut device = Self::spawn(run, number);
        device.tell(&ToTrainer::Prepare(Box::new(Prepare {
            recipe: run.recipe.clone(),
            data: run.data(),
        })));
        assert_eq!(device.hear(), (Generation(0), News::Warm));
        device
    }

    pub(crate) fn tell(&mut self, line: &ToTrainer) {
        let mut text = serde_json::to_vec(line).unwrap();
        text.push(b'\n');
        self.lines.write_all(&text).unwrap();
    }

    pub(crate) fn start(&mut self, start: Start) {
        self.tell(&ToTrainer::Start(Box::new(start)));
    }

    pub(crate) fn join(&mut self, generation: u64, rendezvous: &Rendezvous) {
        self.tell(&ToTrainer::Join {
            generation: Generation(generation),
            rendezvous: rendezvous.clone(),
        });
    }

    pub(crate) fn hold(&mut self, generation: u64) {
        let generation = Generation(generation);
        self.tell(&ToTrainer::Hold { generation });
    }

    pub(crate) fn boundary(&mut self, generation: u64, boundary: Boundary) {
        let generation = Generation(generation);
        self.tell(&ToTrainer::Boundary { generation, boundary });
    }

    /// What it says next.
    pub(crate) fn hear(&mut self) -> (Generation, News) {
        let (_, said) = self.hear_when();
        (said.generation, said.news)
    }

    fn hear_when(&mut self) -> (Instant, Said) {
        let heard = self.heard.recv_timeout(PATIENCE);
        heard.unwrap_or_else(|error| panic!("device {} says nothing: {error}", self.number))
    }

    /// The next it says that is neither a step nor a checkpoint, and when.
    pub(crate) fn hear_event(&mut self) -> (Instant, Said) {
        loop {
            let (when, said) = self.hear_when();
            if !matches!(said.news, News::Stepped(_) | News::Checkpointed(_)) {
                return (when, said);
            }
        }
    }

    /// Waits until it committed this step.
    pub(crate) fn hear_step(&mut self, step: u64) {
        loop {
            match self.hear() {
                (_, News::Stepped(report)) if report.step.0 >= step => return,
                (_, News::Stepped(_) | News::Checkpointed(_)) => {}
                (generation, news) => panic!("generation {generation}: {news:?} and not step {step}"),
            }
        }
    }

    /// Waits until it says that it is out of the generation with a state; its step, why, and when.
    pub(crate) fn hear_held(&mut self, generation: u64) -> (Step, Option<String>, Instant) {
        let (when, said) = self.hear_event();
        let News::Held { step, broken } = said.news else {
            panic!("device {}: {said:?} and not held", self.number);
        };
        assert_eq!(said.generation, Generation(generation));
        (step, broken, when)
    }

    /// Waits for the end of the run and of the process; the digest.
    pub(crate) fn hear_finished(mut self) -> String {
        let (_, said) = self.hear_event();
        let News::Finished { state_digest, .. } = said.news else {
            panic!("device {}: {said:?} and not finished", self.number);
        };
        assert!(self.process.wait().unwrap().success());
        state_digest
    }

    /// Waits for the end of the process at a boundary; the step.
    pub(crate) fn hear_stopped(mut self) -> Step {
        let (_, said) = self.hear_event();
        let News::Stopped { step } = said.news else {
            panic!("device {}: {said:?} and not stopped", self.number);
        };
        assert!(self.process.wait().unwrap().success());
        step
    }

    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts a generation on these devices, in the order of their numbers, and brings them together; the step they are ready at,
/// and how long that took.
pub(crate) fn meet(run: &Run, generation: u64, devices: &mut [Device], from: &StartFrom) -> (Step, Duration) {
    let began = Instant::now();
    begin(run, generation, devices, from);
    (gather(generation, devices), began.elapsed())
}

/// Starts a generation; its devices have not met.
pub(crate) fn begin(run: &Run, generation: u64, devices: &mut [Device], from: &StartFrom) {
    let numbers: Vec<u32> = devices.iter().map(|device| device.number).collect();
    let placement = place(&numbers);
    for device in devices.iter_mut() {
        device.start(run.start(generation, &placement, device.number, from));
    }
}

/// Brings the devices of a generation together; the step they are ready at.
pub(crate) fn gather(generation: u64, devices: &mut [Device]) -> Step {
    if let [first, others @ ..] = devices
        && !others.is_empty()
    {
        let rendezvous = hear_rendezvous(first);
        for device in others {
            device.join(generation, &rendezvous);
        }
    }
    let ready = devices.iter_mut().map(|device| {
        let (_, said) = device.hear_event();
        assert_eq!(said.generation, Generation(generation));
        match said.news {
            News::Ready { step } => step,
            other => panic!("device {}: {other:?} and not ready", device.number),
        }
    });
    let steps: Vec<Step> = ready.collect();
    assert!(steps.iter().all(|step| *step == steps[0]), "{steps:?}");
    steps[0]
}

pub(crate) fn hear_rendezvous(device: &mut Device) -> Rendezvous {
    match device.hear_event().1.news {
        News::Rendezvous { rendezvous } => rendezvous,
        other => panic!("{other:?} and not the meeting point"),
    }
}
