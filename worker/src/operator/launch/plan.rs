//! What is run where: the command lines of the coordinator and of each daemon, made of what was typed. Runs nothing.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::LaunchOptions;
use super::hosts::Host;
use super::reach::{Reach, Way};
use super::wire::{Role, Seat};
use crate::operator::{Refused, beside};

/// What is run where. The coordinator has number 0, the hosts follow from 1.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) hosts: Vec<Host>,
    options: LaunchOptions,
    /// Tells this run from others: a checksum of its output folder.
    key: String,
    experiment: String,
    data: PathBuf,
    output: PathBuf,
}

impl Plan {
    /// Makes the plan.
    ///
    /// # Errors
    /// Where the options do not say what to do.
    pub(super) fn new(options: LaunchOptions, hosts: Vec<Host>) -> Result<Self, Refused> {
        let absolute = |path: &Path| {
            std::path::absolute(path)
                .map_err(|error| Refused::new(format!("cannot read {} as a path: {error}", path.display())))
        };
        if options.here && options.address.is_none() && options.listen.ip().is_unspecified() {
            return Err(Refused::new(
                "with --here the daemons must be told how they reach this machine; add --address HOST",
            ));
        }
        let output = absolute(&options.output)?;
        let experiment = if options.experiment.ends_with(".toml") {
            absolute(Path::new(&options.experiment))?.display().to_string()
        } else {
            options.experiment.clone()
        };
        Ok(Self {
            key: format!("{:08x}", crc32c::crc32c(output.as_os_str().as_encoded_bytes())),
            experiment,
            data: absolute(&options.data)?,
            output,
            hosts,
            options,
        })
    }

    /// How to reach `number`.
    pub(super) fn way(&self, number: usize) -> anyhow::Result<Way> {
        let this = beside("m2t")?;
        let program = match &self.options.programs {
            Some(folder) => folder.join("m2t"),
            None => this.clone(),
        };
        if number == 0 && self.options.here {
            return Ok(Way {
                reach: Reach::Here,
                program: this,
            });
        }
        let ssh: Vec<String> = self.options.ssh.split_whitespace().map(str::to_owned).collect();
        if ssh.is_empty() {
            return Err(
                Refused::new("--ssh names no program; leave it out, or write --ssh \"ssh -p 2222\"").into(),
            );
        }
        let target = self.hosts[number.saturating_sub(1)].target.clone();
        Ok(Way {
            reach: Reach::Ssh { ssh, target },
            program,
        })
    }

    /// Who speaks, at the begin of a line.
    pub(super) fn label(&self, number: usize) -> String {
        match number.checked_sub(1) {
            None => "coordinator".to_owned(),
            Some(i) => self.hosts[i].name.to_string(),
        }
    }

    /// What runs there.
    pub(super) fn program(&self, number: usize) -> &'static str {
        let role = if number == 0 {
            Role::Coordinator
        } else {
            Role::Worker
        };
        role.program()
    }

    /// The coordinator's seat.
    pub(super) fn coordinator(&self) -> Seat {
        let options = &self.options;
        let mut arguments = Vec::new();
        let mut add = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        add("--experiment", self.experiment.clone());
        add("--data", self.data.display().to_string());
        add("--output", self.output.display().to_string());
        add("--listen", options.listen.to_string());
        if let Some(http) = &options.http {
            add("--http", http.clone());
        }
        if let Some(world) = options.world {
            add("--world", world.to_string());
        }
        if let Some(min_devices) = options.min_devices {
            add("--min-devices", min_devices.to_string());
        }
        for set in &options.set {
            add("--set", set.clone());
        }
        if options.insecure {
            arguments.push("--insecure".to_owned());
        }
        let token_file = self.output.join("state/security/worker.token");
        Seat {
            key: format!("{}-coordinator", self.key),
            role: Role::Coordinator,
            arguments,
            token: None,
            token_file: (!options.insecure).then(|| token_file.display().to_string()),
        }
    }

    /// The seat of the daemon of host `number`, for a coordinator that listens at `address`.
    pub(super) fn daemon(&self, number: usize, address: &str, token: Option<String>) -> Seat {
        let host = &self.hosts[number - 1];
        let mut arguments = Vec::new();
        let mut add = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        add("--coordinator", self.reachable(address));
        add("--name", host.name.to_string());
        if let Some(devices) = &host.devices {
            add("--devices", devices.to_string());
        }
        if let Some(data) = &host.data {
            add("--data", data.display().to_string());
        }
        if self.options.insecure {
            arguments.push("--insecure".to_owned());
        }
        Seat {
            key: format!("{}-worker-{}", self.key, host.name),
            role: Role::Worker,
            arguments,
            token,
            token_file: None,
        }
    }

    /// Where daemons find a coordinator that says it listens at `address`.
    fn reachable(&self, address: &str) -> String {
        let listens = address.parse::<SocketAddr>().unwrap_or(self.options.listen);
        let host = match &self.options.address {
            Some(host) => host.as_str(),
            None if !listens.ip().is_unspecified() => return listens.to_string(),
            None => self.hosts[0].address(),
        };
        let port = listens.port();
        if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        }
    }
}
