//! A coordinator in this process, model daemons of one device, and what a trainer would write.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use m2t_common::machine_link::{
    DataFacts, DeviceFacts, FromMachine, Group, Hello, Outcome, ToMachine, Welcome, Work,
};
use m2t_common::manifest::{CheckpointName, FORMAT, FileEntry, MANIFEST_FILE, Manifest, STATE_FILE};
use m2t_common::report::{CheckpointCost, CheckpointReport, News, Rendezvous, StepReport};
use m2t_common::status::Status;
use m2t_common::{DeviceIndex, Generation, Step};
use m2t_coordinator::{Args, Listeners, open, serve};
use m2t_proto::wire;
use m2t_proto::wire::coordinator_client::CoordinatorClient;
use m2t_proto::wire::status_client::StatusClient;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

/// Nothing here takes as long; a test that waits longer has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A coordinator that serves in this process.
pub(crate) struct Running {
    pub(crate) address: String,
    /// The page's address.
    pub(crate) page: SocketAddr,
    pub(crate) stop: mpsc::Sender<()>,
    pub(crate) ended: JoinHandle<anyhow::Result<Outcome>>,
}

pub(crate) fn args(output: &Path, more: &[&str]) -> Args {
    let experiment = output.with_extension("toml");
    let toml = "world = 2\nbatch = 8\nsteps = 6\nwarmup_epochs = 0\n[run]\nkeep_checkpoints = 2\nheartbeat_timeout = \"2s\"";
    fs::write(&experiment, toml).unwrap();
    let fixed = [
        "m2t-coordinator",
        "--experiment",
        experiment.to_str().unwrap(),
        "--output",
        output.to_str().unwrap(),
        "--insecure",
    ];
    Args::parse_from(fixed.iter().chain(more))
}

