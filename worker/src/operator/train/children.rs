//! Coordinator and daemon as children of `m2t train`: started, watched, told to stop, and never left behind.
//!
//! ```text
//!  coordinator starts ── "listening on ADDR" ──► daemon starts ──► both run ── coordinator ends ──► daemon follows
//!        │ ends before: its exit code                               │ daemon refused: the coordinator is stopped
//!        ▼                                                          │ daemon killed: it is started again
//! ```
//! They stand in process groups of their own, so that a Ctrl-C reaches them once, through here: the coordinator stops the
//! run, and the daemon goes with it.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, anyhow};
use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Company, Lead};
use crate::child::{code_of, tell};
use crate::contact::{Contact, CoordinatorAddress};
use crate::operator::progress::{Progress, headline};
use crate::operator::{FOLLOW_PARENT, beside, status, until};

/// How long the daemon may take to go once the coordinator has gone.
const FAREWELL: Duration = Duration::from_secs(5);
/// How often a daemon that was killed is started again.
const MOST_RESTARTS: u32 = 5;
/// What both programs say of refused input.
const REFUSED: i32 = 2;

/// Runs both until the run ends. The exit code is the coordinator's, or the daemon's where it was refused.
pub(super) fn lead(lead: Lead) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    let code = runtime.block_on(run(lead))?;
    Ok(ExitCode::from(code))
}

async fn run(lead: Lead) -> anyhow::Result<u8> {
    let company = lead.company;
    let progress = Progress::new();
    let mut stop = stop_signals()?;
    let mut coordinator = start("m2t-coordinator", &lead.coordinator, &progress)?;
    let Some(address) = listening_on(&mut coordinator, &progress).await? else {
        let ended = coordinator
            .wait()
            .await
            .context("cannot wait for the coordinator")?;
        return Ok(code_of(ended));
    };
    let mut arguments = lead.daemon;
    arguments.extend(["--coordinator".into(), address.to_string().into()]);
    let mut daemon = start("m2t-worker", &arguments, &progress)?;
    let contact = Contact::new(address, &lead.access)?;
    let watching = tokio::spawn(watch(contact, progress.clone()));

    let mut refused = None;
    let mut n_restarts = 0;
    let mut daemon_is_up = true;
    let mut deserted = None;
    let ended = loop {
        tokio::select! {
            ended = coordinator.wait() => break ended.context("cannot wait for the coordinator")?,
            ended = daemon.wait(), if daemon_is_up => {
                let ended = ended.context("cannot wait for the daemon")?;
                if ended.signal().is_some() && n_restarts < MOST_RESTARTS {
                    n_restarts += 1;
                    progress.say(&format!("m2t: this machine's daemon was killed ({ended}) and is started again"));
                    daemon = start("m2t-worker", &arguments, &progress)?;
                    continue;
                }
                daemon_is_up = false;
                if ended.code() == Some(REFUSED) || ended.signal().is_some() {
                    refused = Some(code_of(ended));
                    tell(&coordinator, Signal::TERM);
                } else if company == Company::Alone {
                    // A run that ended has dismissed it, and its coordinator ends by itself.
                    deserted = Some(Instant::now() + FAREWELL);
                }
            }
            Some(()) = stop.recv() => tell(&coordinator, Signal::TERM),
            () = until(deserted) => {
                deserted = None;
                progress.say("m2t: this machine's daemon was stopped, and the run with it");
                tell(&coordinator, Signal::TERM);
            }
        }
    };
    if daemon_is_up && tokio::time::timeout(FAREWELL, daemon.wait()).await.is_err() {
        // Without a coordinator it waits for one; there is none to come.
        tell(&daemon, Signal::TERM);
        if tokio::time::timeout(FAREWELL, daemon.wait()).await.is_err() {
            daemon.kill().await.context("cannot end the daemon")?;
        }
    }
    watching.abort();
    progress.clear();
    if let Some(signal) = ended.signal() {
        progress.say(&format!(
            "m2t: the coordinator was killed by signal {signal}; the same command continues the run from its newest checkpoint"
        ));
    }
    Ok(refused.unwrap_or_else(|| code_of(ended)))
}

/// Starts a program that lies beside this one. What it writes to standard error is passed on above the bar.
fn start(program: &str, arguments: &[OsString], progress: &Progress) -> anyhow::Result<Child> {
    let path = beside(program)?;
    let mut child = Command::new(&path)
        .args(arguments)
        .env(FOLLOW_PARENT, std::process::id().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| {
            format!(
                "cannot run {}; build it with cargo build --release",
                path.display()
            )
        })?;
    let stderr = child.stderr.take().expect("standard error is piped");
    tokio::spawn(pass_on(stderr, progress.clone()));
    Ok(child)
}

async fn pass_on(pipe: impl AsyncRead + Unpin, progress: Progress) {
    let mut lines = BufReader::new(pipe).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        progress.say(&String::from_utf8_lossy(&line));
    }
}

/// Passes on what the coordinator says at its start, up to where it listens; none if it ends before.
async fn listening_on(
    coordinator: &mut Child,
    progress: &Progress,
) -> anyhow::Result<Option<CoordinatorAddress>> {
    let stdout = coordinator.stdout.take().expect("standard output is piped");
    let mut lines = BufReader::new(stdout).lines();
    while let Some(line) = lines
        .next_line()
        .await
        .context("cannot read what the coordinator says")?
    {
        progress.say(&line);
        if let Some(address) = line.strip_prefix("listening on ") {
            let address: std::net::SocketAddr = address.parse().map_err(|_| {
                anyhow!("the coordinator says {line:?}; it is of another version than this m2t")
            })?;
            let address = if address.ip().is_unspecified() {
                format!("127.0.0.1:{}", address.port())
            } else {
                address.to_string()
            };
            return Ok(Some(address.parse()?));
        }
    }
    Ok(None)
}

/// Keeps the bar up to date for as long as the coordinator speaks.
async fn watch(coordinator: Contact, progress: Progress) {
    let Ok(mut statuses) = status::stream(&coordinator).await else {
        return;
    };
    while let Ok(Some(status)) = statuses.next().await {
        progress.show(&status, &headline(&status));
    }
}

fn stop_signals() -> anyhow::Result<mpsc::UnboundedReceiver<()>> {
    let (sender, receiver) = mpsc::unbounded_channel();
    for kind in [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
    ] {
        let mut signals = signal(kind).context("cannot listen for signals")?;
        let sender = sender.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                // A closed receiver means that the run has ended.
                let _ = sender.send(());
            }
        });
    }
    Ok(receiver)
}
