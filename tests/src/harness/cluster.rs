//! A coordinator and its daemons in a temporary folder, with a small data set.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use m2t_common::Recipe;
use m2t_common::recipe::resolve;
use m2t_common::recipe::written::Source;
use m2t_common::status::Status;
use tempfile::TempDir;

use super::{Binaries, Network, PATIENCE, Process};
use crate::fake::Control;

/// How often the status is asked for.
const STATUS_POLL: Duration = Duration::from_millis(20);

/// What a cluster is made with.
pub struct ClusterSettings {
    /// Ranks.
    pub world: u32,
    /// The fewest devices, where it is fewer than the world.
    pub min_devices: Option<u32>,
    /// The experiment file.
    pub experiment: String,
    /// The data folder; none: files that only look like images, enough for the fake trainer.
    pub data: Option<PathBuf>,
    /// The trainer.
    pub trainer: PathBuf,
    /// How coordinator and daemons write their logs, where it is not for people.
    pub log: Option<&'static str>,
}

impl ClusterSettings {
    /// World 4, the fake trainer, 60 steps: three epochs of 20, a checkpoint every 8 steps.
    pub fn fake() -> Self {
        Self {
            world: 4,
            min_devices: None,
            experiment: EXPERIMENT.to_owned(),
            data: None,
            trainer: Binaries::get().path("m2t-fake-trainer"),
            log: None,
        }
    }
}

const EXPERIMENT: &str = r#"
base = "8x_2080ti_100e"
arch = "resnet18"
batch = 16
steps = 60
warmup_epochs = 0
pixels = 32
[run]
checkpoint_every = 8
keep_checkpoints = 2
heartbeat_timeout = "1s"
"#;

/// Files in the pretended data set: 20 steps of 16 images and 3 left over.
const N_SAMPLES: usize = 323;

/// A cluster. Dropping it kills all its processes.
pub struct Cluster {
    settings: ClusterSettings,
    folder: TempDir,
    address: Option<SocketAddr>,
    page: Option<String>,
    coordinator: Option<Process>,
    daemons: BTreeMap<String, Process>,
    network: Option<Network>,
    /// How the fake trainers are steered.
    pub control: Control,
}

