//! A device as a process: it obeys the lines of its standard input, and answers in lines.
//!
//! ```text
//! open               at ADDRESS                 opens a meeting
//! join ADDRESS       joined
//! connect I N        connected                  as device I of N
//! sum VALUE          sum RESULT | failed WHY    WHY is `aborted` or `lost`
//! loop N             started, looping, broke WHY COUNT   all-reduces N elements on a thread of its own, over and over; told when the
//!                                               first operation is pending, when it is over, and when one has failed
//! enough             (nothing)                  the loop ends on all devices after the same operation: broke never COUNT
//! abort_in MICROS    aborted MICROS             on two threads at once; how long the call took
//! rest               resting                    the loop, if any, is over
//! drop               dropped MICROS
//! count              THREADS DESCRIPTORS        of this process
//! settle T D         THREADS DESCRIPTORS        likewise, once they are as said or five seconds later
//! ```

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use m2t_torch::TorchError;
use m2t_torch::collective::{Collective, Gloo, Handle, Meeting, Op, Timeouts};
use tch::{Device, Kind, Tensor};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// As in the trainer: no case may come near it.
const TIMEOUT: Duration = Duration::from_secs(300);

#[derive(Default)]
struct State {
    meeting: Option<Meeting>,
    group: Option<Arc<Gloo>>,
    looping: Option<JoinHandle<()>>,
    enough: Arc<AtomicBool>,
}

/// Obeys until the input ends.
pub(crate) fn obey() {
    m2t_torch::set_threads(1);
    let mut state = State::default();
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        if let Some(answer) = state.answer(&words) {
            println!("{answer}");
        }
    }
}

impl State {
    fn answer(&mut self, words: &[&str]) -> Option<String> {
        Some(match *words {
            ["open"] => {
                let meeting = Meeting::open(HERE, TIMEOUT).unwrap();
                let address = meeting.address();
                self.meeting = Some(meeting);
                format!("at {address}")
            }
            ["join", address] => {
                self.meeting = Some(Meeting::join(address.parse().unwrap(), TIMEOUT).unwrap());
                "joined".to_owned()
            }
            ["connect", index, size] => {
                let place = (index.parse().unwrap(), size.parse().unwrap());
                let meeting = self.meeting.take().unwrap();
                self.group = Some(Arc::new(
                    Gloo::connect(
                        meeting,
                        HERE,
                        place,
                        Timeouts {
                            connecting: TIMEOUT,
                            operation: TIMEOUT,
                        },
                    )
                    .unwrap(),
                ));
                "connected".to_owned()
            }
            ["sum", value] => self.sum(value.parse().unwrap()),
            ["loop", n_elements] => {
                let group = Arc::clone(self.group.as_ref().unwrap());
                self.enough.store(false, Ordering::SeqCst);
                let (n, enough) = (n_elements.parse().unwrap(), Arc::clone(&self.enough));
                self.looping = Some(thread::spawn(move || reduce_on_and_on(&*group, n, &enough)));
                return None;
            }
            ["enough"] => {
                self.enough.store(true, Ordering::SeqCst);
                return None;
            }
            ["abort_in", micros] => self.abort(Duration::from_micros(micros.parse().unwrap())),
            ["rest"] => {
                self.rest();
                "resting".to_owned()
            }
            ["drop"] => {
                self.rest();
                let begun = Instant::now();
                self.group = None;
                format!("dropped {}", begun.elapsed().as_micros())
            }
            ["count"] => count(),
            ["settle", n_threads, n_descriptors] => settle(&format!("{n_threads} {n_descriptors}")),
            _ => panic!("no such order: {words:?}"),
        })
    }

    fn sum(&self, value: i64) -> String {
        let tensor = Tensor::from_slice(&[value]);
        let group = self.group.as_ref().unwrap();
        match group.all_reduce(&tensor, Op::Sum).and_then(Handle::wait) {
            Ok(()) => format!("sum {}", tensor.int64_value(&[0])),
            Err(error) => format!("failed {}", reason(&error)),
        }
    }

    /// Spins until the moment: it is a moment to abort at, not a time to wait for anything.
    fn abort(&self, moment: Duration) -> String {
        let group = self.group.as_ref().unwrap();
        let received = Instant::now();
        while received.elapsed() < moment {
            std::hint::spin_loop();
        }
        let begun = Instant::now();
        thread::scope(|scope| {
            scope.spawn(|| group.abort());
            group.abort();
        });
        format!("aborted {}", begun.elapsed().as_micros())
    }

    fn rest(&mut self) {
        if let Some(looping) = self.looping.take() {
            looping.join().unwrap();
        }
    }
}

fn reduce_on_and_on(group: &dyn Collective, n_elements: i64, enough: &AtomicBool) {
    // The last element says how many devices have had enough, so that all end after the same operation.
    let mut n_done = 0;
    let ended = loop {
        let tensor = Tensor::zeros([n_elements], (Kind::Float, Device::Cpu));
        let _ = tensor
            .narrow(0, n_elements - 1, 1)
            .fill_(f64::from(u8::from(enough.load(Ordering::SeqCst))));
        let result = group.all_reduce(&tensor, Op::Sum).and_then(|handle| {
            if n_done == 0 {
                println!("started");
            }
            handle.wait()
        });
        if let Err(error) = result {
            break reason(&error);
        }
        n_done += 1;
        if n_done == 1 {
            println!("looping");
        }
        if tensor.double_value(&[n_elements - 1]) > 0.0 {
            break "never";
        }
    };
    println!("broke {ended} {n_done}");
}

fn reason(error: &TorchError) -> &'static str {
    match error {
        TorchError::Aborted => "aborted",
        TorchError::Libtorch(_) | TorchError::Cuda(_) | TorchError::Nccl(_) => "lost",
    }
}

/// Threads and descriptors of this process; the one that lists descriptors is among them, always.
fn count() -> String {
    let entries = |folder: &str| std::fs::read_dir(folder).unwrap().count();
    format!("{} {}", entries("/proc/self/task"), entries("/proc/self/fd"))
}

/// A joined thread leaves /proc a moment after the join.
fn settle(wanted: &str) -> String {
    let begun = Instant::now();
    loop {
        let now = count();
        if now == wanted || begun.elapsed() > Duration::from_secs(5) {
            return now;
        }
        thread::yield_now();
    }
}
