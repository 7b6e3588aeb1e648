//! The trainer processes: starting them, their sockets, their output, their ends.
//!
//! Each trainer has a socket of its own in a folder only this user can enter, and a process group of its own, so that
//! Ctrl-C in a terminal reaches the daemon alone, which then drains. It arms its parent-death signal itself; dropping
//! it here kills it as well.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use m2t_common::trainer_link::ToTrainer;
use m2t_common::{DeviceIndex, GpuName};
use rustix::process::Signal;
use tokio::io::BufReader;
use tokio::net::{UnixListener, UnixStream};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::leftovers::{SocketFolder, remove_leftovers, remove_segments};
use super::lines::{read_news, write_line};
use super::output::pass_on;
use super::{DaemonError, Event, Events};
use crate::ending::sentence;
use crate::supervisor::{Input, Manner, TrainerEvent, TrainerKey};

/// How long the last words of a process that is gone are waited for. They are in the kernel's buffers already; only a
/// grandchild that holds the other end could keep them open.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(1);

/// All trainers of the machine.
pub(super) struct Trainers {
    program: PathBuf,
    gpus: BTreeMap<DeviceIndex, GpuName>,
    sockets: SocketFolder,
    events: Events,
    running: BTreeMap<TrainerKey, Handle>,
}

struct Handle {
    /// Dropping it closes the link.
    lines: Option<mpsc::UnboundedSender<ToTrainer>>,
    signals: mpsc::UnboundedSender<Signal>,
}

impl Trainers {
    /// `gpus` are those of the devices that are not shares of the CPU.
    pub(super) fn new(
        (program, gpus): (PathBuf, BTreeMap<DeviceIndex, GpuName>),
        events: Events,
    ) -> Result<Self, DaemonError> {
        let folder = std::env::temp_dir();
        remove_leftovers(&folder);
        let sockets =
            SocketFolder::new(&folder).map_err(|source| DaemonError::SocketFolder { folder, source })?;
        Ok(Self {
            program,
            gpus,
            sockets,
            events,
            running: BTreeMap::new(),
        })
    }

    pub(super) fn spawn(&mut self, key: TrainerKey, first: ToTrainer) {
        let socket = self
            .sockets
            .path()
            .join(format!("device-{}-{}.sock", key.device, key.serial));
        match start_process(
            command(&self.program, &socket, self.gpus.get(&key.device)),
            &socket,
        ) {
            Ok((child, listener)) => {
                let pid = child.id();
                if let Some(pid) = pid {
                    self.sockets.note(pid);
                }
                let (lines, told) = mpsc::unbounded_channel();
                let (signals, signalled) = mpsc::unbounded_channel();
                let _ = lines.send(first);
                let trainer = Trainer {
                    key,
                    pid,
                    socket,
                    events: self.events.clone(),
                };
                tokio::spawn(trainer.attend(child, listener, told, signalled));
                self.running.insert(
                    key,
                    Handle {
                        lines: Some(lines),
                        signals,
                    },
                );
            }
            Err(error) => {
                let program = self.program.display();
                let how = format!(
                    "the trainer of device {} ({program}) could not be started: {error}",
                    key.device
                );
                let manner = Manner::Abnormal;
                let event = Input::Trainer(key, TrainerEvent::Exited { how, manner });
                let _ = self.events.send(Event::Input(event));
            }
        }
    }

    pub(super) fn tell(&mut self, key: TrainerKey, line: ToTrainer) {
        if let Some(lines) = self.running.get(&key).and_then(|handle| handle.lines.as_ref()) {
            // Fails only when the trainer closed its link, of which the supervisor hears anyway.
            let _ = lines.send(line);
        }
    }

    pub(super) fn end(&mut self, key: TrainerKey) {
        if let Some(handle) = self.running.get_mut(&key) {
            handle.lines = None;
            let _ = handle.signals.send(Signal::TERM);
        }
    }

    pub(super) fn kill(&mut self, key: TrainerKey) {
        if let Some(handle) = self.running.get(&key) {
            let _ = handle.signals.send(Signal::KILL);
        }
    }

    pub(super) fn forget(&mut self, key: TrainerKey) {
        self.running.remove(&key);
    }
}

/// Starts a trainer; its socket listens before it lives.
fn start_process(mut command: Command, socket: &Path) -> std::io::Result<(Child, UnixListener)> {
    let listener = UnixListener::bind(socket)?;
    let child = command.spawn()?;
    Ok((child, listener))
}

fn command(program: &Path, socket: &Path, gpu: Option<&GpuName>) -> Command {
    let mut command = Command::new(program);
    // What lets the daemon in is no trainer's business.
    command.env_remove("M2T_TOKEN");
    // A broken group comes as news in one sentence; c10d would print a C++ backtrace of each connection as well.
    if std::env::var_os("TORCH_CPP_LOG_LEVEL").is_none() {
        command.env("TORCH_CPP_LOG_LEVEL", "FATAL");
    }
    // It writes its lines as this daemon does, which hands them on.
    command.env(m2t_log::VARIABLE, m2t_log::format().name());
    // NCCL's groups are aborted and made anew in one process, which its NVLS does not outlive; m2t-torch insists.
    command.env("NCCL_NVLS_ENABLE", "0");
    command
        .arg("run")
        .arg("--link")
        .arg(socket)
        .args(gpu.iter().flat_map(|gpu| ["--gpu".to_owned(), gpu.to_string()]))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    command
}

