//! The daemon's shell: carries out what the supervisor decides, and decides nothing.
//!
//! One task owns the supervisor; everything else (the link, each trainer, the survey, signals) only sends it events.
//!
//! Why a current-thread runtime: a trainer asks the kernel to be killed when its parent dies, and the kernel takes the
//! *thread* that started it for the parent. So every trainer must be started from a thread that lives as long as the
//! daemon: the one that runs this loop, which must be the main thread.

mod leftovers;
mod lines;
mod link;
mod output;
mod survey;
mod trainers;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use m2t_common::machine_link::{FromMachine, ToMachine, Work};
use m2t_common::report::News;
use m2t_common::{DeviceIndex, GpuName, Timestamp};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use trainers::Trainers;

use crate::contact::Contact;
use crate::ending::Ending;
use crate::supervisor::{Effect, Identity, Input, Notice, Supervisor, TrainerEvent};

/// What a daemon is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The coordinator, and how to be let in.
    pub coordinator: Contact,
    /// The machine.
    pub identity: Identity,
    /// Those of its devices that are GPUs.
    pub gpus: BTreeMap<DeviceIndex, GpuName>,
    /// The trainer's program.
    pub trainer: PathBuf,
}

/// What keeps a daemon from starting.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// No trainer to start.
    #[error(
        "there is no trainer program at {0}; build it (cargo build --release -p m2t-trainer) or name it with --trainer"
    )]
    NoTrainer(PathBuf),
    /// The folder for the trainers' sockets.
    #[error(
        "cannot make a folder for the trainers' sockets in {folder}; set TMPDIR to a folder that can be written"
    )]
    SocketFolder {
        /// Where.
        folder: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// SIGTERM and SIGINT cannot be heard.
    #[error("cannot listen for signals")]
    Signals(#[source] std::io::Error),
}

/// What reaches the loop.
#[derive(Debug)]
enum Event {
    /// A stream stands; what is said goes into `outbox`, which is this stream's alone.
    Up {
        address: std::net::IpAddr,
        outbox: mpsc::UnboundedSender<FromMachine>,
    },
    /// The coordinator said something.
    Said(ToMachine),
    /// The stream ended.
    Down,
    /// Anything else is what the supervisor takes in.
    Input(Input),
}

type Events = mpsc::UnboundedSender<Event>;

/// Runs a daemon until its run ends or it is stopped. Must be called from the main thread's current-thread runtime.
pub async fn run(settings: Settings) -> Result<Ending, DaemonError> {
    if !settings.trainer.is_file() {
        return Err(DaemonError::NoTrainer(settings.trainer));
    }
    let (events, mut inbox) = mpsc::unbounded_channel();
    listen_for_signals(&events)?;
    let trainers = Trainers::new((settings.trainer, settings.gpus), events.clone())?;
    tokio::spawn(link::keep(
        settings.coordinator,
        settings.identity.instance,
        events.clone(),
    ));
    let mut shell = Shell {
        clock: Clock::new(),
        events,
        outbox: None,
        trainers,
    };
    let mut supervisor = Supervisor::new(settings.identity);
    loop {
        let deadline = shell.clock.sleep_until(supervisor.next_deadline());
        let input = tokio::select! {
            Some(event) = inbox.recv() => shell.input(event),
            () = deadline => Input::Tick,
        };
        let mut effects = Vec::new();
        supervisor.handle(shell.clock.now(), input, &mut effects);
        for effect in effects {
            if let Some(ending) = shell.carry_out(effect) {
                return Ok(ending);
            }
        }
    }
}

fn listen_for_signals(events: &Events) -> Result<(), DaemonError> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signals = signal(kind).map_err(DaemonError::Signals)?;
        let events = events.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                // A closed inbox means that the daemon is ending anyway.
                let _ = events.send(Event::Input(Input::StopRequested));
            }
        });
    }
    Ok(())
}

