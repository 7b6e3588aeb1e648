//! A device, seen from the case: its process, what it is told, and what it answers in time.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

/// Set for a process that is a device.
pub(crate) const ROLE: &str = "M2T_ABORT_DEVICE";

/// For any one answer: far above what a busy machine needs, far below the group's own timeout.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Device {
    process: Child,
    orders: ChildStdin,
    lines: Receiver<String>,
    // Said already, asked for not yet.
    early: VecDeque<String>,
}

impl Device {
    pub(crate) fn start(n: usize) -> Vec<Self> {
        (0..n).map(|_| Self::one()).collect()
    }

    fn one() -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .env(ROLE, "yes")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = channel();
        // Ends with the process.
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let early = VecDeque::new();
        Self {
            process,
            orders,
            lines,
            early,
        }
    }

    pub(crate) fn tell(&mut self, order: &str) {
        writeln!(self.orders, "{order}").unwrap();
    }

    /// The answer to an order that has one line for an answer, whatever a loop says meanwhile.
    pub(crate) fn ask(&mut self, order: &str) -> String {
        self.tell(order);
        self.first(
            |line| !["started", "looping", "broke"].contains(&word(line)),
            order,
        )
    }

    /// The next line that begins with the word.
    pub(crate) fn await_line(&mut self, begin: &str) -> String {
        self.first(|line| word(line) == begin, begin)
    }

    fn first(&mut self, wanted: impl Fn(&str) -> bool, what: &str) -> String {
        if let Some(at) = self.early.iter().position(|line| wanted(line)) {
            return self.early.remove(at).unwrap();
        }
        let begun = Instant::now();
        loop {
            let left = PATIENCE.saturating_sub(begun.elapsed());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|error| {
                panic!("no answer to {what:?} ({error}); before it: {:?}", self.early)
            });
            if wanted(&line) {
                return line;
            }
            self.early.push_back(line);
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Stops the process; when this returns, it is alive and silent.
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
        let (_, status) = waitpid(Some(self.pid()), WaitOptions::UNTRACED).unwrap().unwrap();
        assert!(status.stopped(), "{status:?}");
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn word(line: &str) -> &str {
    line.split(' ').next().unwrap_or_default()
}

/// Makes the devices a group, in their order.
pub(crate) fn meet(devices: &mut [Device]) {
    let size = devices.len();
    let at = devices[0].ask("open");
    let address = at.strip_prefix("at ").unwrap().to_owned();
    for device in &mut devices[1..] {
        device.tell(&format!("join {address}"));
    }
    for device in &mut devices[1..] {
        device.await_line("joined");
    }
    for (index, device) in devices.iter_mut().enumerate() {
        device.tell(&format!("connect {index} {size}"));
    }
    for device in devices {
        device.await_line("connected");
    }
}

/// What each device finds as the sum of the values.
pub(crate) fn sum(devices: &mut [Device], values: &[i64]) -> Vec<String> {
    for (device, value) in devices.iter_mut().zip(values) {
        device.tell(&format!("sum {value}"));
    }
    devices
        .iter_mut()
        .map(|device| device.await_line("sum"))
        .collect()
}
