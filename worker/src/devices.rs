//! `--devices`: what a machine trains on. Reads the option; looks at no hardware.

use std::fmt;
use std::str::FromStr;

use m2t_common::DeviceIndex;
use m2t_common::machine_link::DeviceFacts;

/// The most devices a machine may have.
pub const MAX_DEVICES: u32 = 64;

/// The devices of a machine, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Devices {
    /// So many shares of the CPU: `cpu:2`.
    Cpu(u32),
    /// CUDA devices by number, ascending: `0-7` or `0,2,4-5`.
    Cuda(Vec<u32>),
}

/// What is wrong with `--devices`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DevicesError {
    /// Not of a known form.
    #[error(
        "--devices {0:?} is neither shares of the CPU (cpu:2) nor GPU numbers (0-7 or 0,2,4); write one of these"
    )]
    Unreadable(String),
    /// None, or more than fit.
    #[error("--devices {0:?} is not 1 to {MAX_DEVICES} devices; give a number in that range")]
    BadNumber(String),
    /// GPUs are for a later version.
    #[error(
        "--devices {0:?} names GPUs, on which this version cannot train yet; give shares of the CPU, such as cpu:2"
    )]
    NoGpusYet(String),
}

impl FromStr for Devices {
    type Err = DevicesError;

    fn from_str(text: &str) -> Result<Self, DevicesError> {
        let unreadable = || DevicesError::Unreadable(text.to_owned());
        if let Some(n) = text.strip_prefix("cpu:") {
            let n_shares: u32 = n.parse().map_err(|_| unreadable())?;
            return if (1..=MAX_DEVICES).contains(&n_shares) {
                Ok(Self::Cpu(n_shares))
            } else {
                Err(DevicesError::BadNumber(text.to_owned()))
            };
        }
        let mut numbers = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let first: u32 = first.parse().map_err(|_| unreadable())?;
            let last: u32 = last.parse().map_err(|_| unreadable())?;
            if last >= MAX_DEVICES {
                return Err(DevicesError::BadNumber(text.to_owned()));
            }
            if last < first {
                return Err(unreadable());
            }
            numbers.extend(first..=last);
        }
        numbers.sort_unstable();
        numbers.dedup();
        Ok(Self::Cuda(numbers))
    }
}

impl fmt::Display for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu(n_shares) => write!(f, "cpu:{n_shares}"),
            Self::Cuda(numbers) => {
                let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
                f.write_str(&numbers.join(","))
            }
        }
    }
}

impl Devices {
    /// The devices as the coordinator hears of them.
    pub fn facts(&self) -> Result<Vec<DeviceFacts>, DevicesError> {
        match self {
            Self::Cpu(n_shares) => Ok((0..*n_shares)
                .map(|index| DeviceFacts {
                    index: DeviceIndex(index),
                    kind: "cpu".to_owned(),
                })
                .collect()),
            Self::Cuda(_) => Err(DevicesError::NoGpusYet(self.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_as_documented() {
        for (text, expected) in [
            ("cpu:1", Devices::Cpu(1)),
            ("cpu:64", Devices::Cpu(64)),
            ("0", Devices::Cuda(vec![0])),
            ("0-3", Devices::Cuda(vec![0, 1, 2, 3])),
            ("4-5,0,2", Devices::Cuda(vec![0, 2, 4, 5])),
            ("1,1", Devices::Cuda(vec![1])),
        ] {
            assert_eq!(text.parse::<Devices>().unwrap(), expected, "{text}");
        }
        for bad in [
            "",
            "cpu",
            "cpu:",
            "cpu:0",
            "cpu:65",
            "cpu:-1",
            "gpu:1",
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
    fn gpus_are_refused_with_what_to_do() {
        let refusal = "0-1".parse::<Devices>().unwrap().facts().unwrap_err().to_string();
        assert!(refusal.contains("0,1") && refusal.contains("cpu:2"), "{refusal}");
        assert_eq!(Devices::Cpu(2).facts().unwrap()[1].index, DeviceIndex(1));
    }
}