/// Everything effects act on.
struct Shell {
    clock: Clock,
    events: Events,
    outbox: Option<mpsc::UnboundedSender<FromMachine>>,
    trainers: Trainers,
}

impl Shell {
    fn input(&mut self, event: Event) -> Input {
        note_where_it_stands(&event);
        match event {
            Event::Up { address, outbox } => {
                self.outbox = Some(outbox);
                Input::Connected { address }
            }
            Event::Said(message) => Input::Message(message),
            Event::Down => {
                self.outbox = None;
                Input::Disconnected
            }
            Event::Input(input) => {
                if let Input::Trainer(key, TrainerEvent::Exited { .. }) = &input {
                    self.trainers.forget(*key);
                }
                input
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) -> Option<Ending> {
        match effect {
            Effect::Send(message) => {
                if let Some(outbox) = &self.outbox {
                    // Fails only when the stream just ended; then `Down` is on its way and all is said again later.
                    let _ = outbox.send(message);
                }
            }
            Effect::Survey(place) => {
                let events = self.events.clone();
                tokio::task::spawn_blocking(move || {
                    let found = survey::survey(&place).map_err(|error| crate::ending::sentence(&error));
                    let _ = events.send(Event::Input(Input::Surveyed(place, found)));
                });
            }
            Effect::Spawn(key, first) => self.trainers.spawn(key, first),
            Effect::Tell(key, line) => self.trainers.tell(key, line),
            Effect::End(key) => self.trainers.end(key),
            Effect::Kill(key) => self.trainers.kill(key),
            Effect::Notify(notice) => log(&notice),
            Effect::Exit(ending) => return Some(ending),
        }
        None
    }
}

/// Lines of the log say the run, the generation and the step that this machine is at when they are written.
fn note_where_it_stands(event: &Event) {
    match event {
        Event::Said(ToMachine::Welcome(welcome)) => m2t_log::stand("run", &*welcome.recipe.name),
        Event::Said(ToMachine::Assign(assignment)) => {
            m2t_log::stand("generation", assignment.generation.0);
            if let Work::Train(group) = &assignment.work {
                m2t_log::stand("step", group.start_from.step().0);
            }
        }
        Event::Input(Input::Trainer(_, TrainerEvent::Said(said))) => {
            if let News::Stepped(report) = &said.news {
                m2t_log::stand("step", report.step.0);
            }
        }
        Event::Up { .. } | Event::Said(_) | Event::Down | Event::Input(_) => {}
    }
}

fn log(notice: &Notice) {
    match notice {
        Notice::Unfit { .. }
        | Notice::OtherData { .. }
        | Notice::TrainerFailed { .. }
        | Notice::OldGeneration { .. } => {
            tracing::error!("{notice}");
        }
        Notice::Killed { .. }
        | Notice::LeftWithoutDrain
        | Notice::FinishedUnheard { .. }
        | Notice::NotWelcomed
        | Notice::AnotherRun
        | Notice::StartsAgain { .. } => {
            tracing::warn!("{notice}");
        }
        Notice::Welcomed { .. }
        | Notice::Fit { .. }
        | Notice::Generation { .. }
        | Notice::StandingBy { .. }
        | Notice::Holding { .. }
        | Notice::Held { .. }
        | Notice::Leaving => {
            tracing::info!("{notice}");
        }
    }
}

/// Wall time at the start, monotonic from there: a stepped clock moves no deadline.
struct Clock {
    start: Instant,
    wall: Timestamp,
}

impl Clock {
    fn new() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            start: Instant::now(),
            wall: Timestamp(0).after(since_epoch),
        }
    }

    fn now(&self) -> Timestamp {
        self.wall.after(self.start.elapsed())
    }

    async fn sleep_until(&self, deadline: Option<Timestamp>) {
        match deadline {
            // A millisecond more, because a timestamp is cut to whole ones and a tick must not come early for ever.
            Some(deadline) => tokio::time::sleep(deadline.since(self.now()) + Duration::from_millis(1)).await,
            None => std::future::pending().await,
        }
    }
}
