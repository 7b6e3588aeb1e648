//! `--devices`: what a machine trains on. Reads the option; looks at no hardware (that is [`crate::gpus`]).

use std::fmt;
use std::str::FromStr;

use m2t_common::GpuName;

/// The most devices a machine may have.
pub const MAX_DEVICES: u32 = 64;

/// The devices of a machine, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Devices {
    /// So many shares of the CPU: `cpu:2`.
    Cpu(u32),
    /// GPUs, each once, ascending. The first eight: `gpu:8`; by number: `gpu:0,2`, or `0-7` as published; by UUID: `gpu:GPU-8a1f…`.
    Gpus(Vec<GpuName>),
}

/// What is wrong with `--devices`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DevicesError {
    /// Not of a known form.
    #[error(
        "--devices {0:?} is neither shares of the CPU (cpu:2) nor GPUs by how many (gpu:8), by number (gpu:0,2 or 0-7) or by UUID (gpu:GPU-8a1f…); write one of these"
    )]
    Unreadable(String),
    /// None, or more than fit.
    #[error("--devices {0:?} is not 1 to {MAX_DEVICES} devices; give a number in that range")]
    BadNumber(String),
}

impl FromStr for Devices {
    type Err = DevicesError;

    fn from_str(text: &str) -> Result<Self, DevicesError> {
        if let Some(n_shares) = text.strip_prefix("cpu:") {
            return count(n_shares, text).map(Self::Cpu);
        }
        let gpus = match text.strip_prefix("gpu:") {
            Some(n_gpus) if n_gpus.parse::<u32>().is_ok() => {
                (0..count(n_gpus, text)?).map(GpuName::Number).collect()
            }
            Some(list) => listed(list, text)?,
            None => listed(text, text)?,
        };
        Ok(Self::Gpus(gpus))
    }
}

/// A number of devices.
fn count(n: &str, whole: &str) -> Result<u32, DevicesError> {
    let n: u32 = n
        .parse()
        .map_err(|_| DevicesError::Unreadable(whole.to_owned()))?;
    if (1..=MAX_DEVICES).contains(&n) {
        Ok(n)
    } else {
        Err(DevicesError::BadNumber(whole.to_owned()))
    }
}

/// GPUs by number, with ranges, or by UUID. Not both: the same GPU could be meant twice.
fn listed(list: &str, whole: &str) -> Result<Vec<GpuName>, DevicesError> {
    let unreadable = || DevicesError::Unreadable(whole.to_owned());
    let mut gpus = Vec::new();
    for part in list.split(',') {
        if part.starts_with("GPU-") {
            gpus.push(part.parse().map_err(|_| unreadable())?);
            continue;
        }
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: u32 = first.parse().map_err(|_| unreadable())?;
        let last: u32 = last.parse().map_err(|_| unreadable())?;
        if last >= MAX_DEVICES {
            return Err(DevicesError::BadNumber(whole.to_owned()));
        }
        if last < first {
            return Err(unreadable());
        }
        gpus.extend((first..=last).map(GpuName::Number));
    }
    gpus.sort_unstable();
    gpus.dedup();
    let n_numbers = gpus
        .iter()
        .filter(|gpu| matches!(gpu, GpuName::Number(_)))
        .count();
    if n_numbers != 0 && n_numbers != gpus.len() {
        return Err(unreadable());
    }
    Ok(gpus)
}

impl fmt::Display for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu(n_shares) => write!(f, "cpu:{n_shares}"),
            Self::Gpus(gpus) => {
                let names: Vec<String> = gpus.iter().map(ToString::to_string).collect();
                // With the prefix a single number would be how many.
                let prefix = match gpus.first() {
                    Some(GpuName::Uuid(_)) => "gpu:",
                    _ => "",
                };
                write!(f, "{prefix}{}", names.join(","))
            }
        }
    }
}

impl Devices {
    /// How many there are.
    pub fn count(&self) -> usize {
        match self {
            Self::Cpu(n_shares) => *n_shares as usize,
            Self::Gpus(gpus) => gpus.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "GPU-8a1fb2c3-0011-2233-4455-66778899aabb";
    const OTHER: &str = "GPU-0a1fb2c3-0011-2233-4455-66778899aabb";

    #[test]
    fn devices_are_read_as_documented() {
        let numbers = |numbers: &[u32]| Devices::Gpus(numbers.iter().copied().map(GpuName::Number).collect());
        let uuids = |uuids: &[&str]| Devices::Gpus(uuids.iter().map(|&uuid| uuid.parse().unwrap()).collect());
        for (text, expected, shown) in [
            ("cpu:1", Devices::Cpu(1), "cpu:1"),
            ("cpu:64", Devices::Cpu(64), "cpu:64"),
            ("0", numbers(&[0]), "0"),
            ("0-3", numbers(&[0, 1, 2, 3]), "0,1,2,3"),
            ("4-5,0,2", numbers(&[0, 2, 4, 5]), "0,2,4,5"),
            ("1,1", numbers(&[1]), "1"),
            ("gpu:1", numbers(&[0]), "0"),
            ("gpu:8", numbers(&[0, 1, 2, 3, 4, 5, 6, 7]), "0,1,2,3,4,5,6,7"),
            ("gpu:0,2", numbers(&[0, 2]), "0,2"),
            ("gpu:3-3", numbers(&[3]), "3"),
            (&format!("gpu:{ONE}"), uuids(&[ONE]), &format!("gpu:{ONE}")),
            (
                &format!("gpu:{ONE},{OTHER},{ONE}"),
                uuids(&[OTHER, ONE]),
                &format!("gpu:{OTHER},{ONE}"),
            ),
        ] {
            let devices: Devices = text.parse().unwrap();
            assert_eq!(devices, expected, "{text}");
            assert_eq!(devices.to_string(), shown);
            assert_eq!(shown.parse(), Ok(devices), "{shown}");
        }
        for bad in [
            "",
            "cpu",
            "cpu:",
            "cpu:0",
            "cpu:65",
            "cpu:-1",
            "gpu",
            "gpu:",
            "gpu:0",
            "gpu:65",
            "gpu:0,64",
            "gpu:cpu:1",
            "gpu:GPU-8a1f",
            &format!("gpu:0,{ONE}"),
            "3-1",
            "0-64",
            "0-4294967295",
            "0,",
            "a",
        ] {
            assert!(bad.parse::<Devices>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn devices_are_counted() {
        for (text, n) in [("cpu:3", 3), ("gpu:8", 8), ("gpu:0,2", 2), ("0-2,5", 4)] {
            assert_eq!(text.parse::<Devices>().unwrap().count(), n, "{text}");
        }
    }
}
