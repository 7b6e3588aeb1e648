//! The programs beside this one, what libtorch says of the machine, and the flags of its processor.

use std::process::{Command, Stdio};

use m2t_common::tensor_facts::{COMMAND, TensorFacts};

use super::super::super::beside;
use super::super::facts::{Program, Programs};

const BESIDE: [&str; 3] = ["m2t-worker", "m2t-trainer", "m2t-coordinator"];

pub(super) fn programs() -> Programs {
    let version = |name| Program {
        name,
        said: said(name, &["--version"]),
    };
    Programs {
        own: include_str!(concat!(env!("OUT_DIR"), "/version.txt")).to_owned(),
        beside: BESIDE.map(version).into(),
        tensor: said("m2t-trainer", &[COMMAND]).and_then(|line| tensor_facts(&line)),
        cpu_flags: flags(&std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
    }
}

fn tensor_facts(line: &str) -> Result<TensorFacts, String> {
    serde_json::from_str(line)
        .map_err(|error| format!("m2t-trainer is of another version than this m2t ({error})"))
}

/// What a program beside this one prints, or the last of its words of complaint.
fn said(program: &str, arguments: &[&str]) -> Result<String, String> {
    let path = beside(program).map_err(|error| format!("{error:#}"))?;
    let output = Command::new(&path)
        .args(arguments)
        // As m2t-worker starts it: NCCL is asked of no other process.
        .env("NCCL_NVLS_ENABLE", "0")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{} cannot be run: {error}", path.display()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let last = complaint.lines().rfind(|line| !line.trim().is_empty());
    Err(match last {
        Some(line) => format!("{program}: {}", line.trim()),
        None => format!("{program} ended with {}", output.status),
    })
}

/// Of the first processor in `/proc/cpuinfo`.
pub(super) fn flags(cpuinfo: &str) -> Vec<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("flags"));
    let flags = line.and_then(|line| line.split_once(':')).map(|(_, flags)| flags);
    flags
        .unwrap_or_default()
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}
