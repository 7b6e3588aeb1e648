//! One host's connection: ssh with the far end behind it, made again for as long as it is wanted.
//!
//! ```text
//!  ssh ── hello ──► Greeted ── run ──► said …, ended ──► done, and the connection ends
//!   │ fails at first: Refused, with what to mend       │ breaks: Cut; again after 1 s, 2 s, 4 s … 30 s, where it left off
//! ```
//! It decides nothing about the run: what happens goes to the crew, whose orders it passes on, also past a broken connection.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;

use super::FAR_END;
use super::reach::{Reach, Way};
use super::wire::{Contact, FromSeat, Seat, ToSeat};

/// The waits between attempts to reach a host again.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How long a far end may take to remove what it kept.
const FAREWELL: Duration = Duration::from_secs(5);

/// What a shell says of a program that is not there, and one that cannot be run.
const NO_PROGRAM: [i32; 2] = [127, 126];
/// What ssh says of its own failures.
const SSH_FAILED: i32 = 255;

/// What a link is told.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    /// Run this.
    Run(Seat),
    /// End it at a step that is checkpointed.
    Stop,
    /// End it at once.
    Kill,
}

/// What a link tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// The host is reached, and its `m2t` is of this version.
    Greeted,
    /// The program runs.
    Started,
    /// A line of the program's, or of ssh's.
    Said(String),
    /// What workers show this coordinator.
    Token(String),
    /// The connection broke; it is made again after so long.
    Cut(String, Duration),
    /// It stands again.
    Back,
    /// The program ended.
    Ended(u8),
    /// The program cannot be run there.
    Refused(String),
}

/// News of the host of a number.
pub(super) type FromHost = (usize, News);

/// A host's connection, by its outer end.
pub(super) struct Link {
    asks: mpsc::UnboundedSender<Ask>,
}

impl Link {
    /// Opens one; what happens on it goes to `news` under `number`.
    pub(super) fn open(number: usize, way: Way, news: mpsc::UnboundedSender<FromHost>) -> Self {
        let (asks, inbox) = mpsc::unbounded_channel();
        let line = Line {
            way,
            asks: inbox,
            news: Box::new(move |what| {
                // Without a crew nobody wants to know.
                let _ = news.send((number, what));
            }),
            seat: None,
            urgent: None,
            heard: 0,
            n_failures: 0,
        };
        tokio::spawn(line.keep());
        Self { asks }
    }

    /// Passes an order on.
    pub(super) fn ask(&self, ask: Ask) {
        // A link that has ended has said how.
        let _ = self.asks.send(ask);
    }
}

struct Line {
    way: Way,
    asks: mpsc::UnboundedReceiver<Ask>,
    news: Box<dyn Fn(News) + Send>,
    /// What runs, once it was asked for.
    seat: Option<Seat>,
    /// The sharpest order to end, said again on each new connection.
    urgent: Option<ToSeat>,
    heard: u64,
    /// Connections that failed since one stood.
    n_failures: u32,
}

/// How a connection ended.
enum End {
    /// Nothing more is wanted.
    Over,
    /// It broke, in a sentence.
    Broken(String),
}

impl Line {
    async fn keep(mut self) {
        let mut contact = Contact::First;
        loop {
            let end = match self.connection(contact).await {
                Ok(end) => end,
                Err(error) => End::Broken(format!("{error:#}")),
            };
            let End::Broken(reason) = end else { return };
            if self.seat.is_none() {
                return (self.news)(News::Refused(reason));
            }
            contact = Contact::Again;
            let wait = (FIRST_WAIT * 2_u32.pow(self.n_failures.min(5))).min(LONGEST_WAIT);
            self.n_failures += 1;
            (self.news)(News::Cut(reason, wait));
            if !self.pause(wait).await {
                return;
            }
        }
    }

