//! The switch between the machines: one thread that reads every packet, asks the rules, and passes it on in its time.
//!
//! It knows addresses and nothing of what is inside a packet. Losses are drawn from a fixed seed; which packet they meet
//! depends on the order in which packets come, so they are fair but not repeatable.

use std::collections::BTreeMap;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tun_rs::SyncDevice;

/// Long packets, so that a gradient is few of them.
pub(super) const MTU: u16 = 9000;
/// Where an IPv4 packet has the last byte of its receiver's address.
const LAST_OF_RECEIVER: usize = 19;

/// What passes between a machine and the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// Everything.
    Open,
    /// Only what comes to it.
    Outgoing,
    /// Nothing.
    Both,
}

struct Rules {
    cuts: Vec<Cut>,
    delay: Duration,
    /// Share of packets, 0 to 1.
    loss: f64,
}

/// The running switch; port i belongs to the machine whose address ends with i + 1.
pub(super) struct Switch {
    rules: Arc<Mutex<Rules>>,
    stop: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl Switch {
    /// Connects these devices.
    pub(super) fn new(devices: Vec<SyncDevice>) -> std::io::Result<Self> {
        for device in &devices {
            device.set_nonblocking(true)?;
        }
        let rules = Arc::new(Mutex::new(Rules {
            cuts: vec![Cut::Open; devices.len()],
            delay: Duration::ZERO,
            loss: 0.0,
        }));
        let (stop, stopped) = UnixStream::pair()?;
        let wires = Wires {
            devices,
            rules: Arc::clone(&rules),
            under_way: BTreeMap::new(),
            n_packets: 0,
            chance: blake3::Hasher::new().finalize_xof(),
        };
        let thread = std::thread::spawn(move || wires.run(&stopped));
        Ok(Self {
            rules,
            stop,
            thread: Some(thread),
        })
    }

    /// Sets what passes at a port.
    pub(super) fn cut(&self, port: usize, cut: Cut) {
        self.rules().cuts[port] = cut;
    }

    /// Sets how long a packet takes.
    pub(super) fn delay(&self, one_way: Duration) {
        self.rules().delay = one_way;
    }

    /// Sets the share of packets that are lost.
    pub(super) fn loss(&self, share: f64) {
        self.rules().loss = share;
    }

    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().expect("the switch does not panic")
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        // The thread sees its end of the pair closed, and takes the devices with it.
        let _ = self.stop.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// When a packet is due, and its number, so that packets due at once keep their order.
type Due = (Instant, u64);

struct Wires {
    devices: Vec<SyncDevice>,
    rules: Arc<Mutex<Rules>>,
    under_way: BTreeMap<Due, (usize, Vec<u8>)>,
    n_packets: u64,
    chance: blake3::OutputReader,
}

impl Wires {
    fn run(mut self, stopped: &UnixStream) {
        let mut buffer = vec![0; usize::from(u16::MAX)];
        loop {
            let wait = self
                .under_way
                .first_key_value()
                .map(|(due, _)| due.0.saturating_duration_since(Instant::now()));
            let timeout =
                wait.map(|wait| Timespec::try_from(wait).expect("a delay of a test is far below 2^63 s"));
            let mut polled = vec![PollFd::new(stopped, PollFlags::IN)];
            let readable = self
                .devices
                .iter()
                .map(|device| PollFd::new(device, PollFlags::IN));
            polled.extend(readable);
            // An interruption is as good as nothing to read.
            let _ = poll(&mut polled, timeout.as_ref());
            if !polled[0].revents().is_empty() {
                return;
            }
            let ready: Vec<usize> = (0..self.devices.len())
                .filter(|port| polled[port + 1].revents().contains(PollFlags::IN))
                .collect();
            for port in ready {
                self.read(port, &mut buffer);
            }
            self.deliver();
        }
    }

    /// Takes in what a machine sent, until there is no more.
    fn read(&mut self, from: usize, buffer: &mut [u8]) {
        while let Ok(length) = self.devices[from].recv(buffer) {
            let packet = &buffer[..length];
            let Some(to) = self.receiver(packet) else { continue };
            let lot = self.draw();
            let rules = self.rules.lock().expect("the test does not panic with the rules");
            let due = Instant::now() + rules.delay;
            let is_lost = rules.cuts[from] != Cut::Open || lot < rules.loss;
            drop(rules);
            if !is_lost {
                self.n_packets += 1;
                self.under_way
                    .insert((due, self.n_packets), (to, packet.to_vec()));
            }
        }
    }

    /// The port of whom a packet is for; none for other protocols, broadcasts and strangers.
    fn receiver(&self, packet: &[u8]) -> Option<usize> {
        let is_ipv4 = packet.first()? >> 4 == 4;
        let port = usize::from(*packet.get(LAST_OF_RECEIVER)?).checked_sub(1)?;
        (is_ipv4 && port < self.devices.len()).then_some(port)
    }

    fn deliver(&mut self) {
        while let Some(first) = self.under_way.first_entry() {
            if first.key().0 > Instant::now() {
                return;
            }
            let (to, packet) = first.remove();
            let cut = self
                .rules
                .lock()
                .expect("the test does not panic with the rules")
                .cuts[to];
            if cut != Cut::Both {
                // What a full or vanished device does not take is lost, as on any network.
                let _ = self.devices[to].send(&packet);
            }
        }
    }

    /// A number in [0, 1).
    fn draw(&mut self) -> f64 {
        let mut bytes = [0; 4];
        self.chance.fill(&mut bytes);
        f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
    }
}
