//! Machines out of network namespaces: each has an address of its own, and their network is ours to cut, slow and heal.
//!
//! Why no `tc netem`: it is missing in many kernels. Every namespace has one TUN device instead, whose other end a thread
//! of the test holds ([`switch`]); whatever goes from machine to machine passes there, and is dropped or delayed by our own
//! rules. The namespaces meet nowhere else, so parallel tests cannot collide although all use the same addresses.
//!
//! It starts no program: it only says how to run one inside.

mod switch;

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tun_rs::DeviceBuilder;

use super::PATIENCE;
use switch::{Cut, Switch};

/// All addresses begin so; the coordinator's ends with 1, the machines' follow.
const SUBNET: [u8; 3] = [10, 77, 0];
/// Names of our namespaces begin so; the process id and more numbers follow.
const PREFIX: &str = "m2t-test-";
/// How often a namespace is asked whether its processes are gone; there is no wait for that.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// The coordinator's port of the switch; machine i has i + 1.
const COORDINATOR: usize = 0;

/// Machines on a network. Dropping it kills all that runs in them.
pub struct Network {
    // Dropped first: without the devices the namespaces are only names.
    switch: Switch,
    coordinator: Machine,
    machines: Vec<Machine>,
}

/// A network namespace, which passes for a machine.
pub struct Machine {
    name: String,
    namespace: String,
    address: IpAddr,
}

impl Network {
    /// `n` machines `m0`, `m1`, … and one for the coordinator; nothing, after a line that says why, where namespaces cannot be
    /// made. With CI=true that is a failure.
    #[expect(clippy::print_stdout, reason = "a skipped test says so")]
    pub fn new(n: usize) -> Option<Self> {
        match Self::make(n) {
            Ok(network) => Some(network),
            Err(error) => {
                let missing = format!("no machines out of network namespaces here: {error:#}");
                assert!(std::env::var("CI").as_deref() != Ok("true"), "{missing}");
                println!("skipped: {missing}");
                None
            }
        }
    }

    fn make(n: usize) -> anyhow::Result<Self> {
        static NETWORKS: AtomicU32 = AtomicU32::new(0);
        remove_leftovers()?;
        let network = NETWORKS.fetch_add(1, Ordering::Relaxed);
        let names = std::iter::once("c".to_owned()).chain((0..n).map(|i| format!("m{i}")));
        let mut machines = Vec::new();
        let mut devices = Vec::new();
        for (port, name) in names.enumerate() {
            let numbers = format!("{}-{network}", std::process::id());
            let machine = Machine {
                namespace: format!("{PREFIX}{numbers}-{name}"),
                address: address_of(port),
                name,
            };
            ip(&["netns", "add", &machine.namespace])?;
            // The device is made here and then moved, so that its other end stays with us. Its name is unique on both sides.
            let device = format!("t{}n{network}p{port}", std::process::id());
            devices.push(
                DeviceBuilder::new()
                    .name(&device)
                    .inherit_enable_state()
                    .build_sync()
                    .context("cannot make a TUN device")?,
            );
            machine.plug_in(&device)?;
            machines.push(machine);
        }
        let coordinator = machines.remove(COORDINATOR);
        Ok(Self {
            switch: Switch::new(devices)?,
            coordinator,
            machines,
        })
    }

    /// Where the coordinator lives.
    pub fn coordinator(&self) -> &Machine {
        &self.coordinator
    }

    /// A machine.
    pub fn machine(&self, i: usize) -> &Machine {
        &self.machines[i]
    }

    /// The machine of that name, if it is one of ours.
    pub fn machine_called(&self, name: &str) -> Option<&Machine> {
        self.machines.iter().find(|machine| machine.name == name)
    }

    /// Nothing comes from machine `i` any more and nothing reaches it; no connection is told.
    pub fn cut(&self, i: usize) {
        self.switch.cut(i + 1, Cut::Both);
    }

    /// Nothing comes from machine `i` any more; what is sent to it arrives.
    pub fn cut_one_way(&self, i: usize) {
        self.switch.cut(i + 1, Cut::Outgoing);
    }

    /// Machine `i` is reached again.
    pub fn heal(&self, i: usize) {
        self.switch.cut(i + 1, Cut::Open);
    }

    /// From now on every packet takes so long, whatever its way.
    pub fn delay(&self, one_way: Duration) {
        self.switch.delay(one_way);
    }

    /// From now on so many of a hundred packets are lost, by chance.
    pub fn loss(&self, percent: f64) {
        self.switch.loss(percent / 100.0);
    }

    /// Machine `i` dies: all its processes at once, and no connection is told. [`Network::heal`] brings the empty machine back.
    pub fn kill_all(&self, i: usize) {
        // A machine without power says no farewell, but a kernel does for a killed process.
        self.cut(i);
        self.machines[i].kill_all();
    }
}

impl Machine {
    /// Its name, which its daemon bears.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The same command, run inside. The process is the program itself, not a parent of it.
    pub fn wrap(&self, command: &Command) -> Command {
        let mut wrapped = Command::new("ip");
        wrapped
            .args(["netns", "exec", &self.namespace])
            .arg(command.get_program())
            .args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(key, value),
                None => wrapped.env_remove(key),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            wrapped.current_dir(folder);
        }
        wrapped
    }

    fn plug_in(&self, device: &str) -> anyhow::Result<()> {
        let address = format!("{}/24", self.address);
        let inside = ["-n", &self.namespace];
        ip(&["link", "set", "dev", device, "netns", &self.namespace])?;
        ip(&[&inside[..], &["addr", "add", &address, "dev", device]].concat())?;
        let mtu = switch::MTU.to_string();
        ip(&[&inside[..], &["link", "set", "dev", device, "mtu", &mtu, "up"]].concat())?;
        ip(&[&inside[..], &["link", "set", "dev", "lo", "up"]].concat())
    }

    fn kill_all(&self) {
        kill_all_in(&self.namespace);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        remove(&self.namespace);
    }
}

fn address_of(port: usize) -> IpAddr {
    let [a, b, c] = SUBNET;
    let last = u8::try_from(port + 1).expect("a test has fewer than 255 machines");
    Ipv4Addr::new(a, b, c, last).into()
}

/// Kills what runs in a namespace, until nothing does.
fn kill_all_in(namespace: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let pids = pids_in(namespace);
        if pids.is_empty() {
            return;
        }
        for pid in pids {
            // It may have ended: that is what is wanted.
            let _ = kill_process(pid, Signal::KILL);
        }
        if Instant::now() >= deadline {
            eprintln!("the processes in the namespace {namespace} do not end");
            return;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn pids_in(namespace: &str) -> Vec<Pid> {
    let output = Command::new("ip").args(["netns", "pids", namespace]).output();
    let said = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&said)
        .split_whitespace()
        .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
        .collect()
}

fn remove(namespace: &str) {
    kill_all_in(namespace);
    // Somebody else may have removed it, and what stays is removed by the next test.
    let _ = ip(&["netns", "del", namespace]);
}

/// Removes the namespaces of tests that were killed.
fn remove_leftovers() -> anyhow::Result<()> {
    let output = Command::new("ip")
        .args(["netns", "list"])
        .output()
        .context("cannot run `ip`; install iproute2")?;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let namespace = line.split_whitespace().next().unwrap_or_default();
        let owner = namespace
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next()?.parse().ok())
            .and_then(Pid::from_raw);
        if owner.is_some_and(|owner| test_kill_process(owner).is_err()) {
            remove(namespace);
        }
    }
    Ok(())
}

fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .context("cannot run `ip`; install iproute2")?;
    ensure!(
        output.status.success(),
        "`ip {}` failed: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
