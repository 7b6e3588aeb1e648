//! What connects a trainer to whoever runs it: its daemon over a Unix socket, or nobody.
//!
//! The daemon's lines are read all the time, on a thread of their own. A [`Membership`] takes what concerns a generation that has
//! begun, so that a hold ends its waits at once, from this thread; the main thread takes [`Order`]s, one after the
//! other. Lines of a generation that is not the current one are dropped here.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use m2t_common::Generation;
use m2t_common::report::News;
use m2t_common::trainer_link::{MAX_LINE, Prepare, Said, Start, ToTrainer};

use crate::membership::{Membership, Standing};

/// The trainer's voice.
pub trait Link: Send + Sync {
    /// Tells what happened in a generation. Never fails: whoever runs the trainer sees a broken connection itself.
    fn tell(&self, generation: Generation, news: News);
}

/// What the main thread is to do next.
pub enum Order {
    /// Make ready.
    Prepare(Box<Prepare>),
    /// Take part in a generation.
    Start(Box<Start>, Arc<Membership>),
    /// Say again where it stands: it was told to hold a generation it had left.
    SayAgain,
}

/// The daemon at the other end of a Unix socket, speaking JSON lines.
pub struct Daemon {
    writer: Mutex<UnixStream>,
}

impl Daemon {
    /// Connects. `gone` is called, on a thread of its own, when the connection closes.
    pub fn connect(
        socket: &Path,
        gone: impl FnOnce() + Send + 'static,
    ) -> anyhow::Result<(Self, Receiver<Order>)> {
        let writer =
            UnixStream::connect(socket).with_context(|| format!("no daemon at {}", socket.display()))?;
        let reader = writer
            .try_clone()
            .context("cannot share the daemon's connection")?;
        let (orders, receiver) = channel();
        std::thread::Builder::new()
            .name("daemon link".to_owned())
            .spawn(move || {
                Ear::new(orders).listen(reader);
                gone();
            })
            .context("cannot start a thread")?;
        let writer = Mutex::new(writer);
        Ok((Self { writer }, receiver))
    }
}

impl Link for Daemon {
    fn tell(&self, generation: Generation, news: News) {
        let mut line = serde_json::to_vec(&Said { generation, news }).expect("news are plain data");
        line.push(b'\n');
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = writer.write_all(&line) {
            tracing::warn!("the daemon does not listen: {error}");
        }
    }
}

/// Nobody: a trainer run by hand. Prints its news as JSON lines.
#[derive(Debug, Default)]
pub struct ByHand;

impl Link for ByHand {
    #[expect(
        clippy::print_stdout,
        reason = "a trainer run by hand tells its news on standard output"
    )]
    fn tell(&self, _: Generation, news: News) {
        println!("{}", serde_json::to_string(&news).expect("news are plain data"));
    }
}

/// Hears the daemon.
struct Ear {
    orders: Sender<Order>,
    current: Option<Arc<Membership>>,
}

impl Ear {
    fn new(orders: Sender<Order>) -> Self {
        Self {
            orders,
            current: None,
        }
    }

    /// Takes in lines until the connection closes or breaks the protocol.
    fn listen(&mut self, reader: UnixStream) {
        let mut lines = Lines(BufReader::new(reader));
        loop {
            match lines.next() {
                Ok(Some(line)) => self.hear(line),
                Ok(None) => return,
                Err(error) => {
                    tracing::error!("the daemon's line cannot be read: {error:#}");
                    return;
                }
            }
        }
    }

    fn hear(&mut self, line: ToTrainer) {
        match line {
            ToTrainer::Prepare(prepare) => self.order(Order::Prepare(prepare)),
            ToTrainer::Start(start) => self.start(start),
            ToTrainer::Join {
                generation,
                rendezvous,
            } => {
                if let Some(current) = self.current(generation) {
                    current.meet_at(rendezvous);
                }
            }
            ToTrainer::Boundary { generation, boundary } => {
                if let Some(current) = self.current(generation) {
                    current.wish(boundary);
                }
            }
            ToTrainer::Hold { generation } => {
                let out = match (self.current(generation), &self.current) {
                    (Some(current), _) => current.hold() == Standing::Out,
                    // It was in no generation yet, whatever the number.
                    (None, None) => true,
                    (None, Some(_)) => false,
                };
                if out {
                    self.order(Order::SayAgain);
                }
            }
        }
    }

    fn start(&mut self, start: Box<Start>) {
        let generation = start.generation;
        if let Some(current) = &self.current {
            if generation <= current.generation {
                tracing::warn!("a start of generation {generation} comes too late and is dropped");
                return;
            }
            current.hold();
        }
        let membership = Arc::new(Membership::new(generation));
        self.current = Some(Arc::clone(&membership));
        self.order(Order::Start(start, membership));
    }

    fn current(&self, generation: Generation) -> Option<&Arc<Membership>> {
        let current = self.current.as_ref();
        current.filter(|current| current.generation == generation)
    }

    fn order(&self, order: Order) {
        // Nobody takes it only when the process is about to end.
        let _ = self.orders.send(order);
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
