//! A program in a terminal of its own (a pty): what it writes, keys, sizes, and whether it gives the terminal back.
//!
//! What is seen is what was written since the last look, without control sequences: a view that is drawn in place writes only what
//! changes, so a text counts as seen when its letters came one after the other.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use super::PATIENCE;
use super::screen::Screen;

/// A program and its terminal.
pub struct Terminal {
    child: Child,
    /// The end that a person holds.
    master: std::fs::File,
    /// Kept open, so that the settings can be looked at when the program has gone.
    slave: OwnedFd,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    screen: Mutex<Screen>,
    more: Condvar,
}

impl Terminal {
    /// Starts `command` in a terminal of so many columns and rows.
    pub fn start(mut command: Command, size: (u16, u16)) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal can be made");
        grantpt(&master)
            .and_then(|()| unlockpt(&master))
            .expect("the terminal is ours");
        let name = ptsname(&master, Vec::new()).expect("the terminal has a name");
        let path = name.to_str().expect("a plain path").to_owned();
        let open = || {
            std::fs::OpenOptions::new()
                .read(true)
                .write(true)
                .open(&path)
                .expect("the terminal opens")
        };
        let slave: OwnedFd = open().into();
        set_size(&slave, size);
        let child = command
            .env("TERM", "xterm")
            .env_remove("NO_COLOR")
            .stdin(open())
            .stdout(open())
            .stderr(open())
            .spawn()
            .expect("the program starts");
        let seen = Arc::new(Seen::default());
        seen.screen.lock().expect("no reader panics").resize(size);
        let mut reader = std::fs::File::from(master.try_clone().expect("a descriptor can be copied"));
        let reads = Arc::clone(&seen);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = reader.read(&mut bytes) {
                reads.screen.lock().expect("no reader panics").write(&bytes[..n]);
                reads.more.notify_all();
            }
        });
        Self {
            child,
            master: master.into(),
            slave,
            seen,
        }
    }

    /// Waits until `text` stands in a row of the screen.
    pub fn wait_for(&self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        let mut screen = self.seen.screen.lock().expect("no reader panics");
        while !screen.rows().iter().any(|row| row.contains(text)) {
            let left = deadline.saturating_duration_since(Instant::now());
            let rows = screen.rows().join("\n");
            assert!(left > Duration::ZERO, "never saw {text:?}\n{rows}");
            screen = self
                .seen
                .more
                .wait_timeout(screen, left)
                .expect("no reader panics")
                .0;
        }
    }

    /// Types.
    pub fn press(&mut self, keys: &str) {
        self.master
            .write_all(keys.as_bytes())
            .expect("the terminal takes keys");
    }

    /// Makes the terminal another size, of which the program is told.
    pub fn resize(&mut self, size: (u16, u16)) {
        self.seen.screen.lock().expect("no reader panics").resize(size);
        set_size(&self.slave, size);
        // Without a session of its own the kernel knows nobody to tell.
        self.signal(Signal::WINCH);
    }

    /// Sends a signal to the program.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the program lives");
    }

    /// Waits for the program's end, which must be with `code`.
    pub fn expect_exit(&mut self, code: i32) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(ended) = self.child.try_wait().expect("a child can be waited for") {
                assert_eq!(ended.code(), Some(code));
                return;
            }
            let rows = self
                .seen
                .screen
                .lock()
                .expect("no reader panics")
                .rows()
                .join("\n");
            assert!(Instant::now() < deadline, "it does not end\n{rows}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether the terminal shows what is typed and hands it on line by line, as shells expect it.
    pub fn is_cooked(&self) -> bool {
        let settings = tcgetattr(self.slave.as_fd()).expect("a terminal has settings");
        settings
            .local_modes
            .contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    /// Whether the program went to the second screen and is back from it, with the cursor shown.
    pub fn has_left_its_screen(&self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        let mut screen = self.seen.screen.lock().expect("no reader panics");
        loop {
            if screen.was_on_second && !screen.is_on_second && screen.shows_cursor {
                return true;
            }
            // Its last words may still be on their way.
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            screen = self
                .seen
                .more
                .wait_timeout(screen, left)
                .expect("no reader panics")
                .0;
        }
    }
}

fn set_size(terminal: &impl AsFd, (columns, rows): (u16, u16)) {
    let size = Winsize {
        ws_col: columns,
        ws_row: rows,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(terminal, size).expect("a terminal takes a size");
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Either it is gone already, or this makes it so.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
