//! The far end of `m2t launch` on a host, as ssh runs it: starts the program's keeper or finds it running, and passes on what the
//! program says. It may be cut off at any moment, and nothing that runs notices.
//!
//! ```text
//!  hello ──► run: a keeper lives, with the same arguments ──► listens ──► ended ──► done: the folder is removed
//!            │    it lives with others: refused                 │ standard input ends: goes, and leaves all as it is
//!            └─ none lives: one is started ─────────────────────┘
//! ```

use std::fs::File;
use std::io::{BufRead, Read, Seek, SeekFrom, Write};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Signal, kill_process};

use super::folder::Folder;
use super::keeper::Order;
use super::wire::{Contact, FromSeat, LISTENING, Seat, ToSeat};

/// How often the log is looked at; a file offers no wait.
const LOOK: Duration = Duration::from_millis(100);
/// How long a keeper may take to start.
const START: Duration = Duration::from_secs(10);
/// The most that is read of a log at once.
const MOST_READ: usize = 64 << 10;

/// Serves one launcher, from its first line to the end of standard input.
///
/// # Errors
/// When the launcher says what is no order; what keeps the program from running goes to the launcher.
pub fn sit() -> anyhow::Result<ExitCode> {
    say(&FromSeat::Hello {
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })?;
    let orders = orders();
    let Ok(order) = orders.recv() else {
        return Ok(ExitCode::SUCCESS);
    };
    let ToSeat::Run { seat, contact, heard } = order? else {
        bail!("there is nothing to stop yet");
    };
    if let Err(error) = serve(&seat, contact, heard, &orders) {
        // A launcher that is gone hears nothing, and its next connection begins anew.
        let _ = say(&FromSeat::Refused {
            reason: format!("{error:#}"),
        });
        return Ok(ExitCode::from(2));
    }
    Ok(ExitCode::SUCCESS)
}

/// The launcher's lines; ends with standard input.
fn orders() -> Receiver<anyhow::Result<ToSeat>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let order = line
                .context("cannot read the launcher's orders")
                .and_then(|line| serde_json::from_str(&line).context("the launcher is of another version"));
            if sender.send(order).is_err() {
                return;
            }
        }
    });
    receiver
}

fn serve(
    seat: &Seat,
    contact: Contact,
    heard: u64,
    orders: &Receiver<anyhow::Result<ToSeat>>,
) -> anyhow::Result<()> {
    let folder = Folder::open(&seat.key)?;
    let heard = match begin(seat, contact, &folder)? {
        Begun::Anew => 0,
        Begun::Found => heard,
    };
    say(&FromSeat::Started)?;
    let mut log = Log::open(&folder, heard)?;
    loop {
        // In this order: what is written before the end is read after it was seen.
        let ended = folder.ended();
        let is_kept = ended.is_some() || folder.keeper().is_some();
        for (line, heard) in log.more()? {
            if line.starts_with(LISTENING) {
                tell_token(seat)?;
            }
            say(&FromSeat::Said { line, heard })?;
        }
        if let Some(code) = ended {
            say(&FromSeat::Ended { code })?;
            let heard = orders.recv();
            if matches!(heard, Ok(Ok(ToSeat::Done))) {
                folder.remove().context("cannot remove what was kept")?;
            }
            return Ok(());
        }
        if !is_kept && folder.ended().is_none() {
            return Ok(()); // Its keeper was killed; the launcher comes again, and another is started.
        }
        match orders.recv_timeout(LOOK) {
            Ok(order) => carry_out(&order?, &folder),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

/// How a program was come by.
enum Begun {
    /// It was started, with an empty log.
    Anew,
    /// It ran already, or had run to its end.
    Found,
}

fn begin(seat: &Seat, contact: Contact, folder: &Folder) -> anyhow::Result<Begun> {
    if let Some(lock) = folder.lock().context("cannot lock what is kept")? {
        if contact == Contact::Again && folder.ended().is_some() {
            return Ok(Begun::Found);
        }
        folder.clear().context("cannot remove what an older run left")?;
        folder
            .write_arguments(&seat.arguments)
            .context("cannot note the arguments")?;
        drop(lock);
        start_keeper(seat, folder)?;
        return Ok(Begun::Anew);
    }
    ensure!(
        folder.arguments().as_ref() == Some(&seat.arguments),
        "{} runs here for the same output folder, with other arguments; stop that run first, with Ctrl-C where it was launched or m2t stop",
        seat.role.program()
    );
    Ok(Begun::Found)
}

/// Starts a keeper and waits until it keeps.
fn start_keeper(seat: &Seat, folder: &Folder) -> anyhow::Result<()> {
    let this = std::env::current_exe().context("cannot tell where this program lies")?;
    let mut keeper = Command::new(&this)
        .arg(super::KEEPER)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot run {}", this.display()))?;
    let order = serde_json::to_vec(&Order { seat: seat.clone() }).context("cannot write the order")?;
    let mut stdin = keeper.stdin.take().expect("standard input is piped");
    stdin
        .write_all(&order)
        .context("the keeper does not take its order")?;
    drop(stdin);
    let deadline = Instant::now() + START;
    while folder.keeper().is_none() && folder.ended().is_none() {
        ensure!(Instant::now() < deadline, "the keeper does not start");
        std::thread::sleep(LOOK / 10);
    }
    Ok(())
}

fn carry_out(order: &ToSeat, folder: &Folder) {
    let signal = match order {
        ToSeat::Stop => Signal::TERM,
        ToSeat::Kill => Signal::INT,
        ToSeat::Run { .. } | ToSeat::Done => return,
    };
    if let Some(keeper) = folder.keeper() {
        // Fails only if it is gone, which the loop learns by itself.
        let _ = kill_process(keeper, signal);
    }
}

/// Tells what workers show this coordinator, where it keeps such a thing.
fn tell_token(seat: &Seat) -> anyhow::Result<()> {
    let Some(path) = &seat.token_file else {
        return Ok(());
    };
    match std::fs::read_to_string(path) {
        Ok(token) => say(&FromSeat::Token {
            token: token.trim().to_owned(),
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot read {path}")),
    }
}

fn say(news: &FromSeat) -> anyhow::Result<()> {
    let line = serde_json::to_string(news).context("cannot write to the launcher")?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .context("the launcher is gone")
}

/// A log that is written while it is read.
struct Log {
    file: File,
    /// Bytes of whole lines that were handed out.
    heard: u64,
    /// The begin of a line.
    begun: Vec<u8>,
}

impl Log {
    fn open(folder: &Folder, heard: u64) -> anyhow::Result<Self> {
        let mut file = folder.log().context("cannot open the log")?;
        file.seek(SeekFrom::Start(heard)).context("cannot read the log")?;
        Ok(Self {
            file,
            heard,
            begun: Vec::new(),
        })
    }

    /// The lines that came, each with how much is heard with it.
    fn more(&mut self) -> anyhow::Result<Vec<(String, u64)>> {
        let mut lines = Vec::new();
        let mut buffer = vec![0; MOST_READ];
        loop {
            let n = self.file.read(&mut buffer).context("cannot read the log")?;
            if n == 0 {
                return Ok(lines);
            }
            self.begun.extend_from_slice(&buffer[..n]);
            while let Some(end) = self.begun.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.begun.drain(..=end).collect();
                self.heard += line.len() as u64;
                let text = String::from_utf8_lossy(&line[..end]).into_owned();
                lines.push((text, self.heard));
            }
        }
    }
}
