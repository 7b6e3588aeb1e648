//! Runs a case on one device, or on several in processes of their own that meet over Gloo.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use m2t_common::Rank;
use m2t_common::gpu::GpuName;
use m2t_common::machine_link::Boundary;
use m2t_common::recipe::{Dtype, Reduction};
use m2t_torch::collective::{Collective, Gloo, Meeting, Solo, Timeouts};
use m2t_trainer::hardware::{Company, Hardware};
use m2t_trainer::model::Network;
use m2t_trainer::state::{State, kind};
use m2t_trainer::step::Trainer;
use serde::{Deserialize, Serialize};

use crate::case::{Case, worse};

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub dtype: Dtype,
    pub reduction: Reduction,
    pub n_steps: usize,
}

/// What a run gave, and how far it is from the fixture.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub worst_step: f64,
    pub worst_state: f64,
    pub worst_entry: String,
    pub digest: String,
}

/// Ways to place the ranks of a case: for each device, its ranks.
pub(crate) struct Ways(String, Vec<Vec<Rank>>);

impl Ways {
    pub(crate) fn of(ranks: u32) -> Vec<Self> {
        let all = || (0..ranks).map(Rank);
        let mut ways = vec![Self("one device".to_owned(), vec![all().collect()])];
        if ranks > 1 {
            ways.push(Self(
                format!("{ranks} devices"),
                all().map(|rank| vec![rank]).collect(),
            ));
        }
        if ranks > 2 {
            ways.push(Self(
                "2 uneven devices".to_owned(),
                vec![all().skip(ranks as usize - 1).collect(), Vec::new()],
            ));
            let (first, rest): (Vec<Rank>, Vec<Rank>) = all().partition(|rank| rank.0 + 1 < ranks);
            ways.last_mut().unwrap().1 = vec![first, rest];
        }
        ways
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }
}

const DEVICE: &str = "M2T_PARITY_DEVICE";
const JOB: &str = "M2T_PARITY_JOB";
const PATIENCE: Duration = Duration::from_secs(300);
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    path: PathBuf,
    settings: Settings,
    ranks: Vec<Rank>,
    place: (usize, usize),
    meet: Option<SocketAddr>,
}

/// What this process is to do, if it was started as one device of several.
pub(crate) fn job_from_parent() -> Option<Job> {
    std::env::var(JOB)
        .ok()
        .map(|job| serde_json::from_str(&job).expect("the parent writes valid jobs"))
}

pub(crate) fn run(path: &Path, settings: Settings, Ways(_, devices): &Ways) -> Outcome {
    if let [ranks] = devices.as_slice() {
        return train(
            path,
            settings,
            ranks,
            &(Arc::new(Solo::default()) as Arc<dyn Collective>),
        );
    }
    let size = devices.len();
    let mut meet = None;
    let mut processes: Vec<(Child, BufReader<std::process::ChildStdout>)> = Vec::new();
    for (index, ranks) in devices.iter().enumerate() {
        let job = Job {
            path: path.to_owned(),
            settings,
            ranks: ranks.clone(),
            place: (index, size),
            meet,
        };
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(JOB, serde_json::to_string(&job).unwrap())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        if index == 0 {
            meet = Some(line(&mut lines));
        }
        processes.push((child, lines));
    }
    let outcomes: Vec<Outcome> = processes
        .into_iter()
        .map(|(mut child, mut lines)| {
            let outcome = line(&mut lines);
            assert!(child.wait().unwrap().success());
            outcome
        })
        .collect();
    assert!(
        outcomes.iter().all(|o| o.digest == outcomes[0].digest),
        "devices hold different states: {outcomes:?}"
    );
    outcomes.into_iter().next().unwrap()
}

fn line<T: for<'de> Deserialize<'de>>(lines: &mut impl BufRead) -> T {
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|e| panic!("a device said {line:?}: {e}"))
}

pub(crate) fn be_one_of_several(job: &Job) {
    let say = |value: serde_json::Value| {
        println!("{value}");
        std::io::stdout().flush().unwrap();
    };
    let meeting = if let Some(address) = job.meet {
        Meeting::join(address, PATIENCE).unwrap()
    } else {
        let meeting = Meeting::open(HERE, PATIENCE).unwrap();
        say(serde_json::to_value(meeting.address()).unwrap());
        meeting
    };
    let group: Arc<dyn Collective> = Arc::new(
        Gloo::connect(
            meeting,
            HERE,
            job.place,
            Timeouts {
                connecting: PATIENCE,
                operation: PATIENCE,
            },
        )
        .unwrap(),
    );
    let outcome = train(&job.path, job.settings, &job.ranks, &group);
    say(serde_json::to_value(outcome).unwrap());
}

/// What the steps run on: the CPU, or the GPU of `M2T_PARITY_DEVICE=cuda:0`. Several devices of a case share it, and meet over Gloo there, too.
pub(crate) fn hardware() -> &'static Hardware {
    static HARDWARE: OnceLock<Hardware> = OnceLock::new();
    HARDWARE.get_or_init(|| {
        let name = std::env::var(DEVICE).ok().map(|device| {
            let number = device
                .strip_prefix("cuda:")
                .and_then(|number| number.parse().ok());
            number.unwrap_or_else(|| panic!("{DEVICE}={device} is not of the form cuda:0"))
        });
        let name = name.map(GpuName::Number);
        Hardware::named(name.as_ref(), Company::Others).unwrap_or_else(|error| panic!("{error:#}"))
    })
}

fn train(path: &Path, settings: Settings, ranks: &[Rank], group: &Arc<dyn Collective>) -> Outcome {
    m2t_torch::set_threads(1);
    let case = Case::read(path);
    let recipe = case.recipe(settings.dtype, settings.reduction);
    let network = Network::new(&recipe.model);
    let kind = kind(&recipe);
    let flat = case
        .parameters(&network.layout, kind)
        .to_device(hardware().device());
    let state = State::from_parameters(&recipe, Arc::new(network.form()), ranks, &flat).unwrap();
    let mut trainer = Trainer::new(&recipe, ranks, state, Arc::clone(group)).unwrap();
    let schedule = case.schedule();
    let mut worst_step = 0.0;
    for step in 0..settings.n_steps {
        let batch: Vec<_> = ranks
            .iter()
            .map(|&rank| (rank, case.views(step, rank, kind)))
            .collect();
        let committed = trainer.step(&batch, &schedule, Boundary::GoOn).unwrap();
        // float32 is held to its losses: a gradient's norm over the smallest groups takes float32's digits.
        let error = match settings.dtype {
            Dtype::Float64 => case.error_of_step(step, &committed),
            Dtype::Float32 | Dtype::Bfloat16 => case.error_of_losses(step, &committed),
        };
        worst_step = worse(worst_step, error);
    }
    let snapshot = trainer.state.snapshot(case.ranks(), &**group).unwrap();
    // The fixture's state is that after the last step.
    let (worst_state, worst_entry) = if settings.n_steps == case.steps() {
        case.error_of_state(&snapshot)
    } else {
        (0.0, "none".to_owned())
    };
    Outcome {
        worst_step,
        worst_state,
        worst_entry,
        digest: snapshot.digest(),
    }
}
