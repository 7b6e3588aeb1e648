//! The keeper of a program on its host: a process of its own session that no lost connection ends. It starts the program, starts
//! it again when a signal killed it, and notes its exit code.
//!
//! ```text
//!  start ──► running ── ended by itself ──────────────────────► note the code
//!    ▲          │ killed by a signal: 1 s, 2 s, 4 s … five times
//!    └──────────┘
//!  SIGTERM: passed on, and nothing is started again; SIGINT: the program is killed
//! ```
//! It knows nothing of runs. Killed itself, it takes the program with it, at a step that is checkpointed: the program asked the
//! kernel for that ([`FOLLOW_PARENT`]).

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Signal, setsid};
use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use super::folder::{Folder, Lock};
use super::wire::Seat;
use crate::child::{LOST, code_of, tell};
use crate::operator::{FOLLOW_PARENT, beside};

/// How often a program that was killed is started again.
const MOST_RESTARTS: u32 = 5;
/// The wait before the first restart; each later one waits twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// How often the lock is tried, and the pause between.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// The exit code of what was stopped by hand.
const STOPPED: u8 = 4;

/// What a keeper is started with, on its standard input.
#[derive(Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) seat: Seat,
}

/// Keeps the program that standard input names, to its end.
///
/// # Errors
/// When there is nothing to keep, or its folder cannot be used.
pub fn keep() -> anyhow::Result<()> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .context("cannot read the order")?;
    let order: Order = serde_json::from_str(&text).context("the order is none")?;
    // Fails only where it leads a group already, and then it was not started by a far end.
    let _ = setsid();
    let folder = Folder::open(&order.seat.key)?;
    let Some(_lock) = take(&folder)? else {
        return Ok(()); // Another was quicker, and does the same.
    };
    folder.write_keeper(std::process::id())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    let code = match runtime.block_on(run(&order.seat, &folder)) {
        Ok(code) => code,
        Err(error) => {
            note(&folder, &format!("m2t: {error:#}"));
            LOST
        }
    };
    folder.write_ended(code).context("cannot note the exit code")
}

/// The folder's lock. Who only looks whether a keeper lives holds it for a moment, so it is tried more than once.
fn take(folder: &Folder) -> anyhow::Result<Option<Lock>> {
    for _ in 0..LOCK_TRIES {
        if let Some(lock) = folder.lock().context("cannot lock the folder")? {
            return Ok(Some(lock));
        }
        std::thread::sleep(LOCK_PAUSE);
    }
    Ok(None)
}

async fn run(seat: &Seat, folder: &Folder) -> anyhow::Result<u8> {
    let mut stop = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let mut kill = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
    let mut is_stopped = false;
    let mut n_restarts = 0;
    let mut child = start(seat, folder)?;
    loop {
        let ended = tokio::select! {
            ended = child.wait() => ended.context("cannot wait for the program")?,
            _ = stop.recv() => {
                is_stopped = true;
                tell(&child, Signal::TERM);
                continue;
            }
            _ = kill.recv() => {
                is_stopped = true;
                tell(&child, Signal::KILL);
                continue;
            }
        };
        let Some(by) = ended
            .signal()
            .filter(|_| !is_stopped && n_restarts < MOST_RESTARTS)
        else {
            return Ok(code_of(ended));
        };
        let wait = FIRST_WAIT * 2_u32.pow(n_restarts);
        n_restarts += 1;
        note(
            folder,
            &format!(
                "m2t: {} was killed by signal {by}, and is started again in {wait:?}",
                seat.role.program()
            ),
        );
        tokio::select! {
            () = tokio::time::sleep(wait) => child = start(seat, folder)?,
            _ = stop.recv() => return Ok(STOPPED),
            _ = kill.recv() => return Ok(STOPPED),
        }
    }
}

/// Starts the program. It stands in the keeper's session, out of reach of any terminal.
fn start(seat: &Seat, folder: &Folder) -> anyhow::Result<Child> {
    let path = beside(seat.role.program())?;
    let log = folder.log().context("cannot open the log")?;
    let mut command = Command::new(&path);
    command
        .args(&seat.arguments)
        .env(FOLLOW_PARENT, std::process::id().to_string())
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("cannot open the log twice")?)
        .stderr(log);
    if let Some(token) = &seat.token {
        command.env(super::TOKEN_VARIABLE, token);
    }
    command.spawn().with_context(|| {
        format!(
            "cannot run {}; build it with cargo build --release",
            path.display()
        )
    })
}

/// Adds a line to what the program said.
fn note(folder: &Folder, line: &str) {
    use std::io::Write;
    // Where nothing can be written any more, nothing can be said.
    if let Ok(mut log) = folder.log() {
        let _ = writeln!(log, "{line}");
    }
}
