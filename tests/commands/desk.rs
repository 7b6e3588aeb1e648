//! A folder in which commands are typed.

use std::path::PathBuf;
use std::process::Command;

use m2t_tests::harness::{Binaries, Process, pretend_data};
use tempfile::TempDir;

/// Small enough for seconds, with all there is. The world is 4, the batch 16: of the 323 pretended images, 20 steps an epoch.
pub(crate) const TINY: &str = r#"
base = "8x_2080ti_100e"
arch = "resnet18"
channels = 8
stem = "small"
hidden_dim = 16
low_dim = 8
pixels = 32
world = 4
batch = 16
steps = 8
warmup_epochs = 0
[run]
checkpoint_every = 3
heartbeat_timeout = "500ms"
"#;

/// A folder with an experiment `tiny.toml` and a pretended data set `data`.
pub(crate) struct Desk {
    pub(crate) folder: TempDir,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tiny.toml"), TINY).unwrap();
        pretend_data(&folder.path().join("data"), 323);
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Starts a command line, `PROGRAM ARGUMENT …`, parted at spaces; words before the program that hold `=` are variables.
    pub(crate) fn start(&self, line: &str) -> Process {
        let mut words = line.split_whitespace().peekable();
        let mut variables = Vec::new();
        while let Some((name, value)) = words.peek().and_then(|word| word.split_once('=')) {
            variables.push((name.to_owned(), value.to_owned()));
            words.next();
        }
        let program = words.next().unwrap();
        let mut command = Command::new(Binaries::get().path(program));
        command
            .args(words)
            .envs(variables)
            .env_remove("RUST_LOG")
            .env("TMPDIR", self.folder.path())
            .env("M2T_TOKENS", self.folder.path().join("tokens"))
            .current_dir(self.folder.path());
        Process::start(line, &mut command)
    }

    /// A coordinator of the tiny experiment on a free port, with its address.
    pub(crate) fn coordinator(&self, more: &str) -> (Process, String) {
        let line = format!(
            "m2t-coordinator --experiment tiny.toml --data data --output out --listen 127.0.0.1:0 {more}"
        );
        let coordinator = self.start(&line);
        let address = listening_on(&coordinator);
        (coordinator, address)
    }
}

/// Where a coordinator says that it listens.
pub(crate) fn listening_on(process: &Process) -> String {
    process.wait_for_line("where it listens", |line| {
        line.strip_prefix("listening on ").map(str::to_owned)
    })
}