/// One process, as the task that attends it knows it.
struct Trainer {
    key: TrainerKey,
    /// None if it was gone at once.
    pid: Option<u32>,
    socket: PathBuf,
    events: Events,
}

impl Trainer {
    async fn attend(
        self,
        mut child: Child,
        listener: UnixListener,
        told: mpsc::UnboundedReceiver<ToTrainer>,
        mut signals: mpsc::UnboundedReceiver<Signal>,
    ) {
        let last_words = Arc::new(Mutex::new(String::new()));
        let output = child
            .stdout
            .take()
            .map(|pipe| tokio::spawn(pass_on(pipe, self.key.device, None)));
        let errors = child
            .stderr
            .take()
            .map(|pipe| tokio::spawn(pass_on(pipe, self.key.device, Some(Arc::clone(&last_words)))));
        let mut told = Some(told);
        let mut talk: Option<JoinHandle<()>> = None;
        let status = loop {
            tokio::select! {
                status = child.wait() => break status,
                Some(signal) = signals.recv() => crate::child::tell(&child, signal),
                accepted = listener.accept(), if told.is_some() => {
                    if let (Ok((stream, _)), Some(told)) = (accepted, told.take()) {
                        talk = Some(tokio::spawn(converse(stream, told, self.key, self.events.clone())));
                    }
                }
            }
        };
        // All it said counts before its end does.
        for rest in [talk, output, errors].into_iter().flatten() {
            let abort = rest.abort_handle();
            if timeout(LAST_WORDS_WITHIN, rest).await.is_err() {
                abort.abort();
            }
        }
        let _ = std::fs::remove_file(&self.socket);
        if let Some(n_segments @ 1..) = self.pid.map(remove_segments) {
            tracing::info!(
                "removed {n_segments} segments of shared memory that device {}'s trainer left",
                self.key.device
            );
        }
        let last_words = last_words.lock().map(|words| words.clone()).unwrap_or_default();
        let manner = manner(&status);
        let how = describe(self.key.device, status, &last_words);
        let _ = self.events.send(Event::Input(Input::Trainer(
            self.key,
            TrainerEvent::Exited { how, manner },
        )));
    }
}

/// Talks with a trainer until it closes the link.
async fn converse(
    stream: UnixStream,
    mut told: mpsc::UnboundedReceiver<ToTrainer>,
    key: TrainerKey,
    events: Events,
) {
    let (reader, mut writer) = stream.into_split();
    let tell = tokio::spawn(async move {
        while let Some(line) = told.recv().await {
            if write_line(&mut writer, &line).await.is_err() {
                break; // It closed the link; the reader sees that too.
            }
        }
    });
    let say = |event| {
        // A closed inbox means that the daemon is ending anyway.
        let _ = events.send(Event::Input(Input::Trainer(key, event)));
    };
    let mut reader = BufReader::new(reader);
    let last = loop {
        match read_news(&mut reader).await {
            Ok(Some(said)) => say(TrainerEvent::Said(said)),
            Ok(None) => break TrainerEvent::LinkClosed,
            Err(super::lines::LineError::Read(_) | super::lines::LineError::Torn) => {
                break TrainerEvent::LinkClosed;
            }
            Err(error) => {
                let reason = format!(
                    "the trainer of device {} broke the protocol: {}",
                    key.device,
                    sentence(&error)
                );
                break TrainerEvent::SpokeNonsense { reason };
            }
        }
    };
    say(last);
    tell.abort();
}

/// What an end says of who brought it about.
fn manner(status: &std::io::Result<ExitStatus>) -> Manner {
    let Ok(status) = status else {
        return Manner::Abnormal;
    };
    match (status.code(), status.signal()) {
        (Some(0 | 1), _) => Manner::Plain,
        (None, Some(signal)) if signal == Signal::TERM.as_raw() => Manner::Plain,
        (None, Some(signal)) if signal == Signal::KILL.as_raw() => Manner::Killed,
        _ => Manner::Abnormal,
    }
}

/// How a trainer ended, in a sentence.
fn describe(device: DeviceIndex, status: std::io::Result<ExitStatus>, last_words: &str) -> String {
    let how = match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("ended with exit status {code}"),
            (None, Some(signal)) => format!("was killed by signal {signal}"),
            (None, None) => "ended".to_owned(),
        },
        Err(error) => format!("was lost sight of ({error})"),
    };
    if last_words.is_empty() {
        format!("the trainer of device {device} {how}")
    } else {
        format!("the trainer of device {device} {how}: {last_words}")
    }
}

#[cfg(test)]
mod tests;
