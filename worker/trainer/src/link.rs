//! What connects a trainer to whoever runs it: its daemon over a Unix socket, or nobody.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use m2t_common::report::{News, Rendezvous};
use m2t_common::trainer_link::{MAX_LINE, Start, ToTrainer};

/// The trainer's side of the connection.
pub trait Link: Send + Sync {
    /// Tells what happened. Never fails: whoever runs the trainer sees a broken connection itself.
    fn tell(&self, news: &News);

    /// Waits for the group's meeting point.
    ///
    /// # Errors
    /// When nobody will say it any more.
    fn rendezvous(&self) -> anyhow::Result<Rendezvous>;

    /// Whether the device was told to stop with its group at the next step boundary.
    fn draining(&self) -> bool;
}

/// The daemon at the other end of a Unix socket, speaking JSON lines.
pub struct Daemon {
    writer: Mutex<UnixStream>,
    rendezvous: Mutex<Receiver<Rendezvous>>,
    draining: Arc<AtomicBool>,
}

impl Daemon {
    /// Connects, and waits for the first line. `gone` is called, on a thread of its own, when the connection closes.
    pub fn connect(socket: &Path, gone: impl FnOnce() + Send + 'static) -> anyhow::Result<(Self, Start)> {
        let stream = UnixStream::connect(socket).with_context(|| format!("no daemon at {}", socket.display()))?;
        let mut lines = Lines(BufReader::new(stream.try_clone().context("cannot share the daemon's connection")?));
        let start = match lines.next()? {
            Some(ToTrainer::Start(start)) => *start,
            other => bail!("the daemon's first line is {other:?} and not the start"),
        };
        let (sender, receiver) = channel();
        let draining = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&draining);
        std::thread::Builder::new()
            .name("daemon link".to_owned())
            .spawn(move || {
                listen(&mut lines, &sender, &flag);
                gone();
            })
            .context("cannot start a thread")?;
        let link = Self { writer: Mutex::new(stream), rendezvous: Mutex::new(receiver), draining };
        Ok((link, start))
    }
}

/// Takes in lines until the connection closes or breaks the protocol.
fn listen(lines: &mut Lines, rendezvous: &Sender<Rendezvous>, draining: &AtomicBool) {
    loop {
        match lines.next() {
            Ok(Some(ToTrainer::Join { rendezvous: point })) => {
                // Nobody waits for a second one: the trainer has joined.
                let _ = rendezvous.send(point);
            }
            Ok(Some(ToTrainer::Drain)) => draining.store(true, Ordering::Release),
            Ok(Some(ToTrainer::Start(_))) => tracing::warn!("the daemon sent a second start; it is ignored"),
            Ok(None) => return,
            Err(error) => {
                tracing::error!("the daemon's line cannot be read: {error:#}");
                return;
            }
        }
    }
}

struct Lines(BufReader<UnixStream>);

impl Lines {
    fn next(&mut self) -> anyhow::Result<Option<ToTrainer>> {
        let mut line = Vec::new();
        (&mut self.0).take(MAX_LINE as u64).read_until(b'\n', &mut line)?;
        match line.last() {
            None => Ok(None),
            Some(b'\n') => Ok(Some(serde_json::from_slice(&line)?)),
            Some(_) => bail!("a line ends early, or is longer than {MAX_LINE} bytes"),
        }
    }
}

impl Link for Daemon {
    fn tell(&self, news: &News) {
        let mut line = serde_json::to_vec(news).expect("news are plain data");
        line.push(b'\n');
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = writer.write_all(&line) {
            tracing::warn!("the daemon does not listen: {error}");
        }
    }

    fn rendezvous(&self) -> anyhow::Result<Rendezvous> {
        let receiver = self.rendezvous.lock().unwrap_or_else(PoisonError::into_inner);
        receiver.recv().context("the daemon closed the connection before the group could meet")
    }

    fn draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}

/// Nobody: a trainer run by hand. Prints its news as JSON lines.
#[derive(Debug, Default)]
pub struct ByHand;

impl Link for ByHand {
    #[expect(clippy::print_stdout, reason = "a trainer run by hand tells its news on standard output")]
    fn tell(&self, news: &News) {
        println!("{}", serde_json::to_string(news).expect("news are plain data"));
    }

    fn rendezvous(&self) -> anyhow::Result<Rendezvous> {
        bail!("a trainer run by hand trains alone; place all ranks on one device")
    }

    fn draining(&self) -> bool {
        false
    }
}
