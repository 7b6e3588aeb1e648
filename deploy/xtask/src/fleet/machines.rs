//! Machines and the coordinator's as network namespaces, and a cable of each machine that can be pulled.
//!
//! The bridge lies in the coordinator's namespace, so nothing of it is seen outside and fleets cannot collide. A pulled
//! cable tells nobody anything: packets are dropped on both sides and no connection is reset. What a killed command left
//! behind is removed by the next.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, test_kill_process};

/// Names of our namespaces begin so; the process id and who it is follow.
const PREFIX: &str = "m2t-bench-";
/// Coordinator first; addresses end with 1, 2, 3, …
const COORDINATOR: &str = "coordinator";

/// The namespaces. Dropping it removes them; what runs in them must have ended before.
pub(crate) struct Machines(Vec<String>);

impl Machines {
    /// The coordinator's, and one for each of the daemons, by their names.
    pub(crate) fn make(names: &[impl AsRef<str>]) -> Result<Self> {
        remove_leftovers()?;
        let mut machines = Self(Vec::new());
        machines.add(COORDINATOR)?;
        let bridge = machines.inside(COORDINATOR);
        ip(&["-n", &bridge, "link", "add", "bridge", "type", "bridge"])?;
        ip(&[
            "-n",
            &bridge,
            "addr",
            "add",
            &address_and_mask(1),
            "dev",
            "bridge",
        ])?;
        ip(&["-n", &bridge, "link", "set", "bridge", "up"])?;
        for (i, name) in names.iter().enumerate() {
            let name = name.as_ref();
            machines.add(name)?;
            let inside = machines.inside(name);
            ip(&[
                "-n", &bridge, "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", &inside,
            ])?;
            ip(&["-n", &bridge, "link", "set", name, "master", "bridge", "up"])?;
            ip(&[
                "-n",
                &inside,
                "addr",
                "add",
                &address_and_mask(i + 2),
                "dev",
                "eth0",
            ])?;
            ip(&["-n", &inside, "link", "set", "eth0", "up"])?;
        }
        Ok(machines)
    }

    /// Where the coordinator listens.
    pub(crate) fn listen() -> String {
        format!("{}:0", address(1))
    }

    /// The same command on a machine; the process is the program itself.
    pub(crate) fn wrap(&self, name: &str, command: &Command) -> Command {
        let mut wrapped = Command::new("ip");
        wrapped
            .args(["netns", "exec", &self.inside(name)])
            .arg(command.get_program())
            .args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(key, value),
                None => wrapped.env_remove(key),
            };
        }
        wrapped
    }

    /// Pulls a machine's cable.
    pub(crate) fn cut(&self, name: &str) -> Result<()> {
        ip(&["-n", &self.inside(COORDINATOR), "link", "set", name, "down"])
    }

    /// Plugs it in again.
    pub(crate) fn heal(&self, name: &str) -> Result<()> {
        ip(&["-n", &self.inside(COORDINATOR), "link", "set", name, "up"])
    }

    fn add(&mut self, name: &str) -> Result<()> {
        let namespace = self.inside(name);
        ip(&["netns", "add", &namespace])?;
        self.0.push(namespace.clone());
        ip(&["-n", &namespace, "link", "set", "lo", "up"])
    }

    fn inside(&self, name: &str) -> String {
        format!("{PREFIX}{}-{name}", std::process::id())
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        for namespace in &self.0 {
            // What stays is removed by the next command.
            let _ = ip(&["netns", "del", namespace]);
        }
    }
}

fn address(last: usize) -> String {
    format!("10.78.0.{last}")
}

fn address_and_mask(last: usize) -> String {
    format!("{}/24", address(last))
}

fn remove_leftovers() -> Result<()> {
    let listed = Command::new("ip")
        .args(["netns", "list"])
        .output()
        .context("cannot run `ip`; install iproute2")?;
    for line in String::from_utf8_lossy(&listed.stdout).lines() {
        let namespace = line.split_whitespace().next().unwrap_or_default();
        let owner = namespace
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next()?.parse().ok())
            .and_then(Pid::from_raw);
        if owner.is_some_and(|owner| test_kill_process(owner).is_err()) {
            // Another command may remove it at the same time.
            let _ = ip(&["netns", "del", namespace]);
        }
    }
    Ok(())
}

fn ip(arguments: &[&str]) -> Result<()> {
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
