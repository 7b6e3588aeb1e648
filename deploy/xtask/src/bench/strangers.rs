//! What strangers cost a run: the duration of its steps while nobody knocks, and while thousands of connections stand idle at the coordinator's
//! door, handshakes are dribbled byte by byte, and ports are scanned with noise. Calm and storm take turns, so that the machine's other
//! work falls on both.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setpriority_process, setrlimit};
use serde::Serialize;

use super::line::{Beside, Measurement, machine, median, rounded};
use super::{Bench, print};
use crate::fleet::make_data;
use crate::fleet::member::{Member, listening_address};
use crate::fleet::steps::Steps;

/// Steps of a quarter of a second on two cores, without end.
const EXPERIMENT: &str = r#"
arch = "resnet18"
world = 2
batch = 8
pixels = 64
steps = 1000000
warmup_epochs = 0
"#;
/// Connections that stand idle at once.
const IDLE: usize = 10_000;
/// Connections that send a byte now and then.
const SLOW: usize = 200;
/// Files of this process for everything else.
const OTHER_FILES: usize = 256;
/// How long calm and storm last each.
const WINDOW: Duration = Duration::from_secs(6);
/// After a change, until it is felt.
const SETTLE: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// A run that has not begun by then does not begin.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is this bench's own.
#[derive(Debug, Serialize)]
struct Own {
    /// Connections that stood idle at the end of a storm.
    idle: usize,
    /// Steps measured in storms; those of calms are `baseline_runs`.
    steps: usize,
}

/// Measures so many calms and storms, and prints the line.
pub(super) fn run(bench: &Bench<'_>, runs: u32) -> Result<()> {
    let n_idle = raise_limit(IDLE + SLOW + OTHER_FILES)
        .saturating_sub(SLOW + OTHER_FILES)
        .min(IDLE);
    let experiment = bench.work.join("strangers.toml");
    fs::write(&experiment, EXPERIMENT).with_context(|| format!("cannot write {}", experiment.display()))?;
    let data = bench.work.join("data");
    make_data(bench.workspace, &data)?;
    let output = bench.work.join("output");
    let mut command = bench.program("m2t-coordinator");
    command.args(["--listen", "127.0.0.1:0", "--min-devices", "2", "--experiment"]);
    command
        .arg(&experiment)
        .arg("--data")
        .arg(data.join("train"))
        .arg("--output")
        .arg(&output);
    let _coordinator = Member::start("coordinator", &bench.work, command, None)?;
    let address = listening_address(bench.interrupt, &bench.work.join("coordinator.log"))?;
    let mut command = bench.program("m2t-worker");
    command.args(["--coordinator", &address, "--devices", "cpu:2"]);
    let _daemon = Member::start("daemon", &bench.work, command, None)?;
    let address: SocketAddr = address.parse().context("the coordinator told no address")?;

    let mut steps = Steps::follow(output.join("metrics.jsonl"));
    watch(bench, &mut steps, PATIENCE, |steps| {
        steps.first_after(0).is_some()
    })?;
    ensure!(
        steps.first_after(0).is_some(),
        "no step in {} s",
        PATIENCE.as_secs()
    );
    let (mut calm, mut stormy, mut stood) = (Vec::new(), Vec::new(), n_idle);
    for run in 0..runs {
        calm.extend(window(bench, &mut steps)?);
        let storm = Storm::begin(address, n_idle);
        stormy.extend(window(bench, &mut steps)?);
        stood = stood.min(storm.standing());
        drop(storm);
        let (calm, stormy) = (median(&calm), median(&stormy));
        eprintln!(
            "{} of {runs}: a step takes {calm:.3} s in calm, {stormy:.3} s in the storm",
            run + 1
        );
    }
    let (own, baseline) = (median(&stormy), median(&calm));
    print(&Measurement {
        bench: "strangers",
        case: "step",
        median: rounded(own),
        unit: "s",
        runs: usize::try_from(runs).unwrap_or(usize::MAX),
        machine: machine(),
        beside: Some(Beside {
            baseline: "calm",
            baseline_median: rounded(baseline),
            baseline_runs: calm.len(),
            ratio: rounded(baseline / own),
        }),
        own: Own {
            idle: stood,
            steps: stormy.len(),
        },
    })
}

