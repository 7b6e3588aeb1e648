//! What a machine's devices are, looked at once, before the daemon does anything: a GPU that cannot be trained on is refused here
//! and not by trainers that end one after the other.
//!
//! The daemon has no libtorch: `m2t-trainer gpus`, which needs what training needs, is asked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use m2t_common::gpu::GpuFacts;
use m2t_common::machine_link::DeviceFacts;
use m2t_common::{DeviceIndex, GpuName};

use crate::devices::Devices;

/// What each device is, and which of them are GPUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// As the coordinator hears of them. A GPU's index is its number on the machine.
    pub facts: Vec<DeviceFacts>,
    /// The GPUs, as their trainers are told of them.
    pub gpus: BTreeMap<DeviceIndex, GpuName>,
}

/// Why devices cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum GpusError {
    /// The trainer's program does not run.
    #[error("cannot ask {program} for this machine's GPUs")]
    NotAsked {
        /// Its path.
        program: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It says that they are not there, or cannot be used.
    #[error("--devices {devices}: {reason}")]
    NotThere {
        /// As written.
        devices: String,
        /// In a sentence.
        reason: String,
    },
    /// It is another program, or of another version.
    #[error(
        "{program} does not say which GPUs there are (it said {said:?}); build it anew, or correct --trainer"
    )]
    NoAnswer {
        /// Its path.
        program: PathBuf,
        /// What it said.
        said: String,
    },
    /// By UUID and by another, the same one.
    #[error("--devices {devices} names GPU {number} twice; name each once")]
    Twice {
        /// As written.
        devices: String,
        /// Its number.
        number: u32,
    },
}

/// Looks at the devices; `trainer` is the program that would train on them.
///
/// # Errors
/// Where a GPU is not there, or nothing can train on it.
pub fn look(devices: &Devices, trainer: &Path) -> Result<Present, GpusError> {
    match devices {
        Devices::Cpu(n_shares) => Ok(Present {
            facts: (0..*n_shares).map(cpu).collect(),
            gpus: BTreeMap::new(),
        }),
        Devices::Gpus(names) => {
            let found = ask(devices, names, trainer)?;
            let named: BTreeMap<DeviceIndex, GpuName> = found
                .iter()
                .zip(names)
                .map(|(gpu, name)| (DeviceIndex(gpu.number), name.clone()))
                .collect();
            if named.len() < names.len() {
                return Err(GpusError::Twice {
                    devices: devices.to_string(),
                    number: found.first().map_or(0, |gpu| gpu.number),
                });
            }
            let mut facts: Vec<DeviceFacts> = found.into_iter().map(gpu).collect();
            facts.sort_by_key(|facts| facts.index);
            Ok(Present { facts, gpus: named })
        }
    }
}

fn ask(devices: &Devices, names: &[GpuName], trainer: &Path) -> Result<Vec<GpuFacts>, GpusError> {
    let program = || trainer.to_owned();
    let answer = Command::new(trainer)
        .arg("gpus")
        .args(names.iter().map(ToString::to_string))
        // Its answer to a mistake is read here, in a sentence.
        .env(m2t_log::VARIABLE, m2t_log::Format::Human.name())
        .stdin(Stdio::null())
        .output()
        .map_err(|source| GpusError::NotAsked {
            program: program(),
            source,
        })?;
    if !answer.status.success() {
        let said = String::from_utf8_lossy(&answer.stderr);
        let last = said.lines().last().unwrap_or("it ended without a word");
        return Err(GpusError::NotThere {
            devices: devices.to_string(),
            reason: last.trim_start_matches("m2t-trainer: ").to_owned(),
        });
    }
    let said = String::from_utf8_lossy(&answer.stdout);
    let found: Option<Vec<GpuFacts>> = serde_json::from_str(said.trim()).ok();
    found
        .filter(|found| found.len() == names.len())
        .ok_or_else(|| GpusError::NoAnswer {
            program: program(),
            said: said.trim().chars().take(200).collect(),
        })
}

fn cpu(index: u32) -> DeviceFacts {
    DeviceFacts {
        index: DeviceIndex(index),
        kind: "cpu".to_owned(),
    }
}

fn gpu(found: GpuFacts) -> DeviceFacts {
    DeviceFacts {
        index: DeviceIndex(found.number),
        kind: found.name,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A trainer that does what a shell script says.
    fn trainer(folder: &Path, script: &str) -> PathBuf {
        let path = folder.join("m2t-trainer");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn facts(number: u32) -> String {
        let uuid = format!("GPU-8a1fb2c3-0011-2233-4455-66778899aab{number}");
        format!(r#"{{"number":{number},"uuid":"{uuid}","name":"NVIDIA H100"}}"#)
    }

    #[test]
    fn shares_of_the_cpu_are_there_without_asking() {
        let present = look(&Devices::Cpu(2), Path::new("/nowhere")).unwrap();
        let kinds: Vec<&str> = present.facts.iter().map(|facts| facts.kind.as_str()).collect();
        assert_eq!((kinds, present.gpus.len()), (vec!["cpu", "cpu"], 0));
        assert_eq!(present.facts[1].index, DeviceIndex(1));
    }

    #[test]
    fn gpus_have_their_own_numbers_and_names() {
        let folder = tempfile::tempdir().unwrap();
        let script = format!("test \"$*\" = 'gpus 1 3' && echo '[{},{}]'", facts(1), facts(3));
        let present = look(&"1,3".parse().unwrap(), &trainer(folder.path(), &script)).unwrap();
        let said: Vec<(u32, &str)> = present
            .facts
            .iter()
            .map(|facts| (facts.index.0, facts.kind.as_str()))
            .collect();
        assert_eq!(said, [(1, "NVIDIA H100"), (3, "NVIDIA H100")]);
        assert_eq!(present.gpus[&DeviceIndex(3)], GpuName::Number(3));
    }

    #[test]
    fn what_is_wrong_is_a_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let same = format!("echo '[{},{}]'", facts(1), facts(1));
        for (script, expected) in [
            (
                "echo 'm2t-trainer: no NVIDIA driver on this machine' >&2; exit 1",
                "--devices 0,1: no NVIDIA driver on this machine",
            ),
            ("exit 1", "--devices 0,1: it ended without a word"),
            (
                "echo nonsense",
                "does not say which GPUs there are (it said \"nonsense\")",
            ),
            ("echo '[]'", "does not say which GPUs there are"),
            (&same, "--devices 0,1 names GPU 1 twice"),
        ] {
            let program = trainer(folder.path(), script);
            let error = look(&"0-1".parse().unwrap(), &program).unwrap_err().to_string();
            assert!(error.contains(expected), "{script}: {error}");
        }
        let error = look(&"0".parse().unwrap(), Path::new("/nowhere/m2t-trainer")).unwrap_err();
        assert!(
            error.to_string().starts_with("cannot ask /nowhere/m2t-trainer"),
            "{error}"
        );
    }
}