impl Cluster {
    /// A cluster of no process yet.
    pub fn new(settings: ClusterSettings) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let control = Control::new(folder.path().join("control"));
        std::fs::create_dir(control.folder()).expect("the temporary folder can be written");
        std::fs::write(folder.path().join("small.toml"), &settings.experiment)
            .expect("the temporary folder can be written");
        pretend_data(&folder.path().join("data"), N_SAMPLES);
        Self {
            settings,
            folder,
            address: None,
            page: None,
            coordinator: None,
            daemons: BTreeMap::new(),
            network: None,
            control,
        }
    }

    /// The same on a network of machines: a daemon that is called like one of them runs there.
    #[must_use]
    pub fn within(mut self, network: Network) -> Self {
        self.network = Some(network);
        self
    }

    /// The network.
    pub fn network(&self) -> &Network {
        self.network
            .as_ref()
            .expect("the test gave the cluster a network")
    }

    /// The recipe that runs.
    pub fn recipe(&self) -> Recipe {
        let source = Source::Experiment {
            name: "small",
            toml: &self.settings.experiment,
        };
        resolve(source, &[], Some(self.settings.world)).expect("the tests' experiment is sound")
    }

    /// A path in the cluster's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The output folder.
    pub fn output(&self) -> PathBuf {
        self.path("output")
    }

    /// The coordinator.
    pub fn coordinator(&mut self) -> &mut Process {
        self.coordinator.as_mut().expect("the test started a coordinator")
    }

    /// A daemon by its name.
    pub fn daemon(&mut self, name: &str) -> &mut Process {
        self.daemons.get_mut(name).expect("the test started this daemon")
    }

    /// Where the coordinator listens.
    pub fn address(&self) -> SocketAddr {
        self.address.expect("the test started a coordinator")
    }

    /// Where the page is.
    pub fn page(&self) -> String {
        self.page.clone().expect("the test started a coordinator")
    }

    /// Has the page served elsewhere than on loopback, at the first start.
    pub fn serve_page_at(&mut self, address: &str) {
        self.page = Some(address.to_owned());
    }

    /// Where the page is, for a browser that logs in as an operator on its way.
    pub fn page_of_operator(&self) -> String {
        let token =
            std::fs::read_to_string(self.token_file("operator")).expect("the coordinator made tokens");
        format!("{}#token={}", self.page(), token.trim())
    }

    /// The file of a role's token.
    pub fn token_file(&self, role: &str) -> PathBuf {
        self.output().join(format!("state/security/{role}.token"))
    }

    /// Starts the coordinator: first on ports of the system's choice, later on the same again.
    pub fn start_coordinator(&mut self) {
        let ip = self
            .network
            .as_ref()
            .map_or(Ipv4Addr::LOCALHOST.into(), |network| {
                network.coordinator().address()
            });
        let listen = self.address.unwrap_or(SocketAddr::new(ip, 0)).to_string();
        let data = self.settings.data.clone().unwrap_or_else(|| self.path("data"));
        let mut command = self.program("m2t-coordinator");
        command
            .current_dir(self.folder.path())
            .args([
                "--world",
                &self.settings.world.to_string(),
                "--experiment",
                "small.toml",
                "--listen",
                &listen,
            ])
            .arg("--data")
            .arg(data)
            .arg("--output")
            .arg(self.output());
        command.args(self.settings.log.iter().flat_map(|log| ["--log", log]));
        if let Some(min_devices) = self.settings.min_devices {
            command.args(["--min-devices", &min_devices.to_string()]);
        }
        if let Some(page) = &self.page {
            let address = page.trim_start_matches("http://").trim_end_matches('/');
            command.args(["--http", address]);
        }
        if let Some(network) = &self.network {
            command = network.coordinator().wrap(&command);
        }
        let coordinator = Process::start("coordinator", &mut command);
        self.page = Some(coordinator.wait_for_line("where its page is", |line| {
            line.split_once("page at ").map(|(_, address)| address.to_owned())
        }));
        self.address = Some(coordinator.wait_for_line("where it listens", |line| {
            let (_, address) = line.split_once("listening on ")?;
            address
                .split_whitespace()
                .next()?
                .trim_end_matches(['.', ',', ';'])
                .parse()
                .ok()
        }));
        self.coordinator = Some(coordinator);
    }

    /// Starts a daemon and keeps it under its name.
    pub fn start_daemon(&mut self, name: &str, devices: &str) {
        let daemon = self.daemon_process(name, devices, &[]);
        self.daemons.insert(name.to_owned(), daemon);
    }

    /// No longer counts a daemon among those whose end is waited for.
    pub fn forget_daemon(&mut self, name: &str) {
        self.daemons.remove(name);
    }

    /// A daemon that the cluster does not keep; a name or trainer in `more` wins.
    pub fn daemon_process(&self, name: &str, devices: &str, more: &[&str]) -> Process {
        let address = self.address().to_string();
        let mut command = self.program("m2t-worker");
        command
            .args(["--coordinator", &address, "--devices", devices])
            .args(more);
        command.args(self.settings.log.iter().flat_map(|log| ["--log", log]));
        if !more.contains(&"--name") {
            command.args(["--name", name]);
        }
        if !more.contains(&"--trainer") {
            command.arg("--trainer").arg(&self.settings.trainer);
        }
        command
            .env(crate::fake::CONTROL_VARIABLE, self.control.folder())
            // A killed daemon leaves the folder of its sockets behind.
            .env("TMPDIR", self.folder.path());
        let machine = self
            .network
            .as_ref()
            .and_then(|network| network.machine_called(name));
        if let Some(machine) = machine {
            command = machine.wrap(&command);
        }
        Process::start(&format!("daemon {name}"), &mut command)
    }

    /// A program of this cluster's user, with a keyring of its own.
    pub fn program(&self, name: &str) -> Command {
        let mut command = Command::new(Binaries::get().path(name));
        command.env("M2T_TOKENS", self.path("tokens"));
        command
    }

    /// The operator tool, pointed at this coordinator.
    pub fn m2t(&self, arguments: &[&str]) -> Process {
        Process::start("m2t", &mut self.command(arguments))
    }

    /// The same before it is started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let address = self.address().to_string();
        let mut command = self.program("m2t");
        command.args(arguments).args(["--coordinator", &address]);
        match &self.network {
            Some(network) => network.coordinator().wrap(&command),
            None => command,
        }
    }

    /// The status, if a coordinator answers.
    pub fn status(&self) -> Option<Status> {
        let output = self.m2t(&["status", "--json"]).output();
        serde_json::from_str(&output).ok()
    }

    /// Waits until the status is as wanted.
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status();
            match status {
                Some(status) if wanted(&status) => return status,
                status => assert!(
                    Instant::now() < deadline,
                    "never saw {what}; the last status is {status:#?}"
                ),
            }
            std::thread::sleep(STATUS_POLL);
        }
    }

    /// Waits for the end of coordinator and daemons, each of which must be with `code`.
    pub fn expect_exit(&mut self, code: i32) {
        self.coordinator().expect_exit(code);
        for daemon in self.daemons.values_mut() {
            daemon.expect_exit(code);
        }
    }

    /// What the audit of the run says; it must be clean.
    pub fn audit(&self) -> String {
        let mut command = Command::new(Binaries::get().path("m2t"));
        let mut audit = Process::start("m2t audit", command.arg("audit").arg(self.output()));
        audit.expect_exit(0);
        audit.output()
    }

    /// What the trainer answers to a question about files; it must succeed.
    pub fn trainer_output(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(&self.settings.trainer);
        let mut trainer = Process::start("trainer", command.args(arguments));
        trainer.expect_exit(0);
        trainer.output().trim().to_owned()
    }

    /// The lines of `metrics.jsonl`.
    pub fn metrics(&self) -> Vec<serde_json::Value> {
        let text =
            std::fs::read_to_string(self.output().join("metrics.jsonl")).expect("the run wrote metrics");
        text.lines()
            .map(|line| serde_json::from_str(line).expect("metrics are JSON lines"))
            .collect()
    }
}

/// Files with the names and sizes of a data set, in two classes.
pub fn pretend_data(folder: &Path, n_samples: usize) {
    for i in 0..n_samples {
        let class = folder.join(if i % 2 == 0 { "even" } else { "odd" });
        std::fs::create_dir_all(&class).expect("the temporary folder can be written");
        std::fs::write(class.join(format!("{i:04}.jpg")), format!("image {i}"))
            .expect("the temporary folder can be written");
    }
}
