//! One process under test: its output is kept, and it does not outlive its test.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::PATIENCE;

/// How often a process is asked whether it ended; the operating system offers no wait with a deadline.
const EXIT_POLL: Duration = Duration::from_millis(5);

/// A running process.
pub struct Process {
    name: String,
    child: Child,
    log: Arc<Log>,
    readers: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

impl Log {
    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().expect("no reader panics")
    }

    fn keep(&self, pipe: impl Read) {
        for line in BufReader::new(pipe).lines() {
            let Ok(line) = line else { return };
            self.lines().push(line);
            self.more.notify_all();
        }
    }
}

impl Process {
    /// Starts `command`; `name` is for messages.
    pub fn start(name: &str, command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let log = Arc::new(Log::default());
        let stdout = child
            .stdout
            .take()
            .map(|pipe| Box::new(pipe) as Box<dyn Read + Send>);
        let stderr = child
            .stderr
            .take()
            .map(|pipe| Box::new(pipe) as Box<dyn Read + Send>);
        let readers = stdout.into_iter().chain(stderr).map(|pipe| {
            let log = Arc::clone(&log);
            std::thread::spawn(move || log.keep(pipe))
        });
        let readers = readers.collect();
        Self {
            name: name.to_owned(),
            child,
            log,
            readers,
        }
    }

    /// The first line, past or to come, in which `wanted` finds something.
    pub fn wait_for_line<T>(&self, what: &str, wanted: impl Fn(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.log.lines();
        let mut seen = 0;
        loop {
            if let Some(found) = lines[seen..].iter().find_map(|line| wanted(line)) {
                return found;
            }
            seen = lines.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(lines);
                panic!("{} did not say {what}\n{}", self.name, self.tail());
            }
            lines = self
                .log
                .more
                .wait_timeout(lines, left)
                .expect("no reader panics")
                .0;
        }
    }

    /// Waits for a line that contains `text`.
    pub fn wait_for_text(&self, text: &str) {
        self.wait_for_line(&format!("{text:?}"), |line| line.contains(text).then_some(()));
    }

    /// Its number.
    pub fn pid(&self) -> i32 {
        Pid::from_child(&self.child).as_raw_nonzero().get()
    }

    /// Its living children, by their numbers: a daemon's trainers, in the order they were started in.
    pub fn children(&self) -> Vec<i32> {
        let pid = self.pid();
        let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let text = text.expect("the process lives");
        text.split_whitespace()
            .map(|pid| pid.parse().expect("a number"))
            .collect()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal)
            .unwrap_or_else(|error| panic!("{} cannot be signalled: {error}", self.name));
    }

    /// Waits for its end; its exit code, none if a signal ended it.
    pub fn wait(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.ended() {
                return status.code();
            }
            assert!(
                Instant::now() < deadline,
                "{} did not end\n{}",
                self.name,
                self.tail()
            );
            std::thread::sleep(EXIT_POLL);
        }
    }

    /// Waits for its end, which must be with `code`.
    pub fn expect_exit(&mut self, code: i32) {
        let ended = self.wait();
        assert_eq!(
            ended,
            Some(code),
            "{} ended otherwise\n{}",
            self.name,
            self.tail()
        );
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.wait();
    }

    /// Its end, if it ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// All it said, once it ended.
    pub fn output(&mut self) -> String {
        self.wait();
        for reader in self.readers.drain(..) {
            reader.join().expect("no reader panics");
        }
        self.log.lines().join("\n")
    }

    /// The last of what it said, for messages.
    pub fn tail(&self) -> String {
        let lines = self.log.lines();
        let from = lines.len().saturating_sub(40);
        format!("--- {} ---\n{}", self.name, lines[from..].join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Either it is gone already, or this makes it so.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.tail());
        }
    }
}

/// Waits until the process `pid`, no child of the test, is gone.
pub fn wait_until_gone(pid: i32) {
    let deadline = Instant::now() + PATIENCE;
    let lives = || Pid::from_raw(pid).is_some_and(|pid| test_kill_process(pid).is_ok()) && !is_zombie(pid);
    while lives() {
        assert!(Instant::now() < deadline, "process {pid} does not end");
        std::thread::sleep(EXIT_POLL);
    }
}

/// Whether a process is dead and only waits to be reaped by whoever took it over.
fn is_zombie(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state follows the name, which stands in brackets and may hold anything.
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
}
