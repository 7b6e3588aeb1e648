//! The shell in this process, over real sockets, with model daemons: journal, output folder, streams, status, exit.
//!
//! Not here: processes and signals; the `cluster` tests have those.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use m2t_common::machine_link::{
    DataFacts, DeviceFacts, FromMachine, Group, Hello, Outcome, ToMachine, Welcome, Work,
};
use m2t_common::manifest::{CheckpointName, FORMAT, FileEntry, MANIFEST_FILE, Manifest, STATE_FILE};
use m2t_common::report::{CheckpointReport, News, Rendezvous, StepReport};
use m2t_common::status::{PhaseName, Status};
use m2t_common::{DeviceIndex, Generation, Step};
use m2t_coordinator::{Args, Refused, open, serve};
use m2t_proto::wire;
use m2t_proto::wire::coordinator_client::CoordinatorClient;
use m2t_proto::wire::status_client::StatusClient;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

/// Nothing here takes as long; a test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A coordinator that serves in this process.
struct Running {
    address: String,
    stop: mpsc::Sender<()>,
    ended: JoinHandle<anyhow::Result<Outcome>>,
}

fn args(output: &Path, more: &[&str]) -> Args {
    let experiment = output.with_extension("toml");
    let toml = "world = 2\nbatch = 8\nsteps = 6\nwarmup_epochs = 0\n[run]\nkeep_checkpoints = 2\nheartbeat_timeout = \"2s\"";
    fs::write(&experiment, toml).unwrap();
    let fixed = [
        "m2t-coordinator",
        "--experiment",
        experiment.to_str().unwrap(),
        "--output",
        output.to_str().unwrap(),
    ];
    Args::parse_from(fixed.iter().chain(more))
}

async fn start(output: &Path) -> Running {
    let opened = open(&args(output, &[])).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    assert!(
        opened
            .greeting(address)
            .ends_with(&format!("listening on {address}"))
    );
    let (stop, stopped) = mpsc::channel(1);
    Running {
        address: format!("http://{address}"),
        stop,
        ended: tokio::spawn(serve(opened, listener, stopped)),
    }
}

impl Running {
    async fn outcome(self) -> Outcome {
        tokio::time::timeout(PATIENCE, self.ended)
            .await
            .unwrap()
            .unwrap()
            .unwrap()
    }