/// Durations of the steps of one window, in seconds.
fn window(bench: &Bench<'_>, steps: &mut Steps) -> Result<Vec<f64>> {
    watch(bench, steps, SETTLE, |_| false)?;
    let began = Instant::now();
    watch(bench, steps, WINDOW, |_| false)?;
    let seen = steps.since(began);
    let durations = seen
        .windows(2)
        .map(|pair| pair[1].duration_since(pair[0]).as_secs_f64());
    Ok(durations.collect())
}

/// Follows the steps for so long, or until it is as wanted.
fn watch(
    bench: &Bench<'_>,
    steps: &mut Steps,
    long: Duration,
    wanted: impl Fn(&Steps) -> bool,
) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < long && !wanted(steps) {
        steps.look()?;
        bench.interrupt.check()?;
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

/// As many files as this process may open, at most as many as wanted.
fn raise_limit(wanted: usize) -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let most = maximum.map_or(wanted, |most| {
        usize::try_from(most).unwrap_or(usize::MAX).min(wanted)
    });
    let raised = Rlimit {
        current: u64::try_from(most).ok(),
        maximum,
    };
    // What is not allowed shows in the number of connections.
    let _ = setrlimit(Resource::Nofile, raised);
    most
}

/// Strangers, until it is dropped. They come from this machine, so that they take its time only where nobody else wants it (nice 19): a
/// real one has a machine of its own.
struct Storm {
    is_over: Arc<AtomicBool>,
    standing: Arc<AtomicUsize>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Storm {
    fn begin(address: SocketAddr, n_idle: usize) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let standing = Arc::new(AtomicUsize::new(0));
        let start = |work: fn(&Stranger)| {
            let stranger = Stranger {
                address,
                n_idle,
                is_over: Arc::clone(&is_over),
                standing: Arc::clone(&standing),
            };
            std::thread::spawn(move || {
                let this = rustix::thread::gettid();
                // Without the right to be humbler they are as everybody.
                let _ = setpriority_process(Some(this), 19);
                work(&stranger);
            })
        };
        let threads = vec![
            start(Stranger::stand),
            start(Stranger::dribble),
            start(Stranger::scan),
        ];
        Self {
            is_over,
            standing,
            threads,
        }
    }

    /// Idle connections that stand, as of the last look.
    fn standing(&self) -> usize {
        self.standing.load(Ordering::Relaxed)
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

struct Stranger {
    address: SocketAddr,
    n_idle: usize,
    is_over: Arc<AtomicBool>,
    standing: Arc<AtomicUsize>,
}

impl Stranger {
    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    fn knock(&self) -> Option<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.address, Duration::from_secs(2)).ok()?;
        stream.set_nonblocking(true).ok()?;
        Some(stream)
    }

    /// Keeps thousands of connections that say nothing; those that are closed are opened again.
    fn stand(&self) {
        let mut open: Vec<TcpStream> = Vec::new();
        while self.goes_on() {
            open.retain_mut(is_open);
            while open.len() < self.n_idle && self.goes_on() {
                open.extend(self.knock());
                self.standing.store(open.len(), Ordering::Relaxed);
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// Sends the first bytes of a handshake, one now and then.
    fn dribble(&self) {
        const HELLO: [u8; 16] = [22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 7, 7, 7, 7, 7];
        let mut open: Vec<(TcpStream, usize)> = Vec::new();
        while self.goes_on() {
            open.retain_mut(|(stream, said)| {
                let byte = HELLO[*said % HELLO.len()];
                *said += 1;
                is_open(stream) && stream.write(&[byte]).is_ok()
            });
            while open.len() < SLOW && self.goes_on() {
                open.extend(self.knock().map(|stream| (stream, 0)));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Tries one protocol after the other, a hundred times in a second.
    fn scan(&self) {
        const NOISE: [&[u8]; 5] = [
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"SSH-2.0-scanner\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            &[0; 1024],
            &[22, 3, 1, 0, 1, 1],
        ];
        for noise in NOISE.iter().cycle() {
            if !self.goes_on() {
                return;
            }
            if let Some(mut stream) = self.knock() {
                // Whoever is cut off has had his answer.
                let _ = stream.write(noise);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Whether the other end has not closed it.
fn is_open(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 256]) {
        Ok(n_bytes) => n_bytes > 0,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}
