//! The list of hosts: which machines train, on what, and with which data. Reads the text; reaches no host.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Parser;
use m2t_common::MachineName;

use crate::devices::Devices;
use crate::operator::Refused;

/// A machine that trains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    /// What ssh is told: a host, `user@host`, or a name of `~/.ssh/config`.
    pub(super) target: String,
    /// The machine's name in the run.
    pub(super) name: MachineName,
    /// What it trains on; none is the daemon's default.
    pub(super) devices: Option<Devices>,
    /// Its data folder, where it is another than the coordinator's.
    pub(super) data: Option<PathBuf>,
}

/// A line, parted into words.
#[derive(Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct Line {
    target: String,
    devices: Option<Devices>,
    #[arg(long)]
    data: Option<PathBuf>,
    #[arg(long)]
    name: Option<MachineName>,
}

impl Host {
    /// The host without its user, as other machines call it.
    pub(super) fn address(&self) -> &str {
        address_of(&self.target)
    }
}

/// Reads a list: a host a line, with its devices, `--data DIR` and `--name NAME` after it; from `#` on a line is a comment.
///
/// # Errors
/// In a sentence with the number of the line.
pub(super) fn read(text: &str) -> Result<Vec<Host>, Refused> {
    let mut hosts = Vec::new();
    let mut names = BTreeSet::new();
    for (i, line) in text.lines().enumerate() {
        let words: Vec<&str> = line
            .split('#')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        if words.is_empty() {
            continue;
        }
        let at = |problem: &str| Refused::new(format!("line {}: {problem}", i + 1));
        let host = host(&words).map_err(|problem| at(&problem))?;
        if !names.insert(host.name.clone()) {
            return Err(at(&format!(
                "a machine of the name {} stands above already; give one of them another with --name",
                host.name
            )));
        }
        hosts.push(host);
    }
    if hosts.is_empty() {
        return Err(Refused::new(
            "names no host; write one a line, such as node-1 gpu:8 --data /fast/packed",
        ));
    }
    Ok(hosts)
}

fn host(words: &[&str]) -> Result<Host, String> {
    // What clap says begins with `error: ` and ends with the usage of a program that there is not.
    let first_line = |error: clap::Error| {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        first.trim_start_matches("error: ").to_owned()
    };
    let line = Line::try_parse_from(words).map_err(first_line)?;
    if line.target.starts_with('-') || address_of(&line.target).is_empty() {
        return Err(format!("{:?} is no host", line.target));
    }
    let name = match line.name {
        Some(name) => name,
        None => address_of(&line.target)
            .parse()
            .map_err(|error| format!("{error}"))?,
    };
    Ok(Host {
        target: line.target,
        name,
        devices: line.devices,
        data: line.data,
    })
}

fn address_of(target: &str) -> &str {
    target.rsplit_once('@').map_or(target, |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_host_with_its_devices_and_data() {
        let text = "# the fast ones\nnode-1 gpu:8\nme@10.0.0.2 cpu:2 --data /scratch/train  # its own\n\n  node-3 --name third\n";
        let hosts = read(text).unwrap();
        let seen: Vec<_> = hosts
            .iter()
            .map(|host| {
                let devices = host.devices.as_ref().map(ToString::to_string);
                (
                    host.target.as_str(),
                    host.address(),
                    host.name.as_str(),
                    devices,
                    host.data.clone(),
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                (
                    "node-1",
                    "node-1",
                    "node-1",
                    Some("0,1,2,3,4,5,6,7".to_owned()),
                    None
                ),
                (
                    "me@10.0.0.2",
                    "10.0.0.2",
                    "10.0.0.2",
                    Some("cpu:2".to_owned()),
                    Some("/scratch/train".into())
                ),
                ("node-3", "node-3", "third", None, None),
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, expected) in [
            ("# none\n", "names no host"),
            ("a\n\nb cpu:none", "line 3: invalid value 'cpu:none'"),
            ("a\nb@a", "line 2: a machine of the name a stands above already"),
            ("a cpu:1 cpu:2", "line 1: unexpected argument 'cpu:2'"),
            ("a --date /x", "line 1: unexpected argument '--date'"),
            ("me@", "line 1: \"me@\" is no host"),
            ("fd00::1", "line 1: machine name \"fd00::1\" is not"),
        ] {
            let said = read(text).unwrap_err().to_string();
            assert!(said.contains(expected), "{text:?}: {said}");
        }
    }
}