    async fn status(&self) -> Status {
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
struct Daemon {
    say: mpsc::Sender<wire::FromMachine>,
    hear: Streaming<wire::ToMachine>,
}

impl Daemon {
    async fn attach(running: &Running, machine: &str) -> Self {
        let mut client = CoordinatorClient::connect(running.address.clone()).await.unwrap();
        let (say, messages) = mpsc::channel(64);
        let hello = FromMachine::Hello(Hello {
            machine: machine.parse().unwrap(),
            version: env!("CARGO_PKG_VERSION").into(),
            instance: 1,
            devices: vec![DeviceFacts {
                index: DeviceIndex(0),
                kind: "cpu".into(),
            }],
            address: "127.0.0.1".parse().unwrap(),
        });
        say.send(hello.into()).await.unwrap();
        let hear = client
            .attach(ReceiverStream::new(messages))
            .await
            .unwrap()
            .into_inner();
        Self { say, hear }
    }

    async fn join(running: &Running, machine: &str) -> (Self, Welcome) {
        let mut daemon = Self::attach(running, machine).await;
        let Some(ToMachine::Welcome(welcome)) = daemon.next().await else {
            panic!("no welcome")
        };
        daemon.say(FromMachine::Ready(facts())).await;
        (daemon, *welcome)
    }

    async fn say(&self, message: FromMachine) {
        self.say.send(message.into()).await.unwrap();
    }

    async fn news(&self, generation: Generation, news: News) {
        let device = DeviceIndex(0);
        self.say(FromMachine::Device {
            generation,
            device,
            news,
        })
        .await;
    }

    async fn next(&mut self) -> Option<ToMachine> {
        let message = tokio::time::timeout(PATIENCE, self.hear.next()).await.unwrap()?;
        Some(message.unwrap().try_into().unwrap())
    }

    /// Waits for an assignment to train that `wanted` likes.
    async fn group(&mut self, wanted: impl Fn(Generation, &Group) -> bool) -> (Generation, Group) {
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
    async fn dismissed(&mut self) -> Outcome {
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

fn facts() -> DataFacts {
    DataFacts {
        n_samples: 24,
        fingerprint: "f".into(),
    }
}

/// Writes a checkpoint as a trainer would.
fn write_checkpoint(welcome: &Welcome, step: u64) -> CheckpointReport {
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
    }
}

fn report(step: u64) -> StepReport {
    StepReport {
        step: Step(step),
        loss: 1.0 / (step as f64 + 2.0),
        loss_by_rank: vec![0.25, 0.75],
        gradient_norm: 3.0,
        duration: Duration::from_millis(10),
        data_wait: Duration::from_millis(1),
        replaced: 0,
    }
}

/// Two daemons that train: a hosts rank 0, b rank 1.
struct Pair {
    a: Daemon,
    b: Daemon,
    welcome: Welcome,
    generation: Generation,
    group: Group,
}

impl Pair {
    async fn join(running: &Running) -> Self {
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
        let step = group.start_from.as_ref().map_or(Step(0), CheckpointName::step);
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

    async fn say(&self, news: &News) {
        for daemon in [&self.a, &self.b] {
            daemon.news(self.generation, news.clone()).await;
        }
    }

    async fn steps(&self, steps: std::ops::RangeInclusive<u64>) {
        for step in steps {
            self.say(&News::Stepped(report(step))).await;
        }
    }

    async fn checkpoint(&self, step: u64) {
        let report = write_checkpoint(&self.welcome, step);
        self.a.news(self.generation, News::Checkpointed(report)).await;
    }
}

fn lines(output: &Path, file: &str) -> Vec<String> {
    fs::read_to_string(output.join(file))
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

fn metric_steps(output: &Path) -> Vec<u64> {
    let step = |line: &String| {
        serde_json::from_str::<serde_json::Value>(line).unwrap()["step"]
            .as_u64()
            .unwrap()
    };
    lines(output, "metrics.jsonl").iter().map(step).collect()
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out");
    (folder, output)
}

#[tokio::test]
async fn a_run_is_stopped_continued_and_finished() {
    let (_folder, output) = folder();
    let running = start(&output).await;
    let mut pair = Pair::join(&running).await;
    assert_eq!(
        fs::read_to_string(pair.welcome.output.join(".probe")).unwrap(),
        pair.welcome.probe
    );
    pair.steps(1..=3).await;
    wait_until(&running, |status| committed(status) == Some(Step(3))).await;
    running.stop.send(()).await.unwrap();
    pair.a.group(|_, group| group.drain).await;
    pair.steps(4..=4).await;
    pair.checkpoint(4).await;
    pair.say(&News::Stopped { step: Step(4) }).await;
    assert_eq!(pair.a.dismissed().await, Outcome::Stopped);
    assert_eq!(pair.b.dismissed().await, Outcome::Stopped);
    assert_eq!(running.outcome().await, Outcome::Stopped);
    assert_eq!(metric_steps(&output), [1, 2, 3, 4]);

    let running = start(&output).await;
    let mut pair = Pair::join(&running).await;
    assert_eq!(pair.generation, Generation(2));
    assert_eq!(pair.group.start_from, Some(CheckpointName::new(Step(4))));
    pair.steps(5..=6).await;
    pair.checkpoint(6).await;
    let state_digest = "d6".to_owned();
    pair.say(&News::Finished {
        step: Step(6),
        state_digest,
    })
    .await;
    assert_eq!(pair.a.dismissed().await, Outcome::Finished);
    assert_eq!(pair.b.dismissed().await, Outcome::Finished);
    assert_eq!(running.outcome().await, Outcome::Finished);
    assert_eq!(metric_steps(&output), [1, 2, 3, 4, 5, 6]);
    assert_eq!(lines(&output, "train_log.txt").len(), 6);
    assert!(
        lines(&output, "events.jsonl")
            .iter()
            .any(|line| line.contains("run_finished"))
    );
    assert_eq!(
        start(&output).await.outcome().await,
        Outcome::Finished,
        "a finished run is not begun again"
    );
}

/// Both daemons vanish in mid-step and the coordinator is stopped: the drain ends when they count as lost. What was
/// committed after the newest whole checkpoint is done again, and its lines are not doubled.
#[tokio::test]
async fn a_loss_costs_the_steps_since_the_newest_whole_checkpoint() {
    let (_folder, output) = folder();
    let running = start(&output).await;
    let pair = Pair::join(&running).await;
    pair.steps(1..=2).await;
    pair.checkpoint(2).await;
    pair.steps(3..=4).await;
    pair.checkpoint(4).await;
    pair.steps(5..=5).await;
    wait_until(&running, |status| {
        committed(status) == Some(Step(5)) && status.checkpoint.as_ref().map(|c| c.step) == Some(Step(4))
    })
    .await;
    let newest = pair.welcome.output.join("checkpoints/step-000000004");
    drop(pair);
    // The folder has one owner at a time.
    assert!(open(&args(&output, &[])).err().unwrap().is::<Refused>());
    running.stop.send(()).await.unwrap();
    assert_eq!(running.outcome().await, Outcome::Stopped);
    fs::write(newest.join(STATE_FILE), "STATE 4").unwrap();

    let running = start(&output).await;
    let pair = Pair::join(&running).await;
    assert_eq!(
        pair.group.start_from,
        Some(CheckpointName::new(Step(2))),
        "the newest is damaged"
    );
    assert!(!newest.exists() && newest.with_extension("damaged").exists());
    assert_eq!(metric_steps(&output), [1, 2]);
    let status = wait_until(&running, |status| status.phase == PhaseName::Training).await;
    assert_eq!(status.progress.unwrap().step, Step(2));
    assert!(
        status
            .events
            .iter()
            .any(|event| event.kind == "checkpoint_damaged")
    );
}

fn committed(status: &Status) -> Option<Step> {
    status.progress.as_ref().map(|progress| progress.step)
}

/// Watches the status until it is as wanted.
async fn wait_until(running: &Running, wanted: impl Fn(&Status) -> bool) -> Status {
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

#[tokio::test]
async fn what_a_daemon_may_not_do_is_answered_in_a_sentence() {
    let (_folder, output) = folder();
    let running = start(&output).await;
    let (_a, _) = Daemon::join(&running, "a").await;
    let mut other = Daemon::attach(&running, "b").await;
    other.next().await;
    let n_samples = 99;
    other
        .say(FromMachine::Ready(DataFacts { n_samples, ..facts() }))
        .await;
    let refusal = loop {
        match other.next().await {
            Some(ToMachine::Refuse { reason }) => break reason,
            Some(_) => {}
            None => panic!("no refusal"),
        }
    };
    assert!(
        refusal.contains("has 99 images and the run's has 24"),
        "{refusal}"
    );
    let mut garbled = Daemon::attach(&running, "c").await;
    garbled.next().await;
    garbled.say.send(wire::FromMachine::default()).await.unwrap();
    let error = loop {
        match garbled.hear.next().await.unwrap() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), tonic::Code::InvalidArgument);
    assert!(error.message().contains("FromMachine.message"), "{error}");
    assert_eq!(
        running.status().await.reason,
        "1 of 2 devices; waiting for 1 (c lost its connection)"
    );
}

#[tokio::test]
async fn another_recipe_on_the_same_output_is_refused() {
    let (_folder, output) = folder();
    let running = start(&output).await;
    running.stop.send(()).await.unwrap();
    assert_eq!(running.outcome().await, Outcome::Stopped);
    let error = open(&args(&output, &["--set", "lr256=0.5"])).err().unwrap();
    assert!(
        error.is::<Refused>() && error.to_string().contains("training.lr256 (now 0.5, then 0.05)"),
        "{error}"
    );
    open(&args(&output, &["--set", "run.checkpoint_every=5"])).unwrap();
}

#[test]
fn arguments_that_mean_nothing_are_refused() {
    let (_folder, output) = folder();
    for (more, expected) in [
        (vec!["--min-devices", "3"], "more than the world of 2 ranks"),
        (vec!["--listen", "0.0.0.0:0"], "add --insecure"),
        (vec!["--set", "batch=7"], "batch = 7: does not divide by world"),
        (vec!["--set", "learning=7"], "learning"),
    ] {
        let error = open(&args(&output, &more)).err().unwrap();
        assert!(
            error.is::<Refused>() && error.to_string().contains(expected),
            "{error}"
        );
    }
}