pub(crate) async fn start(output: &Path) -> Running {
    let args = args(output, &["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    let opened = open(&args).unwrap();
    let listeners = Listeners::bind(&args).await.unwrap();
    let address = listeners.grpc.local_addr().unwrap();
    let page = listeners.page.as_ref().unwrap().local_addr().unwrap();
    let greeting = opened.greeting(&listeners).unwrap();
    assert!(
        greeting.ends_with(&format!("page at http://{page}/\nlistening on {address}")),
        "{greeting}"
    );
    let (stop, stopped) = mpsc::channel(1);
    Running {
        address: format!("http://{address}"),
        page,
        stop,
        ended: tokio::spawn(serve(opened, listeners, stopped)),
    }
}

impl Running {
    pub(crate) async fn outcome(self) -> Outcome {
        tokio::time::timeout(PATIENCE, self.ended)
            .await
            .unwrap()
            .unwrap()
            .unwrap()
    }

    pub(crate) async fn status(&self) -> Status {
        let mut client: StatusClient<Channel> = StatusClient::connect(self.address.clone()).await.unwrap();
        client
            .get(wire::GetRequest {})
            .await
            .unwrap()
            .into_inner()
            .try_into()
            .unwrap()
    }
}

/// A model daemon of one device.
pub(crate) struct Daemon {
    pub(crate) say: mpsc::Sender<wire::FromMachine>,
    pub(crate) hear: Streaming<wire::ToMachine>,
}

impl Daemon {
    pub(crate) async fn attach(running: &Running, machine: &str) -> Self {
        Self::attach_as(running, machine, env!("CARGO_PKG_VERSION")).await
    }

    /// A daemon of a version of its own.
    pub(crate) async fn attach_as(running: &Running, machine: &str, version: &str) -> Self {
        let mut client = CoordinatorClient::connect(running.address.clone()).await.unwrap();
        let (say, messages) = mpsc::channel(64);
        let hello = FromMachine::Hello(Hello {
            machine: machine.parse().unwrap(),
            version: version.into(),
            instance: 1,
            devices: vec![DeviceFacts {
                index: DeviceIndex(0),
                kind: "cpu".into(),
            }],
            address: "127.0.0.1".parse().unwrap(),
            trainers: BTreeMap::new(),
        });
        say.send(hello.into()).await.unwrap();
        let hear = client
            .attach(ReceiverStream::new(messages))
            .await
            .unwrap()
            .into_inner();
        Self { say, hear }
    }

    pub(crate) async fn join(running: &Running, machine: &str) -> (Self, Welcome) {
        let mut daemon = Self::attach(running, machine).await;
        let Some(ToMachine::Welcome(welcome)) = daemon.next().await else {
            panic!("no welcome")
        };
        daemon.say(FromMachine::Ready(facts())).await;
        daemon.news(Generation(0), News::Warm).await;
        (daemon, *welcome)
    }

    pub(crate) async fn say(&self, message: FromMachine) {
        self.say.send(message.into()).await.unwrap();
    }

    pub(crate) async fn news(&self, generation: Generation, news: News) {
        let device = DeviceIndex(0);
        self.say(FromMachine::Device {
            generation,
            device,
            news,
        })
        .await;
    }

    pub(crate) async fn next(&mut self) -> Option<ToMachine> {
        let message = tokio::time::timeout(PATIENCE, self.hear.next()).await.unwrap()?;
        Some(message.unwrap().try_into().unwrap())
    }

    /// Waits for an assignment to train that `wanted` likes.
    pub(crate) async fn group(&mut self, wanted: impl Fn(Generation, &Group) -> bool) -> (Generation, Group) {
        loop {
            match self.next().await {
                Some(ToMachine::Assign(assignment)) => {
                    if let Work::Train(group) = assignment.work
                        && wanted(assignment.generation, &group)
                    {
                        return (assignment.generation, group);
                    }
                }
                Some(_) => {}
                None => panic!("the stream ended"),
            }
        }
    }

    /// Waits for the dismissal, and for the end of the stream after it.
    pub(crate) async fn dismissed(&mut self) -> Outcome {
        loop {
            match self.next().await {
                Some(ToMachine::Dismiss(outcome)) => {
                    assert_eq!(self.next().await, None, "a dismissal is the last message");
                    return outcome;
                }
                Some(_) => {}
                None => panic!("the stream ended without a dismissal"),
            }
        }
    }
}

pub(crate) fn facts() -> DataFacts {
    DataFacts {
        n_samples: 24,
        fingerprint: "f".into(),
    }
}

/// Writes a checkpoint as a trainer would.
pub(crate) fn write_checkpoint(welcome: &Welcome, step: u64) -> CheckpointReport {
    let name = CheckpointName::new(Step(step));
    let folder = welcome.output.join("checkpoints").join(name.as_str());
    fs::create_dir_all(&folder).unwrap();
    let state = format!("state {step}");
    fs::write(folder.join(STATE_FILE), &state).unwrap();
    let manifest = Manifest {
        format: FORMAT,
        step: Step(step),
        n_samples: 24,
        recipe_digest: welcome.recipe.digest(),
        recipe: welcome.recipe.clone(),
        state_digest: format!("d{step}"),
        files: vec![FileEntry {
            name: STATE_FILE.into(),
            size: state.len() as u64,
            blake3: blake3::hash(state.as_bytes()).to_hex().to_string(),
        }],
    };
    fs::write(folder.join(MANIFEST_FILE), serde_json::to_vec(&manifest).unwrap()).unwrap();
    CheckpointReport {
        name,
        step: Step(step),
        state_digest: format!("d{step}"),
        cost: CheckpointCost::default(),
    }
}

pub(crate) fn report(step: u64) -> StepReport {
    StepReport {
        step: Step(step),
        loss: 1.0 / (step as f64 + 2.0),
        loss_by_rank: vec![0.25, 0.75],
        gradient_norm: 3.0,
        duration: Duration::from_millis(10),
        data_wait: Duration::from_millis(1),
        bottleneck: None,
        replaced: vec![],
        state_digest: None,
        samples: vec![],
    }
}

/// Two daemons that train: a hosts rank 0, b rank 1.
pub(crate) struct Pair {
    pub(crate) a: Daemon,
    pub(crate) b: Daemon,
    pub(crate) welcome: Welcome,
    pub(crate) generation: Generation,
    pub(crate) group: Group,
}

impl Pair {
    pub(crate) async fn join(running: &Running) -> Self {
        let (mut a, welcome) = Daemon::join(running, "a").await;
        let (mut b, _) = Daemon::join(running, "b").await;
        let (generation, group) = a.group(|_, _| true).await;
        let rendezvous = Rendezvous(b"here".to_vec());
        a.news(
            generation,
            News::Rendezvous {
                rendezvous: rendezvous.clone(),
            },
        )
        .await;
        let (_, met) = b.group(|_, group| group.rendezvous.is_some()).await;
        assert_eq!(met.rendezvous, Some(rendezvous));
        let step = group.start_from.step();
        for daemon in [&a, &b] {
            daemon.news(generation, News::Ready { step }).await;
        }
        Self {
            a,
            b,
            welcome,
            generation,
            group,
        }
    }

    pub(crate) async fn say(&self, news: &News) {
        for daemon in [&self.a, &self.b] {
            daemon.news(self.generation, news.clone()).await;
        }
    }

    pub(crate) async fn steps(&self, steps: std::ops::RangeInclusive<u64>) {
        for step in steps {
            self.say(&News::Stepped(report(step))).await;
        }
    }

    pub(crate) async fn checkpoint(&self, step: u64) {
        let report = write_checkpoint(&self.welcome, step);
        self.a.news(self.generation, News::Checkpointed(report)).await;
    }
}

pub(crate) fn lines(output: &Path, file: &str) -> Vec<String> {
    fs::read_to_string(output.join(file))
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

pub(crate) fn metric_steps(output: &Path) -> Vec<u64> {
    let step = |line: &String| {
        serde_json::from_str::<serde_json::Value>(line).unwrap()["step"]
            .as_u64()
            .unwrap()
    };
    lines(output, "metrics.jsonl").iter().map(step).collect()
}

pub(crate) fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out");
    (folder, output)
}

pub(crate) fn committed(status: &Status) -> Option<Step> {
    status.progress.as_ref().map(|progress| progress.step)
}

/// Watches the status until it is as wanted.
pub(crate) async fn wait_until(running: &Running, wanted: impl Fn(&Status) -> bool) -> Status {
    let mut client: StatusClient<Channel> = StatusClient::connect(running.address.clone()).await.unwrap();
    let mut stream = client.watch(wire::WatchRequest {}).await.unwrap().into_inner();
    loop {
        let status = tokio::time::timeout(PATIENCE, stream.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        let status = Status::try_from(status).unwrap();
        if wanted(&status) {
            return status;
        }
    }
}