    /// Waits, and takes orders meanwhile; whether anybody still gives them.
    async fn pause(&mut self, wait: Duration) -> bool {
        let until = tokio::time::Instant::now() + wait;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => return true,
                ask = self.asks.recv() => match ask {
                    Some(ask) => { self.note(ask); }
                    None => return false,
                },
            }
        }
    }

    /// What the far end is to be told of an order.
    fn note(&mut self, ask: Ask) -> Option<ToSeat> {
        match ask {
            Ask::Run(seat) => {
                self.seat = Some(seat.clone());
                return Some(ToSeat::Run {
                    seat,
                    contact: Contact::First,
                    heard: 0,
                });
            }
            Ask::Stop if self.urgent != Some(ToSeat::Kill) => self.urgent = Some(ToSeat::Stop),
            Ask::Stop => {}
            Ask::Kill => self.urgent = Some(ToSeat::Kill),
        }
        self.urgent.clone()
    }

    /// One connection, from ssh's start to its end.
    async fn connection(&mut self, contact: Contact) -> anyhow::Result<End> {
        let mut far = Far::reach(&self.way)?;
        let mut is_greeted = false;
        loop {
            let line = tokio::select! {
                line = far.lines.recv() => line,
                ask = self.asks.recv() => {
                    let Some(ask) = ask else { return Ok(End::Over) };
                    if let Some(order) = self.note(ask).filter(|_| is_greeted) {
                        far.tell(&order).await?;
                    }
                    continue;
                }
            };
            let Some(line) = line else {
                let ended = far.child.wait().await.context("cannot wait for ssh")?;
                return Ok(End::Broken(self.why(ended, &far.complaint, is_greeted)));
            };
            let news = match line {
                Heard::Out(line) => serde_json::from_str::<FromSeat>(&line).map_err(|_| line),
                Heard::Complaint(line) => Err(line),
            };
            match news {
                Ok(FromSeat::Hello { version }) => {
                    if version != env!("CARGO_PKG_VERSION") {
                        return Ok(End::Broken(self.other_version(&format!("version {version}"))));
                    }
                    is_greeted = true;
                    self.n_failures = 0;
                    self.greet(&mut far, contact).await?;
                }
                Ok(news) => {
                    if self.take(news, &mut far).await? {
                        return Ok(End::Over);
                    }
                }
                // A login's greeting, a library's warning, or why ssh fails.
                Err(line) => {
                    line.trim().clone_into(&mut far.complaint);
                    if is_greeted {
                        (self.news)(News::Said(line));
                    }
                }
            }
        }
    }

    /// The far end is there: it is told what runs, where the launcher knows.
    async fn greet(&mut self, far: &mut Far, contact: Contact) -> anyhow::Result<()> {
        let Some(seat) = self.seat.clone() else {
            (self.news)(News::Greeted);
            return Ok(());
        };
        if contact == Contact::Again {
            (self.news)(News::Back);
        }
        far.tell(&ToSeat::Run {
            seat,
            contact,
            heard: self.heard,
        })
        .await?;
        if let Some(urgent) = self.urgent.clone() {
            far.tell(&urgent).await?;
        }
        Ok(())
    }

    /// Passes news on; whether they are the last.
    async fn take(&mut self, news: FromSeat, far: &mut Far) -> anyhow::Result<bool> {
        match news {
            FromSeat::Hello { .. } => {}
            FromSeat::Started => (self.news)(News::Started),
            FromSeat::Said { line, heard } => {
                self.heard = heard;
                (self.news)(News::Said(line));
            }
            FromSeat::Token { token } => (self.news)(News::Token(token)),
            FromSeat::Ended { code } => {
                // Unheard, the host keeps a few lines until its next start.
                let _ = far.tell(&ToSeat::Done).await;
                let _ = tokio::time::timeout(FAREWELL, far.child.wait()).await;
                (self.news)(News::Ended(code));
                return Ok(true);
            }
            FromSeat::Refused { reason } => {
                (self.news)(News::Refused(reason));
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Why a connection ended, and what to do.
    fn why(&self, ended: ExitStatus, complaint: &str, is_greeted: bool) -> String {
        let complaint = match complaint {
            "" => String::new(),
            text => format!(" ({text})"),
        };
        let program = self.way.program.display();
        match ended.code() {
            _ if is_greeted => format!("the connection ended{complaint}"),
            Some(SSH_FAILED) => format!(
                "it cannot be reached by ssh{complaint}; `ssh -o BatchMode=yes {} true` must work without a question",
                self.way.target()
            ),
            Some(code) if NO_PROGRAM.contains(&code) => format!(
                "there is no program {program}{complaint}; install m2t at the same path on all hosts, or name the folder with --programs"
            ),
            _ => self.other_version(&format!("{ended}{complaint}")),
        }
    }

    fn other_version(&self, what: &str) -> String {
        format!(
            "{} there is not of this version, {}: {what}; install one build on all hosts",
            self.way.program.display(),
            env!("CARGO_PKG_VERSION")
        )
    }
}

/// A line of a running ssh.
enum Heard {
    Out(String),
    Complaint(String),
}

/// A running ssh.
struct Far {
    child: Child,
    stdin: ChildStdin,
    lines: mpsc::UnboundedReceiver<Heard>,
    /// The last line that was no news.
    complaint: String,
}

impl Far {
    fn reach(way: &Way) -> anyhow::Result<Self> {
        let mut words = way.command(FAR_END);
        let program = words.remove(0);
        let mut child = Command::new(&program)
            .args(&words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for the launcher alone.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| match way.reach {
                Reach::Ssh { .. } => {
                    format!("cannot run {program}; install an ssh client, or name one with --ssh")
                }
                Reach::Here => format!("cannot run {program}"),
            })?;
        let (sender, lines) = mpsc::unbounded_channel();
        let stdout = child.stdout.take().expect("standard output is piped");
        let stderr = child.stderr.take().expect("standard error is piped");
        tokio::spawn(hear(stdout, sender.clone(), Heard::Out));
        tokio::spawn(hear(stderr, sender, Heard::Complaint));
        let stdin = child.stdin.take().expect("standard input is piped");
        Ok(Self {
            child,
            stdin,
            lines,
            complaint: String::new(),
        })
    }

    async fn tell(&mut self, order: &ToSeat) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(order).context("cannot write an order")?;
        line.push(b'\n');
        self.stdin
            .write_all(&line)
            .await
            .context("the connection takes no orders")
    }
}

async fn hear(
    pipe: impl tokio::io::AsyncRead + Unpin,
    sender: mpsc::UnboundedSender<Heard>,
    kind: fn(String) -> Heard,
) {
    let mut lines = BufReader::new(pipe).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        if sender
            .send(kind(String::from_utf8_lossy(&line).into_owned()))
            .is_err()
        {
            return;
        }
    }
}
